"""People's agreement, annotator by annotator, and what to do with each item."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from critic.evaluation.agreement.models import ModelStrengths, model_strengths
from critic.evaluation.agreement.units import LEVELS, Said
from critic.statistics.alarms import OF_REPORT, faults
from critic.statistics.intervals import FEW, Figure, Share
from critic.statistics.people.course import CourseChange, drift, fatigue, gold
from critic.statistics.people.dawid_skene import accuracies, full, one_coin
from critic.statistics.people.spam import Informed, informed
from critic.statistics.prediction.verdicts import Verdict, slips, verdicts
from critic.statistics.reliability.alpha import krippendorff
from critic.statistics.reliability.coefficient import OfWeights, figure, resting_on
from critic.statistics.reliability.gwet import ac1, ac2
from critic.statistics.reliability.kappa import cohen, fleiss
from critic.statistics.reliability.ratings import Floats, Ratings

MOST_PAIRED = 100  # annotators between whom pairs are counted, those with the most labels
FEW_LABELS = 10  # a person of a table of errors, below which one number for a person is fitted instead
BAD_GOLD = 0.6  # right on known answers: whose whole interval lies below is not reading


@dataclass(frozen=True, slots=True)
class AnnotatorFigures:
    """One person's labels; a figure is None where there was too little, or nothing, to compare them with."""

    name: str
    group: str | None
    labels: int
    agreement: Figure | None
    accuracy: Figure | None
    gold: Figure | None
    informed: Informed
    drift: CourseChange | None
    fatigue: CourseChange | None


@dataclass(frozen=True, slots=True)
class Between:
    """Two people, on the units that both labelled."""

    first: str
    second: str
    units: int
    agreement: float
    kappa: Figure | None


@dataclass(frozen=True, slots=True)
class AgreementFigures:
    """``coefficients`` are by name, ``why_not`` says of those that are not there. ``model`` names how truth was found.

    ``verdicts`` count what to do with items that two people or more compared. ``models`` are those whose answers were.
    """

    kind: str
    units: int
    prompts: int
    labels: int
    repeated: int
    agreement: Figure | None
    coefficients: Mapping[str, Figure]
    why_not: Mapping[str, str]
    annotators: tuple[AnnotatorFigures, ...]
    pairs: tuple[Between, ...]
    model: str
    slip: float | None
    verdicts: Mapping[Verdict, int]
    items: Mapping[str, Verdict]
    models: ModelStrengths | None
    alarms: tuple[str, ...]


def by_group(labels: Sequence[Said], pool: bool) -> dict[str | None, list[Said]]:
    """Return the labels of each group apart, people of none being one; all of them together with ``pool``.

    What two of different groups say differently is no disagreement within either, so nothing pools them unasked.
    """
    if pool:
        return {None: list(labels)}
    apart: dict[str | None, list[Said]] = {}
    for one in sorted(labels, key=lambda one: one.group or ""):
        apart.setdefault(one.group, []).append(one)
    return apart


def agreement_figures(
    labels: Sequence[Said], kind: str, known: Mapping[str, float], repeated: int = 0, tables: int = 1
) -> AgreementFigures:
    """Return the figures of all labels of a kind; ``known`` are units whose value is known (gold).

    ``repeated`` counts labels that were given again, of which the last is among ``labels``. ``tables`` is how many such
    figures one report has, of groups apart: they share what alarms may be false.

    Raises ValueError for no labels.
    """
    if not labels:
        raise ValueError(f"there are no labels of the kind {kind} by people")
    units = np.array([one.unit for one in labels], dtype=str)
    raters = np.array([one.annotator for one in labels], dtype=str)
    ratings = Ratings.of(units, raters, [one.value for one in labels])
    names = sorted({one.annotator for one in labels})
    clusters = _clusters(labels)
    coefficients, why_not = _coefficients(ratings, kind, clusters)
    right, model = _accuracies(ratings, clusters)
    people = _annotators(labels, ratings, names, right, known)
    slip, decided = _verdicts(labels, kind)
    return AgreementFigures(
        kind=kind,
        units=ratings.number_of_units,
        prompts=len({one.prompt for one in labels}),
        labels=len(labels),
        repeated=repeated,
        agreement=_agreement(ratings, clusters),
        coefficients=coefficients,
        why_not=why_not,
        annotators=people,
        pairs=_pairs(ratings, names, clusters),
        model=model,
        slip=slip,
        verdicts=Counter(decided.values()),
        items=decided,
        models=model_strengths(labels),
        alarms=tuple(_alarms(people, OF_REPORT / tables)),
    )


def _clusters(labels: Sequence[Said]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return each unit's prompt, in the order of the sorted units."""
    prompt_of = {one.unit: one.prompt for one in labels}
    return np.unique([prompt_of[unit] for unit in sorted(prompt_of)], return_inverse=True)[1].astype(np.int64)


def _coefficients(
    ratings: Ratings, kind: str, clusters: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> tuple[dict[str, Figure], dict[str, str]]:
    several = ratings.sizes() > 1
    if not several.any():
        return {}, {"all": "no unit was labelled by two people"}
    named: dict[str, Callable[[Ratings], OfWeights]] = {
        f"Krippendorff's alpha, {level}": partial(krippendorff, level=level) for level in LEVELS[kind]
    }
    named |= {"Fleiss' kappa": fleiss, "Gwet's AC1": ac1}
    if len(LEVELS[kind]) > 1:
        named["Gwet's AC2, quadratic"] = ac2
    figures: dict[str, Figure] = {}
    why_not: dict[str, str] = {}
    for name, of_ratings in named.items():
        try:
            value = figure(of_ratings(ratings), ratings.number_of_units, clusters)
        except ValueError as error:
            why_not[name] = str(error)
            continue
        if value is None:
            why_not[name] = "one value alone was given, so that chance explains all agreement"
        else:
            figures[name] = resting_on(value, clusters[several])
    return figures, why_not


def _agreement(ratings: Ratings, clusters: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Figure | None:
    """The share of pairs of labels of a unit that are equal."""
    counts, sizes = ratings.counts(), ratings.sizes()
    pairs = sizes * (sizes - 1) / 2
    alike = (counts * (counts - 1)).sum(axis=1) / 2
    share = Share()
    for cluster in np.split(np.argsort(clusters, kind="stable"), np.cumsum(np.bincount(clusters))[:-1]):
        for unit in cluster:
            if pairs[unit]:
                share.count(float(alike[unit] / pairs[unit]))
        share.end_cluster()
    return share.figure()


def _accuracies(
    ratings: Ratings, clusters: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> tuple[Sequence[Figure | None], str]:
    """Each person's accuracy, and by which model."""
    if not (ratings.sizes() > 1).any() or ratings.values.size < 2:
        nobody: list[Figure | None] = [None] * ratings.number_of_raters
        return nobody, "none: no unit was labelled by two people, or one value alone was given"
    fewest = int(np.bincount(ratings.raters).min())
    if fewest < FEW_LABELS * ratings.values.size:
        return accuracies(one_coin(ratings), ratings, clusters), "Dawid and Skene's, with one accuracy for each person"
    return accuracies(full(ratings), ratings, clusters), "Dawid and Skene's, with a table of errors for each person"


def _annotators(
    labels: Sequence[Said],
    ratings: Ratings,
    names: Sequence[str],
    right: Sequence[Figure | None],
    known: Mapping[str, float],
) -> tuple[AnnotatorFigures, ...]:
    others = _with_others(ratings)
    own: dict[str, list[int]] = {name: [] for name in names}
    for place, one in enumerate(labels):
        own[one.annotator].append(place)
    nothing = {one.rater: one for one in informed(ratings)}
    annotators = []
    for number, name in enumerate(names):
        said = [labels[i] for i in own[name]]
        annotators.append(_annotator(name, said, others[own[name]], nothing[number], right[number], known))
    return tuple(annotators)


def _annotator(
    name: str,
    mine: Sequence[Said],
    agrees: Floats,
    says: Informed,
    accuracy: Figure | None,
    known: Mapping[str, float],
) -> AnnotatorFigures:
    shared = ~np.isnan(agrees)
    share = Share()
    for value in agrees[shared]:
        share.count(float(value))
        share.end_cluster()
    times = np.array([np.nan if one.at is None else one.at for one in mine], np.float64)
    timed = shared & ~np.isnan(times)
    right = [float(one.value == known[one.unit]) for one in mine if one.unit in known]
    return AnnotatorFigures(
        name=name,
        group=next((one.group for one in reversed(mine) if one.group is not None), None),
        labels=len(mine),
        agreement=share.figure(),
        accuracy=accuracy,
        gold=gold(right),
        informed=says,
        drift=drift(agrees[timed], times[timed]),
        fatigue=fatigue(agrees[timed], times[timed]),
    )


def _with_others(ratings: Ratings) -> Floats:
    """Return for each label the share of the others' labels of the unit that are equal; NaN where there are none."""
    counts = ratings.counts()
    alike = counts[ratings.units, ratings.codes] - 1
    others = ratings.sizes()[ratings.units] - 1
    shares: Floats = np.divide(alike, others, out=np.full(alike.size, np.nan), where=others > 0)
    return shares


def _pairs(
    ratings: Ratings, names: Sequence[str], clusters: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> tuple[Between, ...]:
    most = np.argsort(-np.bincount(ratings.raters), kind="stable")[:MOST_PAIRED].tolist()
    between = []
    for first, second in combinations(sorted(most), 2):
        units, mine, theirs = ratings.of_pair(first, second)
        if units.size:
            kappa = figure(cohen(mine, theirs), units.size, clusters[units])
            alike = float((mine == theirs).mean())
            between.append(Between(names[first], names[second], units.size, alike, kappa))
    return tuple(between)


def _verdicts(labels: Sequence[Said], kind: str) -> tuple[float | None, dict[str, Verdict]]:
    """What to do with each unit of two choices, ties being half of either."""
    if kind not in ("comparison", "thumbs"):
        return None, {}
    units = sorted({one.unit for one in labels})
    place = {unit: i for i, unit in enumerate(units)}
    first, second = np.zeros(len(units)), np.zeros(len(units))
    for one in labels:
        first[place[one.unit]] += one.value
        second[place[one.unit]] += 1 - one.value
    try:
        slip = slips(first, second)
    except ValueError:
        return None, {}
    return slip, dict(zip(units, verdicts(first, second, slip), strict=True))


def _alarms(people: Sequence[AnnotatorFigures], level: float) -> list[str]:
    """Sentences about people whose labels need a look; of all tests of change together ``level`` are false."""
    tests = {("drift", one.name): one.drift.p for one in people if one.drift}
    tests |= {("fatigue", one.name): one.fatigue.p for one in people if one.fatigue}
    keyed = {f"{what}\0{name}": p for (what, name), p in tests.items()}
    told = []
    for key in faults(keyed, level):
        what, name = key.split("\0")
        one = next(person for person in people if person.name == name)
        change = one.drift if what == "drift" else one.fatigue
        if change is not None:
            where = "in the second half of their labels" if what == "drift" else "in the second half of a sitting"
            told.append(f"{name} agrees with others {change.difference.estimate:+.0%} {where} ({what}).")
    for one in people:
        if one.informed.says_nothing:
            told.append(f"{one.name}'s labels say next to nothing of what others say (n = {one.informed.labels:,}).")
        if one.gold is not None and one.gold.clusters >= FEW and one.gold.high < BAD_GOLD:
            told.append(f"{one.name} is right on {one.gold.estimate:.0%} of {one.gold.n:,} items with known answers.")
    return told
