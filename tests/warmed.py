"""What processes of `tests.warm` begin with: it is imported once, by the server that they are forks of."""

import service.align.chain
import service.cli.opened
import service.jobs.work
import trainers.run
import transformers
import trl
