"""How often clean projects raise an alarm: each report's alarms, and all of them together on one project.

``python -m benchmarks.alarms [PROJECTS]`` draws projects in which nothing is wrong: people who are right nine times in
ten and never tire, a judge that leans to nothing, principles that mostly agree, groups of one mind, a policy that
nobody prefers, that refuses and answers as before. All reports together hold their alarms to 5 % of the clean projects
(`critic.statistics.alarms`), so each holds its own to 1 %.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
from numpy.random import Generator

from constitution import Constitution
from critic.evaluation.agreement.figures import agreement_figures
from critic.evaluation.agreement.units import Said
from critic.evaluation.policy.alarms import sentences
from critic.evaluation.policy.figures import figures
from critic.evaluation.policy.leakage import JUDGE, POLICY, FamilySeat, leaks
from critic.evaluation.policy.matches import Match
from critic.evaluation.policy.measured import HELD_OUT, RED_TEAM, SAFE, MeasuredPolicies
from critic.evaluation.policy.tax import MultipleChoice
from critic.evaluation.principles.ambiguity import ambiguities
from critic.evaluation.principles.redundancy import relations
from critic.evaluation.principles.table import VoteTable
from critic.evaluation.trust.asking import JudgeAnswer
from critic.evaluation.trust.figures import judge_figures
from critic.evaluation.trust.people import LabelledItem, People
from critic.judging.aggregate import aggregate
from critic.messages import Message
from critic.records import Judgement, Order, Prompt, Response, Row, Vote
from critic.run.family import families
from critic.settings.judging import Pooling
from critic.statistics.alarms import OF_REPORT
from critic.statistics.groups.clusters import clusters
from critic.statistics.groups.support import apart

PROJECTS = 200
ORDERS: tuple[Order, ...] = ("given", "swapped")

Alarms = Mapping[str, bool]


def of_people(rng: Generator) -> Alarms:
    """Six people label 80 items in sittings of 40 minutes."""
    truth = rng.integers(2, size=80)
    labels = [
        Said(
            f"u{item:03}",
            f"u{item:03}",
            f"u{item:03}",
            f"p{person}",
            float(value),
            at=86_400.0 * (item // 20) + item * 60,
        )
        for person in range(6)
        for item, value in enumerate(np.where(rng.random(80) < 0.9, truth, 1 - truth))
    ]
    known = {f"u{item:03}": float(truth[item]) for item in range(30)}
    told = agreement_figures(labels, "comparison", known).alarms
    kinds = {"drift": "(drift)", "fatigue": "(fatigue)", "spam": "next to nothing", "gold": "known answers"}
    text = "\n".join(told)
    return {kind: words in text for kind, words in kinds.items()}


def of_a_judge(rng: Generator) -> Alarms:
    """A judge that is right in four of five, on answers of every length and style."""
    answers = []
    for number in range(100):
        item = _item(rng, number)
        odds = 1.5 if (item.share > 0.5) == (rng.random() < 0.8) else -1.5
        votes = tuple(_vote("p", order, odds + 2 * float(rng.normal())) for order in ORDERS)
        mean = sum(vote.log_odds or 0.0 for vote in votes) / 2
        answers.append(JudgeAnswer(item, float(1 / (1 + np.exp(-mean))), votes))
    named = judge_figures(answers, People(tuple(answer.item for answer in answers), 0, 0), "gemma-27b").faults
    return {"leanings": bool(named)}


def _item(rng: Generator, number: int) -> LabelledItem:
    texts = [_text(rng) + ("" if side == 0 else " Indeed.") for side in range(2)]
    models = ["gemma-2b", "llama-7b"]
    rng.shuffle(models)
    first, second = (Response(text=text, model=model) for text, model in zip(texts, models, strict=True))
    truth = rng.random() < 0.5
    said = {name: float(truth if rng.random() < 0.9 else not truth) for name in ("ann", "bob", "cy")}
    return LabelledItem(str(number), _prompt(number), first, second, said)


def _text(rng: Generator) -> str:
    start = "You're right. " if rng.random() < 0.3 else ""
    end = "\n- one\n- two" if rng.random() < 0.3 else ""
    return start + "word " * int(rng.integers(1, 40)) + end


def _prompt(number: int) -> Prompt:
    return Prompt(messages=(Message(role="user", content=f"Question {number}?"),))


def _vote(principle: str, order: Order, odds: float, judge: str = "j", digest: str = "0" * 64) -> Vote:
    return Vote(principle=principle, principle_digest=digest, judge=judge, mode="logprob", order=order, log_odds=odds)


TEXTS = ("title", "statement", "compare", "critique", "revision")


def _numbered(n: int) -> dict[str, str]:
    return {"id": f"p{n}"} | {text: f"{text} {n}" for text in TEXTS}


CLEAN = Constitution.model_validate(
    {
        **{"name": "clean", "version": "1.0.0", "title": "Clean", "summary": "s", "license": "l", "language": "en"},
        "principles": [_numbered(n) for n in range(6)],
    }
)


def of_principles(rng: Generator) -> Alarms:
    """Two judges read six principles on 40 pairs, of which some answers are simply better."""
    odds = rng.normal(size=(40, 1)) + rng.normal(size=(40, 6))
    table = VoteTable.of((_row(rng, number, own) for number, own in enumerate(odds)), CLEAN)
    between = relations(table)
    duplicates = any(one.is_duplicate for one in between)
    contradictions = any(one.is_contradiction for one in between)
    return {
        "duplicates": duplicates,
        "contradictions": contradictions,
        "ambiguous clauses": any(one.is_ambiguous for one in ambiguities(table)[0]),
    }


def _row(rng: Generator, number: int, odds: np.ndarray) -> Row:
    votes = tuple(
        _vote(principle.id, order, float(value + 0.5 * rng.normal()), judge, principle.digest)
        for judge in ("a", "b")
        for principle, value in zip(CLEAN.principles, odds, strict=True)
        for order in ORDERS
    )
    verdict = aggregate(votes, CLEAN.principles, Pooling())
    judgement = Judgement(
        first=0,
        second=1,
        mode="logprob",
        judge="j",
        votes=votes,
        outcome=verdict.outcome,
        probability=verdict.probability,
    )
    answers = tuple(Response(text=f"{which} {number}", model="m") for which in ("one", "other"))
    return Row(
        row=number,
        where=f"f:{number}",
        prompt=_prompt(number),
        chains=(),
        candidates=answers,
        judgements=(judgement,),
        pairs=(),
    )


def of_groups(rng: Generator) -> Alarms:
    """44 people of one mind vote on eight statements, in two groups by name alone."""
    votes = rng.choice([-1.0, 0.0, 1.0], (44, 8))
    seed = int(rng.integers(2**31))
    p = apart(votes, np.arange(44) % 2, seed).p
    return {"groups differ": p is not None and p < OF_REPORT / 2, "opinion groups": clusters(votes, seed).count > 0}


def of_a_policy(rng: Generator) -> Alarms:
    """On 100 prompts reward and judges prefer the policy as often; it refuses, and knows, what its base does."""
    prompts = [_prompt(number) for number in range(100)]
    wins, rewarded = rng.random((2, 100)) < 0.6
    texts = {}
    for name, share in REFUSED.items():
        texts[name] = [_answers(rng, share) for _ in range(2)]
    matches = {HELD_OUT: [Match(number, 0, 1, 0, None, float(win), 0) for number, win in enumerate(wins)]}
    rewards = [[(0.0,)] * 100, [(1.0 if is_better else -1.0,) for is_better in rewarded]]
    measured = MeasuredPolicies(
        ("base", "trained"),
        1,
        {name: prompts for name in REFUSED},
        texts,
        matches=matches,
        questions=[MultipleChoice("history", "Which?", ("a", "b", "c", "d"), 0)] * 100,
        exam=(rng.random((2, 100)) < 0.5).astype(float).tolist(),
        reward_name="rm",
        rewards=rewards,
    )
    told = " ".join(sentences(figures(measured)))
    seats = [FamilySeat(role, name, families(name)) for role, name in ((JUDGE, "qwen-7b"), (POLICY, "llama-7b"))]
    return {kind: words in told for kind, words in OF_POLICY.items()} | {"leaked family": bool(leaks(seats))}


REFUSED = {HELD_OUT: 0.0, RED_TEAM: 0.8, SAFE: 0.1}
OF_POLICY = {
    "reward hacking": "hacking",
    "over-refusal": "refuses harmless prompts more",
    "harm": "refuses harmful prompts less",
    "alignment tax": "alignment tax",
}


def _answers(rng: Generator, refused: float) -> list[tuple[str]]:
    said = "I'm sorry, but I can't help with that.", "It is done in a minute."
    return [(said[0] if is_refused else said[1],) for is_refused in rng.random(100) < refused]


PARTS: Mapping[str, Callable[[Generator], Alarms]] = {
    "agreement": of_people,
    "judge": of_a_judge,
    "constitution": of_principles,
    "groups": of_groups,
    "policy": of_a_policy,
}


def project(seed: int) -> dict[str, Alarms]:
    """All alarms of one clean project, by report."""
    rng = np.random.default_rng(seed)
    return {name: part(rng) for name, part in PARTS.items()}


def main() -> None:
    """Print how many clean projects raise each alarm, each report's, and any."""
    projects = int(sys.argv[1]) if len(sys.argv) > 1 else PROJECTS
    began = time.process_time()
    rung: Counter[str] = Counter()
    for seed in range(projects):
        reports = project(seed)
        for name, alarms in reports.items():
            rung.update(f"{name}: {kind}" for kind, rings in alarms.items() if rings)
            rung[f"**{name}, any**"] += any(alarms.values())
        rung["**all reports, any**"] += any(rings for alarms in reports.values() for rings in alarms.values())
    print(f"| alarm | of {projects} clean projects |\n|---|---:|")
    for name, part in PARTS.items():
        for kind in part(np.random.default_rng(0)):
            print(f"| {name}: {kind} | {rung[f'{name}: {kind}'] / projects:.1%} |")
        print(f"| **{name}, any** | {rung[f'**{name}, any**'] / projects:.1%} |")
    print(f"| **all reports, any** | {rung['**all reports, any**'] / projects:.1%} |")
    print(f"\n{time.process_time() - began:.0f} seconds of one core")


if __name__ == "__main__":
    main()
