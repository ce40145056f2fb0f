"""The report: one page, nothing loaded, model text only ever text, and loud where a run is worthless."""

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import pytest

from critic.pages.heat import HeatMap
from critic.pages.plots import Curves, Histogram
from critic.pages.strips import Bars, Strips
from critic.records import Drop, Message, Prompt, Quarantined, Row
from critic.run.folder.results import Results, gather
from critic.run.pages.figures import MOST_PRINCIPLES, figures
from critic.run.pages.report import report, write_report
from tests.factories import both_orders, judgement, provenance, revision, row, vote

HOSTILE = (
    "</script></div><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">{{ 7*7 }}"
)


ROLES: tuple[Literal["user", "assistant"], ...] = ("user", "assistant")


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


def test_the_page_loads_nothing_and_runs_nothing(tmp_path: Path) -> None:
    page = Page(report(results(tmp_path, [judged(0, text=HOSTILE)])))
    assert not any(tag in ("img", "link", "iframe", "object", "base", "form", "script", "a") for tag, _ in page.tags)
    names = {name for _, attributes in page.tags for name in attributes}
    assert not [name for name in names if name in ("src", "href", "style") or name.startswith("on")]
    policy = next(a["content"] or "" for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/]{43}='; base-uri 'none'; form-action 'none'", policy
    )
    assert "document.title='owned'" in page.text and "{{ 7*7 }}" in page.text, "it is shown as text"


def test_names_from_files_are_escaped_in_pictures_too(tmp_path: Path) -> None:
    bad = row(judgements=[judgement([*both_orders(HOSTILE, 2.0, 1.0), *both_orders("calm", 1.0, 1.0)], 0.8)])
    page = Page(report(results(tmp_path, [bad])))
    assert not [tag for tag, _ in page.tags if tag in ("script", "img")]
    assert page.text.count("document.title='owned'") >= 3, "in the strips, the heat map and the table"


def test_pictures_show_the_figures(tmp_path: Path) -> None:
    made = figures(results(tmp_path, [judged(0), judged(1, 0.2), judged(2, 0.5)], refused=4))
    assert set(made) == {"probabilities", "lengths", "positions", "agreement", "dropped"}
    bars, lengths, dropped = made["probabilities"], made["lengths"], made["dropped"]
    assert isinstance(bars, Histogram) and isinstance(lengths, Curves) and isinstance(dropped, Bars)
    assert {x: n for x, n in zip(bars.centres, bars.counts, strict=True) if n} == {0.8: 1, 0.2: 1, 0.5: 1}
    assert dict(dropped.rows) == {"pair: tie": 1, "revision: nothing_to_revise": 3, "quarantined: too_long": 4}
    assert dropped.loud == {"quarantined: too_long"}
    heat, positions = made["agreement"], made["positions"]
    assert isinstance(heat, HeatMap) and isinstance(positions, Strips)
    assert (heat.names, heat.shares, heat.counts) == (("calm", "kind"), ((1, 0), (0, 1)), ((3, 3), (3, 3)))
    assert {name: lean.value for name, (lean, _) in positions.rows if lean} == {"calm": 0.5, "kind": 0.0}
    for line in lengths.lines:
        assert sum(n for _, n in line.points) == 2


def test_few_comparisons_of_two_principles_stay_pale(tmp_path: Path) -> None:
    rows = [judged(i) for i in range(10)]
    few, enough = report(results(tmp_path, rows[:9])), report(results(tmp_path, rows))
    assert '<td class="few">0<small>9</small></td>' in few, "never alike, in 9 comparisons"
    assert '<td class="h0">0<small>10</small></td>' in enough


def test_a_judge_without_principles_names_none(tmp_path: Path) -> None:
    whole = row(judgements=[judgement([vote(None, 2.3, order=None)], 0.9)])
    page = Page(report(results(tmp_path, [whole])))
    assert "Loudest" not in page.text and "None" not in page.text
    assert "log-odds +2.30 for the chosen one" in page.text


def test_many_principles_leave_the_page_readable(tmp_path: Path) -> None:
    votes = [vote for i in range(90) for vote in both_orders(f"p{i:02}", 2.0, 1.0 if i else 2.0)]
    made = figures(results(tmp_path, [row(judgements=[judgement(votes, 0.8)])]))
    positions, heat = made["positions"], made["agreement"]
    assert isinstance(positions, Strips) and isinstance(heat, HeatMap)
    assert len(positions.rows) == MOST_PRINCIPLES and len(heat.names) == 40


@pytest.mark.parametrize(
    "text", ["\"'&<>" * 999, "*a*" * 999, "|a|\n|-|\n" + "|a|\n" * 999, "> " * 999, "\U0001f600" * 999]
)
def test_a_page_weighs_under_a_megabyte_whatever_is_in_it(text: str, tmp_path: Path) -> None:
    names = [f"{i:02} {'long-name-' * 6}" for i in range(50)]
    votes = [vote for name in names for vote in both_orders(name, 2.0, 1.0)]
    earlier = [Message(role=role, content=text) for _ in range(4) for role in ROLES]
    asked = Prompt(messages=(*earlier, Message(role="user", content=text)))
    made = row(0, [text, f"{text} b"], [judgement(votes, 0.8)]).model_copy(update={"prompt": asked})
    rows = [made.model_copy(update={"row": i}) for i in range(7)]
    assert len(report(results(tmp_path, rows)).encode()) < 1_000_000


def test_a_run_without_positions_or_pairs_shows_what_it_has(tmp_path: Path) -> None:
    pointwise = row(judgements=[judgement([vote("calm", 1.0, order=None), vote("kind", 2.0, order=None)], 0.8)])
    assert "positions" not in figures(results(tmp_path, [pointwise]))
    assert "Position bias" not in Page(report(results(tmp_path, [pointwise]))).text
    empty = results(tmp_path, [])
    assert figures(empty) == {} and "There are no pairs." in Page(report(empty)).text
    unread = row(judgements=[judgement([vote("calm", None)], None)])
    assert "100 %" in Page(report(results(tmp_path, [unread]))).text


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    rows = [judged(i) for i in range(3)]
    assert report(results(tmp_path, rows)) == report(results(tmp_path, rows))


@pytest.mark.slow
def test_a_browser_draws_every_picture_under_the_pages_own_policy(tmp_path: Path, chromium: Path) -> None:
    made = results(tmp_path, [judged(i, 0.3 + i / 20, HOSTILE) for i in range(10)], refused=1)
    write_report(made, tmp_path)
    shown = in_browser(chromium, tmp_path)
    assert re.findall(r'id="picture-(\w+)"', shown) == ["probabilities", "lengths", "positions", "agreement", "dropped"]
    assert "<title>Run under harmlessness@1.0.0</title>" in shown, "no hostile script ran"


def in_browser(chromium: Path, folder: Path) -> str:
    """Return the page as the browser has it. Raises where the page's policy refused something of it."""
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--enable-logging=stderr",
    ]
    flags += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"]
    page = (folder / "report.html").as_uri()
    shown: Any = subprocess.run([chromium, *flags, page], capture_output=True, text=True, timeout=600, check=True)
    assert "Content Security Policy" not in shown.stderr, shown.stderr
    return str(shown.stdout)
