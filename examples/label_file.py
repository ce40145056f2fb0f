"""Label a file of answers in a folder, read the rows back, and count what was not made into a pair.

python examples/label_file.py FILE OUT [JUDGE]
"""

import sys
from collections import Counter

from cai_feedback import Quarantined, judge, rows

file, out, *given = sys.argv[1:]
outcome = judge("honesty@1.0.0", file, out, judges=given or "embedded", judge_principles=2, limit=3)
print(f"{outcome.calls} calls, {outcome.progress.rows} rows")
lost: Counter[str] = Counter()
for row in rows(out):
    if isinstance(row, Quarantined):
        lost[row.reason] += 1
        continue
    lost.update(drop.reason for drop in row.drops)
    for pair in row.pairs:
        print(f"{pair.probability:.2f} {pair.chosen.text[:60]!r} over {pair.rejected.text[:60]!r}")
print("not made into pairs:", dict(lost))
