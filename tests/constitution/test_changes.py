"""What changed, and what it costs."""

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from constitution import diff, load
from constitution.changes import MOST_CELLS, Edit, words
from tests.constitution.samples import make, principle


def test_each_kind_of_change_is_told_apart() -> None:
    a = make(
        principles=[principle("kept"), principle("gone"), principle("said"), principle("weighed"), principle("both")]
    )
    b = make(
        version="1.1.0",
        title="New title",
        principles=[
            principle("new"),
            principle("weighed", weight=2, applies_to=["coding"]),
            principle("said", critique="The other critique of said."),
            principle("both", opposite="Bad.", priority=2, group={"id": "g", "agrees": 1}),
            principle("kept"),
        ],
    )
    d = diff(a, b)
    assert [p.id for p in d.added] == ["new"]
    assert [p.id for p in d.removed] == ["gone"]
    assert [(c.id, f.field) for c in d.reworded for f in c.fields] == [("said", "critique"), ("both", "opposite")]
    assert [(c.id, f.field, f.before, f.after) for c in d.reweighted for f in c.fields] == [
        ("weighed", "weight", "1", "2"),
        ("weighed", "applies_to", "", "coding"),
        ("both", "priority", "1", "2"),
        ("both", "group", "", "g (1 agree, 0 disagree, 0 pass)"),
    ]
    assert d.unchanged == ("kept",)
    assert [(f.field, f.before, f.after) for f in d.header] == [("title", "Demo", "New title")]
    assert d.stale_digests == tuple(a.principle(id).digest for id in ("gone", "said", "both"))
    assert not d.same


def test_nothing_but_the_version_or_the_order_changed() -> None:
    a = make(principles=[principle("a"), principle("b")])
    d = diff(a, make(version="2.0.0", principles=[principle("b"), principle("a")]))
    assert d.same
    assert d.stale_digests == ()


def test_a_new_id_makes_the_old_votes_stale_although_the_words_are_the_same() -> None:
    """The id is what a draw hashes, so the principle is another one."""
    a, b = make(principles=[principle("a")]), make(principles=[{**principle("a"), "id": "b"}])
    assert diff(a, b).stale_digests == (a.principles[0].digest,)


def test_words_by_hand() -> None:
    assert words("say no politely", "say no in one sentence") == (
        Edit("same", "say no "),
        Edit("removed", "politely"),
        Edit("added", "in one sentence"),
    )
    assert words("a b", "c d") == (Edit("removed", "a b"), Edit("added", "c d"))
    assert words("", "new") == (Edit("added", "new"),)
    assert words("old", "") == (Edit("removed", "old"),)
    assert words("same", "same") == (Edit("same", "same"),)


_TEXT = st.lists(st.sampled_from(["a", "b", "c", " ", "\n"]), max_size=20).map("".join)


@given(_TEXT, _TEXT)
def test_the_edits_join_to_both_texts(before: str, after: str) -> None:
    edits = words(before, after)
    assert "".join(e.text for e in edits if e.op != "added") == before
    assert "".join(e.text for e in edits if e.op != "removed") == after
    assert all(e.text for e in edits)


def test_examples_are_compared_as_text() -> None:
    example = {"prompt": "p", "response": "r", "critique": "c", "revision": "v"}
    history = [{"role": "user", "content": "u"}, {"role": "assistant", "content": "s"}]
    a, b = (
        make(principles=[principle(examples=[example])]),
        make(principles=[principle(examples=[{**example, "history": history}])]),
    )
    (change,) = diff(a, b).reworded[0].fields
    assert change.before == "prompt: p\nresponse: r\ncritique: c\nrevision: v"
    assert change.after == f"user: u\nassistant: s\n{change.before}"


def test_includes_are_compared_by_reference() -> None:
    d = diff(load("hhh"), make(includes=[{"ref": "honesty@1.0.0"}]))
    (change,) = (c for c in d.header if c.field == "includes")
    assert change.before.startswith("harmlessness@1.1.0 (priority 1), honesty@1.0.0 (priority 2)")
    assert change.after == "honesty@1.0.0"


def test_the_two_published_versions_of_harmlessness() -> None:
    d = diff(load("harmlessness@1.0.0"), load("harmlessness@1.1.0"))
    assert [p.id for p in d.added] == ["ordinary-questions"]
    assert [p.id for p in d.removed] == ["clean-language"]
    assert [c.id for c in d.reworded] == ["refuse-kindly"]
    assert [c.id for c in d.reweighted] == ["no-mass-harm"]
    assert len(d.unchanged) == 9
    assert len(d.stale_digests) == 2


def test_long_texts_are_compared_in_small_tables_and_the_edits_join_to_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """5,000 words against as many others took twelve seconds, in which a server answered nobody."""
    matcher, cells = difflib.SequenceMatcher, []

    def counted(junk: None, old: list[str], new: list[str], autojunk: bool) -> difflib.SequenceMatcher[str]:
        cells.append(len(old) * len(new))
        return matcher(junk, old, new, autojunk)

    monkeypatch.setattr(difflib, "SequenceMatcher", counted)
    numbers = [str(number) for number in range(20_000)]
    few = words(" ".join(numbers), " ".join([*numbers[:9000], "another", *numbers[9001:]]))
    assert [edit.text for edit in few if edit.op != "same"] == ["9000", "another"]
    lines = "\n".join(" ".join(numbers[at : at + 100]) for at in range(0, 20_000, 100))
    other = lines.replace("\n5000 ", "\nfive thousand ").replace("\n15000 ", "\nfifteen thousand ")
    assert len([edit for edit in words(lines, other) if edit.op == "added"]) == 2
    for before, after in ((lines, other), (" ".join(numbers), " ".join(reversed(numbers))), (lines, "x\n" * 20_000)):
        edits = words(before, after)
        assert "".join(edit.text for edit in edits if edit.op != "added") == before
        assert "".join(edit.text for edit in edits if edit.op != "removed") == after
    assert cells and max(cells) <= MOST_CELLS
