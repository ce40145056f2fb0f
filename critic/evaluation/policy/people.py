"""What people said of policies' answers: labels of a file, matched to the answers by their texts."""

from collections.abc import Iterable, Iterator

from critic.evaluation.policy.matches import Match
from critic.evaluation.policy.measured import HELD_OUT, MeasuredPolicies
from critic.records import Line


def labelled(lines: Iterable[Line], measured: MeasuredPolicies) -> Iterator[Match]:
    """Yield a match for each row whose two answers, the better one first, are the base's and a trained policy's."""
    places = {prompt.key: place for place, prompt in enumerate(measured.prompts[HELD_OUT])}
    texts = measured.texts[HELD_OUT]
    for line in lines:
        prompt = places.get(line.item.prompt.key)
        if prompt is None:
            continue
        better, worse = (response.text.strip() for response in line.item.responses)
        for place in range(1, len(measured.names)):
            for sample, (before, after) in enumerate(zip(texts[0][prompt], texts[place][prompt], strict=True)):
                if before == after or {before, after} != {better, worse}:
                    continue
                longer = len(after or "") - len(before or "")
                yield Match(prompt, 0, place, sample, None, float(after == better), longer)
