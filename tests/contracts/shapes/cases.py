"""All shapes."""

from tests.contracts.shapes.pairs import PAIRS
from tests.contracts.shapes.prompts import PROMPTS
from tests.contracts.shapes.several import SEVERAL
from tests.contracts.shapes.single import SINGLE

CASES = [*PROMPTS, *PAIRS, *SEVERAL, *SINGLE]
