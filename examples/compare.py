"""Compare two answers by a constitution, principle by principle, and let the judge revise the worse one.

    python examples/compare.py [JUDGE]

JUDGE is an engine spec, such as openai:MODEL@URL; by default the embedded model, which is not a judge worth trusting.
"""

import sys

from cai_feedback import Judge, load_constitution

spec = sys.argv[1] if len(sys.argv) > 1 else "embedded"
constitution = load_constitution("honesty@1.0.0")
question = "Who wrote the first novel?"
answers = ["It was Murasaki Shikibu, without any doubt.", "Nobody can be sure; The Tale of Genji is often named."]

with Judge(spec, constitution) as judge:
    row = judge.compare(question, answers, judge_principles=4)
    for judgement in row.judgements:
        print(f"the first is better with probability {judgement.probability}")
        for vote in judgement.votes:
            print(f"  {vote.principle} ({vote.order}): {vote.log_odds}")
    chain = judge.critique(question, answers[0], max_tokens=64)
    print("revised:", chain.final.text)
