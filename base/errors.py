"""Errors that a person reads. Each says where, what was expected, and what to do; none needs a traceback."""


class InputError(ValueError):
    """Something a person gave can't be used: a file, a key, an option, a row.

    Parameters
    ----------
    problem: what is wrong, in one sentence.
    where: the place, as ``FILE:LINE`` or an option's name; empty where there is none.
    fix: what to do next; empty where the problem says it.
    """

    def __init__(self, problem: str, *, where: str = "", fix: str = "") -> None:
        self.problem, self.where, self.fix = problem, where, fix
        super().__init__(": ".join(part for part in (where, problem) if part) + (f"\n  {fix}" if fix else ""))
