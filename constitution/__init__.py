"""What a model should follow: versioned constitution files, their identity, and which principles are read when."""

from base.errors import InputError
from constitution.changes import Diff, diff
from constitution.load import load
from constitution.sampling import sample
from constitution.schema import Constitution, Principle

__all__ = ["Constitution", "Diff", "InputError", "Principle", "diff", "load", "sample"]
