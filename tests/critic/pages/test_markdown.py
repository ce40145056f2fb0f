"""Answers are rendered, and nothing of them acts, loads or leads anywhere."""

import re

import pytest

from critic.pages.markdown import rendered
from critic.pages.svg import element, together
from tests.critic.run.test_report import Page

ALLOWED = {
    *("p", "em", "strong", "s", "code", "pre", "br", "hr", "blockquote", "ul", "ol", "li"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}


def test_what_answers_are_written_in_is_shown() -> None:
    html = rendered("**Two** steps:\n\n1. `a`\n2. *b*\n\n```python\nx < 1\n```\n\n|c|d|\n|-|-|\n|1|2|\n")
    for part in ("<strong>Two</strong>", "<li><code>a</code></li>", "<em>b</em>", "x &lt; 1", "<td>2</td>"):
        assert part in html
    assert "one<br" in rendered("one\ntwo"), "models end lines where they mean it"


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1)) [b](https://example.org) <https://example.org>",
        "![a](https://example.org/a.png)",
        "[a][b]\n\n[b]: https://example.org 'title'",
        "<style>* { display: none }</style>",
        '```" onmouseover="alert(1)\nx\n```',
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        '|a|\n|-|\n|<iframe src="https://example.org">|',
        "<!-- --><svg onload=alert(1)>",
        "https://example.org",
        ">" * 500 + " deep",
        "*a " * 400,
    ],
)
def test_nothing_acts_loads_or_leads_anywhere(text: str) -> None:
    page = Page(rendered(text))
    assert {tag for tag, _ in page.tags} <= ALLOWED
    assert all(set(attributes) <= {"class", "start", "tabindex"} for _, attributes in page.tags)


def test_addresses_stay_to_be_seen() -> None:
    assert "(https://example.org)" in rendered("[click](https://example.org)")


def test_elements_escape_what_they_are_given() -> None:
    made = together((element("text", '<b>"&', fill='"><script>'), "<i>"))
    assert not re.search(r"<(b|i|script)>", made) and made.startswith('<text fill="&#34;&gt;')
