"""Other formats in: the source's words kept, its gaps stated, its figures reproduced."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from constitution import InputError, load
from constitution.dump import dump
from constitution.importers import FORMATS, Imported, cai_paper, langchain, polis
from constitution.importers.base import LeftOutPart

PAPER = {
    "requests": "CritiqueRevisionInstructions.json",
    "comparisons": "RLMadisonInstructions.json",
    "few_shots": "CritiqueRevisionFewShotPrompts.json",
    "contrasts": "RLMadisonFewShotPrompts.json",
    "reasoned": "RLMadisonPrecogFewShotPrompts.json",
}


def json_file(folder: Path, data: object, name: str = "data.json") -> Path:
    file = folder / name
    file.write_text(json.dumps(data), "utf-8")
    return file


def loads_again(imported: Imported, folder: Path) -> bool:
    file = folder / "imported.yaml"
    file.write_text(dump(imported.constitution), "utf-8")
    return load(file) == imported.constitution


# --- the Constitutional AI paper, with texts of our own -------------------------------------------------------------

REQUESTS = {
    "kind0": {
        "prompt": ["\n\nCritiqueRequest: Say what is unkind.\n\nCritique:"],
        "edit_request": "\n\nRevisionRequest: Make it kind.\n\nRevision:",
    }
}
SHOT = (
    "\n\nHuman: Hello?\n\nAssistant: What?\n\nHuman: Help  me.\n\nMy boat sinks.\n\nAssistant: No."
    "\n\nCritiqueRequest: {}\n\nCritique: It is curt.\n\nRevisionRequest: {}\n\nRevision: Of course!\n\nHuman:"
)


def read_paper(*files: Path) -> Imported:
    return cai_paper.read(files, name="paper", version="1.0.0")


def test_requests_and_comparisons_become_principles_and_the_rest_is_derived(tmp_path: Path) -> None:
    imported = read_paper(
        json_file(tmp_path, REQUESTS, "a.json"), json_file(tmp_path, ["\nChoose the kinder one. Options:"], "b.json")
    )
    critic, judge = imported.constitution.principles
    assert (critic.id, critic.critique, critic.revision) == ("kind0", "Say what is unkind.", "Make it kind.")
    assert critic.compare == 'Which response leaves less to point out under this request: "Say what is unkind."'
    assert (judge.id, judge.compare) == ("comparison0", "Choose the kinder one.")
    assert (critic.tags, judge.tags) == (("critique-revision",), ("comparison",))
    assert "Choose the kinder one." in judge.critique and "Choose the kinder one." in judge.revision
    assert imported.left_out == ()
    assert loads_again(imported, tmp_path)


def test_a_few_shot_goes_to_the_principle_that_it_answers(tmp_path: Path) -> None:
    shots = [SHOT.format("Say what is unkind.", "Make it kind."), SHOT.format("Something else.", "Make it kind.")]
    imported = read_paper(json_file(tmp_path, REQUESTS, "a.json"), json_file(tmp_path, shots, "b.json"))
    (example,) = imported.constitution.principles[0].examples
    assert [(t.role, t.content) for t in example.history] == [("user", "Hello?"), ("assistant", "What?")]
    assert (example.prompt, example.response) == ("Help  me.\n\nMy boat sinks.", "No.")
    assert (example.critique, example.revision) == ("It is curt.", "Of course!")
    assert imported.left_out == (
        LeftOutPart("critique and revision few-shots", 1, "they answer a request that no principle makes"),
    )


def test_a_few_shot_whose_revision_request_differs_is_reported(tmp_path: Path) -> None:
    shots = [SHOT.format("Say what is unkind.", "Be kind!")]
    imported = read_paper(json_file(tmp_path, REQUESTS, "a.json"), json_file(tmp_path, shots, "b.json"))
    assert [(x.what, x.count) for x in imported.left_out] == [("revision requests of few-shots", 1)]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({}, "empty or twice"),
        ([], "not one of the five files"),
        ("text", "not one of the five files"),
        ([1, 2], "not one of the five files"),
        ([{}], "not one of the five files"),
        ([{"prompt": 3}], "not one of the five files"),
        ({"a": {"prompt": [], "edit_request": "x"}}, "not one of the five files"),
        ({"a": {"prompt": ["one", "two"], "edit_request": "x"}}, "not one of the five files"),
        ({"a": {"prompt": ["no frame"], "edit_request": "x"}}, "of the form"),
        ({"Ä": REQUESTS["kind0"]}, "is not a slug"),
        ([SHOT.format("a", "b")], "no instructions among these files"),
        ([{"prompt": "p", "corrects": ["a"], "incorrects": ["b"]}], "no instructions among these files"),
    ],
)
def test_what_is_no_file_of_the_paper_is_refused(tmp_path: Path, data: object, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_paper(json_file(tmp_path, data))


def test_a_transcript_that_is_no_few_shot_is_refused(tmp_path: Path) -> None:
    shots = ["\n\nHuman: a\n\nCritiqueRequest: b"]
    with pytest.raises(InputError, match="expected turns"):
        read_paper(json_file(tmp_path, REQUESTS, "a.json"), json_file(tmp_path, shots, "b.json"))


def test_the_same_kind_twice_and_broken_json_are_refused(tmp_path: Path) -> None:
    file = json_file(tmp_path, REQUESTS)
    with pytest.raises(InputError, match="twice"):
        read_paper(file, file)
    file.write_text('{"a":\n1,}')
    with pytest.raises(InputError, match=r"data\.json:2: not JSON"):
        read_paper(file)


def test_the_papers_files_as_they_are(cai_data: Path, tmp_path: Path) -> None:
    folder = cai_data / "cai_paper" / "prompts"
    imported = read_paper(*(folder / file for file in PAPER.values()))
    assert len(imported.constitution.principles) == 32
    assert sum(len(p.examples) for p in imported.constitution.principles) == 4
    assert {(x.what, x.count) for x in imported.left_out} == {
        ("critique and revision few-shots", 1),
        ("revision requests of few-shots", 4),
        ("few-shots with a right and a wrong answer", 5),
        ("few-shots that reason step by step", 6),
    }
    assert loads_again(imported, tmp_path)


def test_the_papers_instructions_come_back_to_the_byte(cai_data: Path) -> None:
    folder = cai_data / "cai_paper" / "prompts"
    principles = read_paper(folder / PAPER["requests"], folder / PAPER["comparisons"]).constitution.principles
    requests = json.loads((folder / PAPER["requests"]).read_text("utf-8"))
    critics, judges = principles[:16], principles[16:]
    assert {
        p.id: {
            "prompt": [cai_paper.CRITIQUE_FRAME.format(p.critique)],
            "edit_request": cai_paper.REVISION_FRAME.format(p.revision),
        }
        for p in critics
    } == requests
    comparisons = json.loads((folder / PAPER["comparisons"]).read_text("utf-8"))
    assert [cai_paper.COMPARE_FRAME.format(p.compare) for p in judges] == comparisons


def test_the_papers_strings_are_kept_to_the_byte(cai_data: Path) -> None:
    folder = cai_data / "cai_paper" / "prompts"
    paper = cai_paper.read_paper([folder / file for file in PAPER.values()])
    raw = {kind: json.loads((folder / file).read_text("utf-8")) for kind, file in PAPER.items()}
    assert list(paper.comparisons) == raw["comparisons"]
    assert list(paper.few_shots) == raw["few_shots"]
    assert [{"prompt": x} for x in paper.reasoned] == raw["reasoned"]
    assert [
        {"prompt": x.prompt, "corrects": list(x.corrects), "incorrects": list(x.incorrects)} for x in paper.contrasts
    ] == raw["contrasts"]
    assert {x.name: {"prompt": [x.critique], "edit_request": x.revision} for x in paper.requests} == raw["requests"]


# --- LangChain-style lists ------------------------------------------------------------------------------------------

ENTRIES: list[dict[str, Any]] = [
    {"name": "Be Kind!", "critique_request": "Say what is unkind.", "revision_request": "Make it kind. "},
    {"critique_request": "Say what is wrong.", "revision_request": "Put it right."},
    {"name": "be kind", "critique_request": "Again?", "revision_request": "Again.", "lc": 1},
]


def read_list(*files: Path) -> Imported:
    return langchain.read(files, name="list", version="0.1.0")


def test_a_list_becomes_principles_with_ids_of_their_own(tmp_path: Path) -> None:
    imported = read_list(json_file(tmp_path, ENTRIES))
    assert [p.id for p in imported.constitution.principles] == ["be-kind", "principle-2", "be-kind-2"]
    first, second, _ = imported.constitution.principles
    assert (first.title, first.critique, first.revision) == ("Be Kind!", "Say what is unkind.", "Make it kind.")
    assert second.title == "Say what is wrong."
    assert first.statement == 'The response needs no change under this request: "Make it kind."'
    assert imported.left_out == (LeftOutPart("key 'lc'", 1, "a principle has no such field"),)
    assert loads_again(imported, tmp_path)


def test_yaml_and_json_read_the_same(tmp_path: Path) -> None:
    file = tmp_path / "list.yaml"
    file.write_text(
        "- name: smile\n  critique_request: 😀 missing?\n  revision_request: >\n    Add\n    one.\n", "utf-8"
    )
    entry = {"name": "smile", "critique_request": "😀 missing?", "revision_request": "Add one."}
    assert read_list(file).constitution == read_list(json_file(tmp_path, [entry])).constitution


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ([], "the list is empty"),
        ({}, "expected a list"),
        (["text"], r"\[0\]: expected keys and values"),
        ([{"name": "a", "critique_request": "x"}], r"\[0\]: revision_request: expected text"),
        ([{"critique_request": 1, "revision_request": "x"}], r"\[0\]: critique_request: expected text"),
        ([{"critique_request": " ", "revision_request": "x"}], r"\[0\]: .*the text is empty"),
    ],
)
def test_a_list_of_something_else_is_refused(tmp_path: Path, data: object, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_list(json_file(tmp_path, data))


# --- Polis ----------------------------------------------------------------------------------------------------------

COMMENTS = "comment-id,author-id,moderated,comment-body\n0,0,1,Be kind.\n1,0,0,Be rude.\n2,0,-1,Spam.\n3,0,1,Unseen.\n"
VOTES = "participant,group-id,n-votes,0,1,2\n"
VOTES += "".join(f"{i},0,3,1.0,-1.0,1\n" for i in range(6))
VOTES += "".join(f"{i},0,2,0.0,1.0,\n" for i in range(6, 8))
VOTES += "".join(f"{i},1,1,1,,\n" for i in range(8, 12))
VOTES += "12,,1,1,1,1\n"


@pytest.fixture
def poll(tmp_path: Path) -> list[Path]:
    (tmp_path / "comments.csv").write_text(COMMENTS)
    (tmp_path / "votes.csv").write_text(VOTES)
    return [tmp_path / "votes.csv", tmp_path / "comments.csv"]


def test_support_of_each_group_by_hand(poll: list[Path]) -> None:
    read = polis.read_poll(poll)
    kind, rude = read.tallies["0"], read.tallies["1"]
    assert [(g.id, g.agrees, g.disagrees, g.passes, g.support) for g in kind] == [
        ("group-0", 6, 0, 2, 0.75),
        ("group-1", 4, 0, 0, 1.0),
    ]
    assert [(g.id, g.agrees, g.disagrees, g.support) for g in rude] == [("group-0", 2, 6, 0.25)]


def test_one_principle_for_each_statement_and_group_that_backs_it(poll: list[Path], tmp_path: Path) -> None:
    imported = polis.read(poll, name="p", version="1.0.0", min_support=0.75, min_votes=4)
    assert [(p.id, p.statement) for p in imported.constitution.principles] == [
        ("comment-0-group-0", "Be kind."),
        ("comment-0-group-1", "Be kind."),
    ]
    assert imported.constitution.principles[0].compare == 'Which response follows this principle better: "Be kind."'
    assert [(x.what, x.count, x.why) for x in imported.left_out] == [
        ("statements", 1, "moderators rejected them"),
        ("statements", 1, "nobody in a group voted on them"),
        ("statements of a group", 1, "their support is below 0.75"),
        ("participants", 1, "they are in no group"),
    ]
    assert loads_again(imported, tmp_path)


def test_groups_with_few_votes_are_left_out_and_counted(poll: list[Path]) -> None:
    imported = polis.read(poll, name="p", version="1.0.0", min_support=0.5, min_votes=5)
    assert [p.id for p in imported.constitution.principles] == ["comment-0-group-0"]
    assert LeftOutPart("statements of a group", 1, "fewer than 5 of the group voted") in imported.left_out


def _break_votes(files: list[Path]) -> None:
    files[0].write_text(VOTES.replace("0.0", "0.5", 1))


def _drop_votes(files: list[Path]) -> None:
    files.pop(0)


def _swap_header(files: list[Path]) -> None:
    files[0].write_text("a,b\n1,2\n")


def _not_text(files: list[Path]) -> None:
    files[0].write_bytes(b"\xff\xfe")


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (_break_votes, r"votes, row 8, comment 0: '0\.5' is not a vote"),
        (_drop_votes, "the votes are missing"),
        (_swap_header, "neither comments nor votes"),
        (_not_text, "not a CSV file"),
    ],
)
def test_a_broken_poll_is_a_clear_error(poll: list[Path], harm: Callable[[list[Path]], None], problem: str) -> None:
    harm(poll)
    with pytest.raises(InputError, match=problem):
        polis.read(poll, name="p", version="1.0.0")


@pytest.mark.parametrize("support", [0, 1.1])
def test_impossible_thresholds_are_refused(poll: list[Path], support: float) -> None:
    with pytest.raises(InputError, match="at most 1"):
        polis.read(poll, name="p", version="1.0.0", min_support=support)


def test_support_that_nobody_gives_is_an_error(poll: list[Path]) -> None:
    with pytest.raises(InputError, match="no statement has the support"):
        polis.read(poll, name="p", version="1.0.0", min_votes=100)


def test_all_550_published_consensus_values(cai_data: Path) -> None:
    """The published column and ours, from the votes alone: GOLDEN.json, `agreement`."""
    comments, votes = cai_data / "ccai" / "clean_comments.csv", cai_data / "ccai" / "clean_votes.csv"
    poll = polis.read_poll([comments, votes])
    compared = 0
    with comments.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for group in poll.tallies[row["comment-id"]]:
                published = float(row[f"group_{group.id.removeprefix('group-')}_consensus"])
                assert group.support == pytest.approx(published, abs=1e-9)
                compared += 1
    assert compared == 550


def test_the_ccai_poll_as_it_is(cai_data: Path, tmp_path: Path) -> None:
    files = [cai_data / "ccai" / "clean_comments.csv", cai_data / "ccai" / "clean_votes.csv"]
    imported = polis.read(files, name="ccai", version="1.0.0")
    groups = [p.group.id for p in imported.constitution.principles if p.group]
    assert (groups.count("group-0"), groups.count("group-1")) == (170, 167)
    assert loads_again(imported, tmp_path)


# --- all --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_a_missing_source_is_a_clear_error(format: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        FORMATS[format]([tmp_path / "nowhere"], name="x", version="1.0.0")


@pytest.mark.parametrize(("name", "version"), [("Two Words", "1.0.0"), ("x", "1")])
def test_a_bad_name_or_version_is_a_clear_error(tmp_path: Path, name: str, version: str) -> None:
    with pytest.raises(InputError, match="is not a"):
        langchain.read([json_file(tmp_path, ENTRIES)], name=name, version=version)
