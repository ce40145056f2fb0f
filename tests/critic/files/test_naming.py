"""What columns are called: in any case, as a person maps them, and refused where that isn't clear."""

import json
from pathlib import Path

import pytest

from base.errors import InputError
from critic.files.inputs import read_pairs, read_prompts
from critic.files.naming import Naming, NamingError, read_mapping
from critic.files.shapes import is_read, naming
from critic.records import Line, Quarantined


def test_names_match_whatever_their_case() -> None:
    assert naming().of_row({"Prompt": 1, " CHOSEN ": 2, "Rejected": 3, "Note": 4}) == {
        "prompt": 1,
        "chosen": 2,
        "rejected": 3,
        "Note": 4,
    }
    assert naming().of_row({"human_ref_A": 1}) == {"human_ref_a": 1}


def test_the_very_name_comes_before_its_like() -> None:
    assert naming().of_row({"Prompt": 1, "prompt": 2}) == {"Prompt": 1, "prompt": 2}


def test_two_likes_of_one_name_are_refused() -> None:
    with pytest.raises(NamingError, match="'Prompt' and 'PROMPT' are both prompt"):
        naming().of_row({"Prompt": 1, "PROMPT": 2})


def test_a_mapped_column_takes_the_place_of_its_name() -> None:
    mapped = naming("prompt=question,chosen=Win")
    assert mapped.of_row({"question": 1, "prompt": 2, "WIN": 3}) == {"prompt": 1, "chosen": 3}
    assert mapped.of_row({"question": 1, "prompt": 2, "WIN": 3}) == {"prompt": 1, "chosen": 3}  # as it was remembered
    assert naming("id=").of_row({"id": 1, "prompt": 2}) == {"prompt": 2}
    assert naming("chosen=rejected,rejected=chosen").of_row({"chosen": 1, "rejected": 2}) == {
        "rejected": 1,
        "chosen": 2,
    }


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("ask,reply\na,b\n")
    with pytest.raises(InputError, match="no column 'question'") as caught:
        read_prompts(str(tmp_path / "in.csv"), max_chars=9, truncate=False, columns=naming("prompt=question"))
    assert "ask, reply" in str(caught.value)


def test_of_rows_with_keys_of_their_own_each_is_asked(tmp_path: Path) -> None:
    rows = [{"question": "a"}, {"prompt": "b"}, {"Question": "c"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second, third = read_prompts(
        str(tmp_path / "in.jsonl"), max_chars=9, truncate=False, columns=naming("prompt=question")
    )
    assert isinstance(first, Line) and isinstance(third, Line)
    assert isinstance(second, Quarantined) and second.reason == "bad_columns"
    assert "there are prompt" in second.detail


@pytest.mark.parametrize("text", ["prompt", "frompt=question", "=a", "prompt=a,prompt=b", "prompt=a,chosen=a"])
def test_a_mapping_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        read_mapping(text, is_read)
    assert caught.value.where == "--column" and caught.value.fix


@pytest.mark.parametrize("text", ["prompt=a,question=b", "messages=a,prompt=b", "conversations=a,history=b"])
def test_two_columns_for_the_prompt_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="are all the prompt"):
        naming(text)
    assert naming("instruction=a,input=b").given == {"instruction": "a", "input": "b"}, "these two are one prompt"


def test_one_column_is_not_two_things() -> None:
    with pytest.raises(NamingError, match="'Q' can't be both prompt and chosen"):
        naming("prompt=Q,chosen=q").of_row({"Q": 1})


def test_what_is_remembered_is_bounded() -> None:
    names = Naming(is_read)
    for number in range(3000):
        assert names.of_row({f"column {number}": 1, "Prompt": 2})["prompt"] == 2
    assert len(names._kept) <= 1000


def test_judging_under_other_names(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("Frage|gut|schlecht\nWarum?|Darum.|Nein.\n")
    columns = naming("prompt=frage,chosen=gut,rejected=schlecht")
    (line,) = read_pairs(str(tmp_path / "in.csv"), max_chars=99, truncate=False, columns=columns)
    assert isinstance(line, Line)
    assert [response.text for response in line.item.responses] == ["Darum.", "Nein."]
