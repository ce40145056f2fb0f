"""Records for people, in the terminal: a chain of revisions, a comparison, a pair with every vote behind it.

What models wrote is shown as text: no markup of it is obeyed, and no control character reaches the terminal.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from base.errors import InputError
from constitution import Principle, load
from critic.judging.aggregate import aggregate, principle_log_odds
from critic.records import Chain, Judgement, PreferencePair, Prompt, Ranking, Response, Row, Vote
from critic.run.folder.results import judgement_of
from critic.settings.judging import EXACT, Pooling

# All control characters but tab and line feed, and those that reverse the direction of what follows.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
NAMED = 3  # principles that the reason for a choice names, for and against
RANKED_WIDTH = 60  # characters of each response that a ranking shows


def print_chain(prompt: Prompt, chain: Chain) -> None:
    """Print a response with its critiques and revisions."""
    console = Console()
    _print_prompt(console, prompt)
    console.print(_panel("response", chain.original.text))
    for revision in chain.revisions:
        critique = revision.critique
        console.print(_panel(f"critique {critique.round + 1}, {critique.principle}: {critique.outcome}", critique.text))
        if revision.response is not None:
            console.print(_panel(f"revision {critique.round + 1}", revision.response.text, "green"))
        else:
            console.print(Text(f"revision {critique.round + 1}: {revision.outcome}\n", "dim"))


def print_comparison(row: Row, principles: Mapping[str, Principle]) -> None:
    """Print every judgement of a row: votes are about the first response named."""
    console = Console()
    _print_prompt(console, row.prompt)
    for number, candidate in enumerate(row.candidates):
        console.print(_panel(f"response {number}", candidate.text))
    for judgement in row.judgements:
        title = f"response {judgement.first} against response {judgement.second}: {_outcome(judgement)}"
        console.print(_vote_table(title, judgement.votes, 1, principles, "first", "second"))


def print_pair(config: Mapping[str, Any], number: int, row: Row, pair: PreferencePair) -> None:
    """Print a pair: the conversation, both answers, the votes, and why the chosen one was chosen."""
    console = Console()
    group = f", group {pair.group}" if pair.group is not None else ""
    console.print(Text(clean(f"pair {number} (row {row.row}, {row.where}{group})"), "bold"))
    _print_prompt(console, row.prompt)
    console.print(_panel(f"chosen, {_origin(row, pair.chosen)}", pair.chosen.text, "green"))
    console.print(_panel(f"rejected, {_origin(row, pair.rejected)}", pair.rejected.text, "red"))
    ranking, judgement = row.ranking(pair.group), judgement_of(row, pair)
    if ranking is not None:
        console.print(_ranking_table(row, ranking, pair))
        console.print(f"Probability by the ranking that the chosen answer is better: {pair.probability:.3f}.\n")
    if judgement is None:
        if ranking is None:
            console.print("The pair follows from the strategy; no comparison of these two was made.")
        else:
            console.print("Their own comparison does not decide: the pair follows from those with other answers.")
        return
    principles = _principles(config)
    sign = 1 if row.candidates[judgement.first].text == pair.chosen.text else -1
    console.print(_vote_table("votes", judgement.votes, sign, principles, "chosen", "rejected"))
    for line in _reasons(judgement, sign, principles, config):
        console.print(Text(line))


def _ranking_table(row: Row, ranking: Ranking, pair: PreferencePair) -> Table:
    """A line a response, the best first."""
    table = Table(title="ranking by all comparisons", title_justify="left")
    table.add_column("rank", justify="right")
    table.add_column("strength", justify="right")
    table.add_column("response", no_wrap=True, overflow="ellipsis", max_width=RANKED_WIDTH)
    table.add_column("")
    for i in sorted(range(len(row.candidates)), key=lambda i: -ranking.strengths[i]):
        text = row.candidates[i].text
        if text == pair.chosen.text:
            side = "chosen"
        elif text == pair.rejected.text:
            side = "rejected"
        else:
            side = ""
        shown = Text(clean(" ".join(text.split())))
        table.add_row(str(ranking.ranks[i]), f"{ranking.strengths[i]:+.2f}", shown, side)
    return table


def _principles(config: Mapping[str, Any]) -> dict[str, Principle]:
    """Weights and priorities, where the run's constitution is at hand and unchanged; else nothing."""
    try:
        constitution = load(str(config["constitution"]))
    except (InputError, KeyError):
        return {}
    same = constitution.digest == config.get("constitution_hash")
    return {principle.id: principle for principle in constitution.principles} if same else {}


def _origin(row: Row, response: Response) -> str:
    for chain in row.chains:
        for revision in chain.revisions:
            if revision.response == response:
                return f"{response.model}: revised under {revision.critique.principle}"
    return response.model


def _vote_table(
    title: str, votes: Sequence[Vote], sign: int, principles: Mapping[str, Principle], one: str, other: str
) -> Table:
    """A line a principle. Log-odds are times ``sign``: about ``one``, against ``other``."""
    ordered = any(vote.order is not None for vote in votes)
    table = Table(title=Text(clean(title)), title_justify="left", caption=f"log-odds that {one} is better")
    table.add_column("principle")
    for column in ("given order", "swapped order") if ordered else ("vote",):
        table.add_column(column, justify="right")
    table.add_column("mean", justify="right")
    read = any(vote.mass is not None for vote in votes)
    if read:
        table.add_column("label mass", justify="right")
    if principles:
        table.add_column("priority", justify="right")
        table.add_column("weight", justify="right")
    table.add_column("prefers")
    jurors = list(dict.fromkeys((vote.judge, vote.mode) for vote in votes))
    means = []
    for juror in jurors:
        own = [vote for vote in votes if (vote.judge, vote.mode) == juror]
        means += [(juror, name, mean) for name, mean in principle_log_odds(own).items()]
    for juror, name, mean in means:
        reads = [vote for vote in votes if vote.principle == name and (vote.judge, vote.mode) == juror]
        cells = [_odds(reads, order, sign) for order in (("given", "swapped") if ordered else (None,))]
        cells.append("unreadable" if mean is None else f"{sign * mean:+.2f}")
        if read:
            cells.append(_mass(reads))
        if principles:
            principle = principles.get(name or "")
            cells += ["", ""] if principle is None else [str(principle.priority), f"{principle.weight:g}"]
        cells.append(_preferred(None if mean is None else sign * mean, one, other))
        about = name or "the response as a whole"
        label = f"{about} ({', '.join(juror)})" if len(jurors) > 1 else about
        table.add_row(*(Text(clean(cell)) for cell in (label, *cells)))
    return table


def _odds(votes: Iterable[Vote], order: str | None, sign: int) -> str:
    in_order = [vote for vote in votes if vote.order == order]
    return ", ".join("?" if vote.log_odds is None else f"{sign * vote.log_odds:+.2f}" for vote in in_order)


def _mass(votes: Iterable[Vote]) -> str:
    """The least label mass of a principle's votes."""
    masses = [vote.mass for vote in votes if vote.mass is not None]
    return f"{min(masses):.2g}" if masses else ""


def _preferred(mean: float | None, one: str, other: str) -> str:
    if not mean:
        return ""
    return one if mean > 0 else other


def _reasons(
    judgement: Judgement, sign: int, principles: Mapping[str, Principle], config: Mapping[str, Any]
) -> Iterator[str]:
    """Say which principles decided a comparison, and how."""
    settings = {key: config[key] for key in Pooling.model_fields.keys() & config.keys()}
    pooling = Pooling(**EXACT.model_dump() | settings)
    by_principle = {name: mean for name, mean in principle_log_odds(judgement.votes).items() if name is not None}
    odds = {name: sign * mean for name, mean in by_principle.items() if mean is not None}
    unread = len(by_principle) - len(odds)
    deciding = set(odds)
    classes = {principles[name].priority for name in odds if name in principles}
    priorities = sorted(classes) if config.get("priorities", True) else []
    for priority in priorities if len(priorities) > 1 else ():
        members = [p for p in principles.values() if p.priority == priority and p.id in odds]
        if aggregate(judgement.votes, members, pooling).outcome == "preference":
            deciding = {p.id for p in members}
            others = len(odds) - len(deciding)
            yield f"Priority {priority} decides: {len(deciding)} principles; {others} of other priorities don't count."
            break
    weight = {name: principles[name].weight if name in principles else 1.0 for name in deciding}
    favour = sorted((name for name in deciding if odds[name] > 0), key=lambda name: -weight[name] * odds[name])
    against = sorted((name for name in deciding if odds[name] < 0), key=lambda name: weight[name] * odds[name])
    if odds:
        yield f"{len(favour)} for the chosen answer{_named(favour, odds, weight)}"
        yield f"{len(against)} for the rejected one{_named(against, odds, weight)}"
    if unread:
        yield f"{unread} could not be read, and don't count."
    by = f"mode {judgement.mode}, {judgement.judge}"
    assert judgement.probability is not None  # it is a preference
    own = judgement.probability if sign > 0 else 1 - judgement.probability
    yield f"Probability that the chosen answer is better: {own:.3f} ({by})."


def _named(names: Sequence[str], odds: Mapping[str, float], weight: Mapping[str, float]) -> str:
    if not names:
        return "."
    times = {name: "" if weight[name] == 1 else f" times {weight[name]:g}" for name in names}
    listed = ", ".join(f"{clean(name)} ({odds[name]:+.2f}{times[name]})" for name in names[:NAMED])
    return f": {listed}{' and others' if len(names) > NAMED else ''}."


def _outcome(judgement: Judgement) -> str:
    if judgement.probability is None:
        return judgement.outcome
    return f"{judgement.outcome}, probability {judgement.probability:.3f} that the first is better"


def _print_prompt(console: Console, prompt: Prompt) -> None:
    for message in prompt.messages:
        console.print(_panel(message.role, message.text))


def _panel(title: str, text: str, style: str = "none") -> Panel:
    return Panel(Text(clean(text)), title=Text(clean(title)), title_align="left", border_style=style)


def clean(text: str) -> str:
    """Replace what could drive the terminal."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))
