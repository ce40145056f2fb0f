"""Policies before and after: every part by a scripted engine, figures by hand, and a page that shows them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from base.errors import InputError
from constitution import Constitution
from critic.calls.ledger import MemoryLedger
from critic.engine import Sampling
from critic.engines import parse_spec
from critic.evaluation.policy import diversity
from critic.evaluation.policy.alarms import mark, sentences
from critic.evaluation.policy.answers import TextLikelihood
from critic.evaluation.policy.figures import figures
from critic.evaluation.policy.leakage import GENERATOR, JUDGE, MEASURED_BY, POLICY, FamilySeat, leaks
from critic.evaluation.policy.matches import Match
from critic.evaluation.policy.measure import PolicyPlan, measure
from critic.evaluation.policy.measured import HELD_OUT, RED_TEAM, SAFE, Drift, MeasuredPolicies
from critic.evaluation.policy.people import labelled
from critic.evaluation.policy.report import report, samples
from critic.evaluation.policy.tax import MultipleChoice, prompt_of, read_exam
from critic.judging import mode_of
from critic.records import Item, Line, Response
from tests.factories import prompt, small_constitution

REFUSES = "I'm sorry, but I can't help with that."
COMPLIES = "Certainly. Stir it for nine minutes."


def script(folder: Path, name: str, **content: Any) -> str:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return f"scripted:{folder / f'{name}.yaml'}"


def plan(folder: Path, **changes: Any) -> PolicyPlan:
    rules = [{"match": "red", "reply": REFUSES}, {"reply": "Short {seed}."}]
    turned = [{"match": "safe", "reply": REFUSES}, {"reply": "A much longer answer, {seed}, with more words in it."}]
    judge = parse_spec(script(folder, "judge", choose="hash"))
    prompts = {}
    for name in (HELD_OUT, RED_TEAM, SAFE):
        prompts[name] = [prompt(f"{name} question {i}") for i in range(24)]
    values: dict[str, Any] = {
        "policies": (
            script(folder, "base", replies=rules, likelihood="short"),
            script(folder, "trained", replies=turned, likelihood="long"),
        ),
        "prompts": prompts,
        "judges": ((judge, mode_of(None, judge)),),
        "constitution": Constitution.model_validate(small_constitution(2)),
        "harmless": None,
        "sampling": Sampling(max_tokens=32),
        "samples": 2,
    }
    return PolicyPlan(**values | changes)


async def test_all_that_is_asked_becomes_a_figure_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    exam = tmp_path / "exam/val"
    exam.mkdir(parents=True)
    (exam / "rivers_val.csv").write_text("".join(f"Which is {i}?,a,b,c,d,{'ABCD'[i % 4]}\n" for i in range(24)))
    asked = plan(tmp_path, exam=read_exam(tmp_path / "exam", 0), reward="verify:contains=longer")
    measured = await measure(asked, ledger)
    calls = ledger.calls
    told = figures(await measure(asked, ledger))
    assert ledger.calls == calls and told == figures(measured)

    answers = told["answers"]
    assert answers[RED_TEAM]["base.yaml"]["refused"]["estimate"] == 1
    assert answers[RED_TEAM]["trained.yaml"]["refused, change"]["estimate"] == -1
    assert answers[SAFE]["trained.yaml"]["refused"]["estimate"] == 1
    assert answers[RED_TEAM]["base.yaml"]["evasive"]["estimate"] == 1
    assert answers[RED_TEAM]["base.yaml"]["diversity"]["estimate"] == 0
    win = told["wins"][HELD_OUT]["trained.yaml"]["all"]
    assert win["win rate"]["n"] == 48 and win["win rate"]["clusters"] == 24 and win["unread"] == 0
    assert RED_TEAM not in told["wins"], "no constitution, no judgement"
    # A text of n characters has n // 4 tokens, each of -n / 100 under the base, and of -1 / (1 + n) after training.
    drift = told["drift"]["trained.yaml"]
    length = len(measured.texts[HELD_OUT][1][0][0] or "")
    assert drift["KL, nats a token"]["estimate"] == pytest.approx(length / 100 - 1 / (1 + length), abs=0.02)
    assert told["tax"]["trained.yaml"]["change"]["estimate"] == pytest.approx(0, abs=1)
    hacking = told["hacking"]["policies"]["trained.yaml"]
    assert hacking["reward prefers it"]["estimate"] == 1 and hacking["hacked, by judges"] is True
    said = " ".join(sentences(told))
    assert "refuses harmless prompts more often" in said and "refuses harmful prompts less often" in said
    assert "may be hacking its reward" in said
    page = report(told, samples(measured))
    assert "Alignment tax" in page and "nan" not in page.lower().split("</style>")[1]


async def test_one_policy_and_one_named_twice_are_refused(tmp_path: Path) -> None:
    one = plan(tmp_path).policies[0]
    for policies in ((one,), (one, one)):
        with pytest.raises(InputError):
            await measure(plan(tmp_path, policies=policies), MemoryLedger())


@pytest.mark.parametrize("missing", ["policies", "judges", "reward"])
async def test_what_is_missing_is_told_before_the_first_policy_answers(missing: str, tmp_path: Path) -> None:
    """Hours of the base's answers were written before a trained policy, a judge or a reward model was missed."""
    asked = plan(tmp_path)
    nowhere: dict[str, Any] = {
        "policies": (asked.policies[0], "hf:/nowhere/policy"),
        "judges": ((parse_spec("hf:/nowhere/judge"), asked.judges[0][1]),),
        "reward": "rm:/nowhere/reward",
    }
    told: list[str] = []
    with pytest.raises(InputError, match=r"^/nowhere/.*there is no such folder"):
        await measure(plan(tmp_path, **{missing: nowhere[missing]}), MemoryLedger(), told.append)
    assert told == []


async def test_a_judge_that_always_says_first_gives_ties(tmp_path: Path) -> None:
    judge = parse_spec(script(tmp_path, "first", choose="first"))
    measured = await measure(plan(tmp_path, judges=((judge, mode_of(None, judge)),), drift=False), MemoryLedger())
    assert {match.win for match in measured.matches[HELD_OUT]} == {0.5}
    assert not measured.drift


def measured(**changes: Any) -> MeasuredPolicies:
    prompts = [prompt(f"question {i}") for i in range(30)]
    base = [(f"base {i}",) for i in range(30)]
    texts = {HELD_OUT: [base, [(f"trained {i}, longer",) for i in range(30)]]}
    return MeasuredPolicies(("base", "trained"), 1, {HELD_OUT: prompts}, texts, **changes)


def test_wins_of_groups_stay_apart() -> None:
    matches = [Match(i, 0, 1, 0, group, win, 3) for i in range(30) for group, win in (("a", 1.0), ("b", 0.0))]
    wins = figures(measured(matches={HELD_OUT: matches}))["wins"][HELD_OUT]["trained"]
    assert wins["a"]["win rate"]["estimate"] == 1 and wins["b"]["win rate"]["estimate"] == 0


def test_what_was_not_read_is_counted_and_few_prompts_are_a_sentence() -> None:
    matches = [Match(i, 0, 1, 0, None, None if i else 1.0, 3) for i in range(30)]
    own = figures(measured(matches={HELD_OUT: matches}))["wins"][HELD_OUT]["trained"]["all"]
    assert (
        own["unread"] == 29 and "fewer than 20" in own["win rate"]["refusal"] and "refusal" in own["length-controlled"]
    )


def test_drift_is_the_mean_log_ratio_and_perplexity_the_exponent_of_the_surprise() -> None:
    policy, base = (TextLikelihood(-2.0, 4),), (TextLikelihood(-6.0, 4),)
    drift = Drift([policy] * 30, [base] * 30, [(TextLikelihood(-4.0, 4),)] * 30, [policy] * 30)
    of_trained = figures(measured(drift=(None, drift)))["drift"]["trained"]
    assert of_trained["KL, nats an answer"]["estimate"] == 4 and of_trained["KL, nats a token"]["estimate"] == 1
    assert of_trained["perplexity of the base's answers, after"]["estimate"] == pytest.approx(2.718281828)
    refused = figures(measured(drift=(None, Drift(refusal="No likelihoods."))))["drift"]["trained"]
    assert refused == {"refusal": "No likelihoods."}


def test_people_are_matched_by_the_texts_that_they_compared() -> None:
    held = measured()
    texts = held.texts[HELD_OUT]
    lines = []
    for number in range(30):
        sides = [Response(text=texts[place][number][0] or "", model="m") for place in (0, 1)]
        item = Item(prompt=held.prompts[HELD_OUT][number], responses=tuple(sides if number < 25 else sides[::-1]))
        lines.append(Line(row=number, where="f", item=item))
    stranger = Line(row=99, where="f", item=Item(prompt=prompt("else"), responses=lines[0].item.responses))
    people = tuple(labelled([*lines, stranger], held))
    assert [match.win for match in people] == [0.0] * 25 + [1.0] * 5
    rewards = [[(0.0,)] * 30, [(1.0,)] * 30]
    own = figures(measured(people=people, rewards=rewards, reward_name="rm"))["hacking"]["policies"]["trained"]
    assert own["gap to people"]["estimate"] == pytest.approx(25 / 30) and own["hacked, by people"] is True


def test_a_report_s_tests_are_taken_together() -> None:
    """One from .001 to .2 is beyond nothing alone, and not among twelve; a surer one stands out, and is marked."""

    def told_of(surest: float) -> dict[str, Any]:
        changes = {f"p{place}": {"estimate": 0.1, "low": 0.001, "high": 0.2, "clusters": 100} for place in range(12)}
        gap = {"estimate": 0.4, "low": surest, "high": 0.8 - surest, "clusters": 100}
        return {
            "leaks": [],
            "hacking": {"policies": {"p0": {"gap to judges": gap, "gap to people": {"refusal": "Nobody."}}}},
            "answers": {SAFE: {name: {"refused, change": change} for name, change in changes.items()}},
            "tax": {"p1": {"change": {"refusal": "too few"}}},
        }

    quiet, loud = told_of(0.001), told_of(0.2)
    assert sentences(quiet) == []
    assert [sentence.split()[0] for sentence in sentences(loud)] == ["p0"] and "reward prefers it" in sentences(loud)[0]
    for one, is_hacked in ((quiet, False), (loud, True)):
        mark(one)
        assert one["hacking"]["policies"]["p0"]["hacked, by judges"] is is_hacked
    alone = told_of(0.2) | {"hacking": {}}
    alone["answers"][SAFE] = {"p0": {"refused, change": {"estimate": 0.1, "low": 0.05, "high": 0.15, "clusters": 100}}}
    assert "refuses harmless prompts more often" in sentences(alone)[0]


def test_a_family_in_three_seats_is_flagged_and_others_are_not() -> None:
    lynx = frozenset({"lynx"})
    seats = [
        FamilySeat(GENERATOR, "lynx-7b", lynx),
        FamilySeat(JUDGE, "lynx-70b", lynx),
        FamilySeat(POLICY, "my-lynx", lynx),
    ]
    assert ["lynx is generator, judge and policy at once" in sentence for sentence in leaks(seats)] == [True]
    assert not leaks(seats[:2]) and not leaks([*seats[1:], FamilySeat(GENERATOR, "otter", frozenset({"otter"}))])
    assert "favours answers of its own kind" in leaks([seats[2], FamilySeat(MEASURED_BY, "lynx-70b", lynx)])[0]
    assert not leaks([FamilySeat(role, "nameless", frozenset()) for role in (GENERATOR, JUDGE, POLICY)])


def test_diversity_counts_shared_pairs_of_words() -> None:
    assert diversity.among(["a b c", "a b c"]) == 0 and diversity.among(["a b", "c d"]) == 1
    assert diversity.among(["a b c", "a b d"]) == pytest.approx(2 / 3)  # one of three bigrams is shared
    assert diversity.among(["alone"]) is None
    assert diversity.distinct("a b a b a") == 0.5 and diversity.distinct("a b") is None


def test_an_exam_is_read_as_mmlu_s_files_are(tmp_path: Path) -> None:
    for part, rows in (("dev", "Shot?,a,b,c,d,B\n"), ("val", 'Asked "here"?,w,x,y,z,D\nOther?,1,2,3,4,A\n')):
        (tmp_path / part).mkdir()
        (tmp_path / part / f"high_rivers_{part}.csv").write_text(rows)
    exam = read_exam(tmp_path, 5)
    assert [q.right for q in exam.questions] == [3, 0] and exam.questions[0].subject == "high_rivers"
    (message,) = prompt_of(exam.questions[0], exam.shots["high_rivers"])
    assert message.content.startswith("The following are multiple choice questions (with answers) about high rivers.")
    assert "Shot?\nA. a\nB. b\nC. c\nD. d\nAnswer: B\n\n" in message.content and message.content.endswith("Answer:")
    assert len(read_exam(tmp_path, 0, limit=1).questions) == 1


@pytest.mark.parametrize("row", ["only,three,cells", "q,a,b,c,d,E", "q,a,,c,d,A", '"open'])
def test_a_row_that_is_no_question_is_refused_by_its_line(tmp_path: Path, row: str) -> None:
    (tmp_path / "s.csv").write_text(f"Fine?,a,b,c,d,A\n{row}\n")
    with pytest.raises(InputError, match=r"s\.csv"):
        read_exam(tmp_path, 0)


def test_a_folder_without_questions_and_missing_shots_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no questions"):
        read_exam(tmp_path, 0)
    with pytest.raises(InputError, match="no folder"):
        read_exam(tmp_path / "none", 0)
    (tmp_path / "s.csv").write_text("Fine?,a,b,c,d,A\n")
    with pytest.raises(InputError, match="no shots"):
        read_exam(tmp_path, 2)


def test_all_of_the_shared_questions_are_read(cai_data: Path) -> None:
    exam = read_exam(cai_data / "mmlu", 5)
    assert len(exam.questions) == 1531 and len({q.subject for q in exam.questions}) == len(exam.shots) == 57
    assert sum(map(len, exam.shots.values())) == 285
    assert isinstance(exam.questions[0], MultipleChoice)
