"""``cai show``: figures and pairs, readable, and safe against what models write."""

import asyncio
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from base.errors import InputError
from constitution import load
from critic.pairing import Pairing, pair
from critic.records import Message, Quarantined, Row
from critic.run.folder.store import RunStore
from service.cli.commands.runs.show import show
from service.cli.shown.display import CONTROL, print_chain, print_comparison
from tests.factories import both_orders, judgement, prompt, provenance, response, revision, row, vote

VOTES = [*both_orders("calm", 2.0, 1.0), *both_orders("kind", -1.0, -0.5), *both_orders("true", 1.0, None)]
ROWS = [
    row(0, judgements=[judgement(both_orders("calm", 5.0, -5.0), 0.5)]),
    row(1, judgements=[judgement(VOTES, 0.7)], revisions=[[revision("calm", "A better one.")]]),
    row(2, judgements=[judgement(both_orders("calm", -2.0, -1.0), 0.2)]),
]
REFUSED = Quarantined(row=3, where="prompts.jsonl:4", reason="too_long", detail="x")


def run_of(directory: Path, rows: list[Row], config: dict[str, Any] | None = None) -> Path:
    async def fill() -> None:
        with closing(RunStore.open(directory, config or {"tie_band": 0.02}, extend=False)) as store:
            store.set_provenance(provenance(), "")
            for one in rows:
                await store.finish(one, "", "")
            await store.finish(REFUSED, "", "")

    asyncio.run(fill())
    return directory


def shown(*arguments: object, **kwargs: Any) -> str:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(show)
    result = CliRunner(env={"COLUMNS": "120"}).invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def cells(output: str, start: str) -> list[str]:
    line = next(line for line in output.splitlines() if line.startswith(f"│ {start} "))
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_the_summary_counts_and_warns(tmp_path: Path) -> None:
    output = shown(run_of(tmp_path / "run", ROWS))
    assert "harmlessness@1.0.0, judge judge-1 (logprob), policy policy-1" in output
    assert "Warning: Rows without a result: 1." in output
    for name, count in (("rows", 3), ("pairs", 2), ("comparisons: tie", 1)):
        assert any(line.split() == [*name.split(), str(count)] for line in output.splitlines()), name
    assert any(line.split()[:3] == ["pair:", "tie", "1"] for line in output.splitlines())
    assert "row (quarantined): too_long" in output
    assert "25 %  (" in output, "1 of 4 principles read in both orders favours a position"


def test_pairs_count_across_rows_and_show_all_that_led_to_them(tmp_path: Path) -> None:
    output = shown(run_of(tmp_path / "run", ROWS), "--pair", 0)
    assert "pair 0 (row 1, prompts.jsonl:2)" in output
    assert output.index("Name a river.") < output.index("The Nile, of course.") < output.index("The Po.")
    assert cells(output, "calm") == ["calm", "+2.00", "+1.00", "+1.50", "chosen"]
    assert cells(output, "kind") == ["kind", "-1.00", "-0.50", "-0.75", "rejected"]
    assert cells(output, "true") == ["true", "+1.00", "?", "unreadable", ""]
    assert "1 for the chosen answer: calm (+1.50)." in output
    assert "1 for the rejected one: kind (-0.75)." in output
    assert "1 could not be read" in output
    assert "Probability that the chosen answer is better: 0.700" in output


def test_votes_turn_with_the_chosen_side(tmp_path: Path) -> None:
    output = shown(run_of(tmp_path / "run", ROWS), "--pair", 1)
    assert output.index("The Po.") < output.index("The Nile, of course.")
    assert cells(output, "calm") == ["calm", "+2.00", "+1.00", "+1.50", "chosen"]
    assert "better: 0.800" in output


def test_weights_and_the_deciding_priority_come_from_the_unchanged_constitution(tmp_path: Path) -> None:
    hhh = load("hhh")
    first = min(hhh.principles, key=lambda p: p.priority)
    last = max(hhh.principles, key=lambda p: p.priority)
    votes = [*both_orders(first.id, 1.0, 1.0), *both_orders(last.id, -9.0, -9.0)]
    config = {"constitution": hhh.ref, "constitution_hash": hhh.digest, "tie_band": 0.02}
    output = shown(run_of(tmp_path / "run", [row(0, judgements=[judgement(votes, 0.73)])], config), "--pair", 0)
    assert cells(output, first.id)[4:6] == [str(first.priority), f"{first.weight:g}"]
    assert f"Priority {first.priority} decides: 1 principles; 1 of other priorities don't count." in output
    assert "0 for the rejected one." in output
    times = "" if first.weight == 1 else f" times {first.weight:g}"
    assert f"1 for the chosen answer: {first.id} (+1.00{times})." in output

    config["constitution_hash"] = "0" * 64
    output = shown(run_of(tmp_path / "other", [row(0, judgements=[judgement(votes, 0.73)])], config), "--pair", 0)
    assert len(cells(output, first.id)) == 5 and "Priority" not in output


def test_a_pair_without_a_comparison_of_its_own_says_so(tmp_path: Path) -> None:
    pair = row(0, judgements=[judgement(both_orders("calm", 2.0, 2.0), 0.8)]).pairs
    output = shown(run_of(tmp_path / "run", [row(0).model_copy(update={"pairs": pair})]), "--pair", 0)
    assert "no comparison of these two was made" in output


def test_a_ranked_pair_shows_the_ranking_beside_its_votes(tmp_path: Path) -> None:
    judged = [
        judgement(both_orders("calm", -2.0, -1.0), 0.2),
        judgement(both_orders("calm", 0.0, 0.0), 0.5, second=2),
        judgement(both_orders("calm", 2.0, 2.0), 0.9, first=1, second=2),
    ]
    answers = [response(text) for text in ("The Po.", "The\nNile.", HOSTILE)]
    paired = pair(answers, judged, Pairing(ranking=True))
    made = row(0, [answer.text for answer in answers], judged)
    made = made.model_copy(update={"rankings": paired.rankings, "pairs": paired.pairs})
    directory = run_of(tmp_path / "run", [made])
    output = shown(directory, "--pair", 0)
    ranked = paired.rankings[0]
    assert ranked.ranks == (2, 1, 3)
    assert cells(output, "   1") == ["1", f"{ranked.strengths[1]:+.2f}", "The Nile.", "chosen"]
    assert cells(output, "   2") == ["2", f"{ranked.strengths[0]:+.2f}", "The Po.", "rejected"]
    assert f"Probability by the ranking that the chosen answer is better: {paired.pairs[0].probability:.3f}." in output
    assert "better: 0.800 (mode logprob, judge-1)" in output, "that is what their own comparison says"
    assert "1 for the chosen answer: calm (+1.50)." in output and not CONTROL.search(output)
    assert "Their own comparison does not decide" in shown(directory, "--pair", 1)
    assert json.loads(shown(directory, "--pair", 0, "--json"))["ranking"]["ranks"] == [2, 1, 3]


def test_priorities_that_were_ignored_decide_nothing(tmp_path: Path) -> None:
    hhh = load("hhh")
    first = min(hhh.principles, key=lambda p: p.priority)
    last = max(hhh.principles, key=lambda p: p.priority)
    votes = [*both_orders(first.id, 1.0, 1.0), *both_orders(last.id, -3.0, -3.0)]
    config = {"constitution": hhh.ref, "constitution_hash": hhh.digest, "tie_band": 0.02, "priorities": False}
    output = shown(run_of(tmp_path / "run", [row(0, judgements=[judgement(votes, 0.27)])], config), "--pair", 0)
    assert "Priority" not in output and "1 for the chosen answer" in output and "1 for the rejected one" in output


def test_a_revised_answer_says_under_which_principle(tmp_path: Path) -> None:
    made = row(0, ["The Po.", "The Nile."], [judgement(both_orders("calm", -2.0, -1.0), 0.2)])
    chains = row(0, ["The Po."], revisions=[[revision("calm", "The Nile.")]]).chains
    output = shown(run_of(tmp_path / "run", [made.model_copy(update={"chains": chains})]), "--pair", 0)
    assert "chosen, policy-1: revised under calm" in output and "rejected, policy-1 " in output


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1]])
def test_a_pair_that_is_not_there_is_an_error_that_says_how_many_are(rows: list[Row], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"there is no pair 9: the run has {sum(len(r.pairs) for r in rows)}"):
        shown(run_of(tmp_path / "run", rows), "--pair", 9)


def test_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run here"):
        shown(tmp_path)


def test_a_measurements_directory_is_told_from_a_runs(tmp_path: Path) -> None:
    RunStore.open(tmp_path / "measured", {"kind": "judge"}, extend=False).close()
    with pytest.raises(InputError, match="answers of a measurement"):
        shown(tmp_path / "measured")


def test_json_holds_the_same(tmp_path: Path) -> None:
    directory = run_of(tmp_path / "run", ROWS)
    told = json.loads(shown(directory, "--json"))
    assert told["statistics"]["pairs"] == 2 and told["quarantined"] == {"too_long": 1}
    assert told["statistics"]["drops"] == {"pair": {"tie": 1}}
    pair = json.loads(shown(directory, "--pair", 1, "--json"))
    assert (pair["row"], pair["probability"], pair["chosen"]["text"]) == (2, 0.8, "The Po.")
    assert pair["judgement"]["votes"][0]["log_odds"] == -2.0


HOSTILE = "[bold]loud[/bold] \x1b[31mred\x1b]0;title\x07 \x9b2J \u202egnol"


def test_model_text_is_text(tmp_path: Path) -> None:
    votes = [vote("calm", 2.0), vote("calm", None, "swapped", raw=HOSTILE)]
    hostile = row(0, [HOSTILE, "No."], [judgement(votes, 0.9)], prompt_text=HOSTILE)
    directory = run_of(tmp_path / "run", [hostile])
    for arguments in ((), ("--pair", 0), ("--json",), ("--pair", 0, "--json")):
        output = shown(directory, *arguments)
        assert not CONTROL.search(output), arguments
    assert shown(directory, "--pair", 0).count("[bold]loud[/bold]") == 2


def test_chains_and_comparisons_are_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    made = row(0, judgements=[judgement(VOTES, 0.7)], revisions=[[revision("calm", "New."), revision("kind", None)]])
    two = prompt().model_copy(update={"messages": (Message(role="system", content="Be brief."), *prompt().messages)})
    print_chain(two, made.chains[0])
    output = capsys.readouterr().out
    for text in (
        "Be brief.",
        "Name a river.",
        "The Nile, of course.",
        "It could be kinder.",
        "New.",
        "nothing_to_revise",
    ):
        assert text in output
    print_comparison(made, {})
    output = capsys.readouterr().out
    assert "response 0 against response 1: preference, probability 0.700" in output and "second" in output
