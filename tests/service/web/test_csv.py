"""Numbers as CSV: no text in it is computed by a spreadsheet, neither a value nor a column's name."""

import csv as reader
import io

import pytest

from service.web.rendering import csv

FORMULAS = ["=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1+1", "\uff20SUM(A1)"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_begins_as_a_formula_does(text: str) -> None:
    answer = csv("a/b\r\n", [{"name": text, "by": {text: 1}, "number": -1, "list": [text]}])
    names, values = reader.reader(io.StringIO(bytes(answer.body).decode(), newline=""))
    assert values == [f"'{text}", "1", "-1"]
    assert names == ["name", f"by_{text}", "number"]
    assert "\n" not in answer.headers["content-disposition"]
    [name, _] = reader.reader(io.StringIO(bytes(csv("a", [{text: 1}]).body).decode(), newline=""))
    assert name == [f"'{text}"]
