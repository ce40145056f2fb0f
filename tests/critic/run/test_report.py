"""The report: one page, nothing loaded, model text only ever text, and loud where a run is worthless."""

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from critic.records import Drop, Quarantined, Row
from critic.run.figures import figures
from critic.run.report import SHOWN_CHARACTERS, report, shorten, write_report
from critic.run.results import Results, gather
from tests.factories import both_orders, judgement, provenance, revision, row, vote

HOSTILE = (
    "</script></div><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">{{ 7*7 }}"
)


def results(directory: Path, rows: list[Row], refused: int = 0) -> Results:
    lost = [Quarantined(row=i, where="x:1", reason="too_long", detail="long") for i in range(refused)]
    return gather(lambda: iter(rows), lambda: iter(lost), provenance(), directory, "jsonl", config={}, calls=9)


def judged(i: int, p: float = 0.8, text: str = "The Nile, of course.") -> Row:
    votes = [*both_orders("calm", 2.0, 1.0), *both_orders("kind", -1.0, 0.5)]
    drop = Drop(what="revision", reason="nothing_to_revise")
    return row(i, [text, "The Po."], [judgement(votes, p)], revisions=[[revision("calm", None)]], drops=[drop])


def always_first(n: int) -> list[Row]:
    return [row(i, judgements=[judgement(both_orders("calm", 5.0, -5.0), 0.5)]) for i in range(n)]


class Page(HTMLParser):
    """Tags with their attributes, and the text outside scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.words.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        """All words of the page."""
        return " ".join(filter(None, self.words))


def test_an_always_first_judge_is_said_first_and_loudly(tmp_path: Path) -> None:
    page = Page(report(results(tmp_path, always_first(12))))
    (alarm,) = [a for tag, a in page.tags if a.get("role") == "alert"]
    assert alarm["class"] == "alarm"
    warning = (
        "Every comparison came out at 0.5: the judge always prefers the first position (same-position rate 100 %)."
    )
    assert warning in page.text and "No pairs" in page.text
    assert page.text.index(warning) < page.text.index("What the judge said")


def test_a_good_run_has_no_alarm(tmp_path: Path) -> None:
    page = Page(report(results(tmp_path, [judged(i) for i in range(3)])))
    assert not any(a.get("role") == "alert" for _, a in page.tags)


def test_the_page_loads_nothing_and_runs_only_its_own_two_scripts(tmp_path: Path) -> None:
    text = report(results(tmp_path, [judged(0, text=HOSTILE)]))
    page = Page(text)
    assert not any(tag in ("img", "link", "iframe", "object", "base", "form") for tag, _ in page.tags)
    assert not any(name in ("src", "href") or name.startswith("on") for _, a in page.tags for name in a)
    assert [a.get("type") for tag, a in page.tags if tag == "script"] == ["application/json", None, None]
    policy = next(a["content"] or "" for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';") and len(re.findall(r"'sha256-[\w+/]{43}='", policy)) == 2
    script = re.search(r"script-src ([^;]*)", policy)
    assert script and "unsafe" not in script[1]
    assert "document.title='owned'" in page.text and "{{ 7*7 }}" in page.text, "it is shown as text"


def test_names_from_files_are_escaped_in_pictures_too(tmp_path: Path) -> None:
    bad = row(judgements=[judgement(both_orders(HOSTILE, 2.0, 1.0), 0.8)])
    text = report(results(tmp_path, [bad]))
    data = text.split('id="pictures">')[1].split("</script>")[0]
    assert "<" not in data and HOSTILE in json.loads(data)["positions"]["data"][0]["y"]


def test_pictures_show_the_figures(tmp_path: Path) -> None:
    made = figures(results(tmp_path, [judged(0), judged(1, 0.2), judged(2, 0.5)], refused=4))
    assert set(made) == {"probabilities", "lengths", "positions", "agreement", "dropped"}
    bars = made["probabilities"]["data"][0]
    assert {x: y for x, y in zip(bars["x"], bars["y"], strict=True) if y} == {0.8: 1, 0.2: 1, 0.5: 1}
    dropped = made["dropped"]["data"][0]
    assert dict(zip(dropped["y"], dropped["x"], strict=True)) == {
        "pair: tie": 1,
        "revision: nothing_to_revise": 3,
        "quarantined: too_long": 4,
    }
    heat = made["agreement"]["data"][0]
    assert heat["x"] == ["calm", "kind"] and heat["z"] == [[1, 0], [0, 1]]
    lean = made["positions"]["data"][0]
    assert dict(zip(lean["y"], lean["x"], strict=True)) == {"calm": 0.5, "kind": 0.0}
    assert all(sum(side["y"]) == 2 for side in made["lengths"]["data"])


def test_a_run_without_positions_or_pairs_shows_what_it_has(tmp_path: Path) -> None:
    pointwise = row(judgements=[judgement([vote("calm", 1.0, order=None), vote("kind", 2.0, order=None)], 0.8)])
    assert "positions" not in figures(results(tmp_path, [pointwise]))
    assert "Position bias" not in Page(report(results(tmp_path, [pointwise]))).text
    empty = results(tmp_path, [])
    assert figures(empty) == {} and "There are no pairs." in Page(report(empty)).text
    unread = row(judgements=[judgement([vote("calm", None)], None)])
    assert "100 %" in Page(report(results(tmp_path, [unread]))).text


def test_long_texts_say_how_much_is_missing() -> None:
    assert shorten("x" * SHOWN_CHARACTERS) == "x" * SHOWN_CHARACTERS
    assert shorten("x" * (SHOWN_CHARACTERS + 1500)).endswith("x [1,500 more characters]")


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    rows = [judged(i) for i in range(3)]
    assert report(results(tmp_path, rows)) == report(results(tmp_path, rows))


@pytest.mark.slow
def test_a_browser_draws_every_picture_under_the_pages_own_policy(tmp_path: Path, chromium: Path) -> None:
    made = results(tmp_path, [judged(i, 0.3 + i / 20, HOSTILE) for i in range(10)], refused=1)
    write_report(made, tmp_path)
    page = (tmp_path / "report.html").as_uri()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"]
    shown: Any = subprocess.run([chromium, *flags, page], capture_output=True, text=True, timeout=600, check=True)
    drawn = re.findall(r'id="picture-(\w+)" class="picture js-plotly-plot"', shown.stdout)
    assert drawn == ["probabilities", "lengths", "positions", "agreement", "dropped"]
    assert shown.stdout.count('class="main-svg"') >= 5
    assert "<title>Run under harmlessness@1.0.0</title>" in shown.stdout, "no hostile script ran"
