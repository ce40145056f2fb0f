"""Files of data sets on the Hugging Face hub, by their addresses: ``hf://OWNER/NAME[@REVISION]/FILE``.

A file is fetched whole and kept in the hub library's cache, so that half of one is never read. What other addresses of
the hub mean (``hf://datasets/OWNER/NAME/FILE``) is left to fsspec.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from base.errors import InputError
from base.hub_client import HubSilent, patient
from critic.files.remote import brief

_ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/:]+))?(?P<split>:[\w.]+)?(?:/(?P<file>.+))?")
_OTHERS = ("datasets/", "models/", "spaces/", "buckets/")
SIGN_IN = "Set HF_TOKEN, or sign in with `hf auth login`."
_AGAIN = "Nothing is lost: the same command tries again."
_LATER = f"Look whether this machine reaches it (HF_ENDPOINT, a proxy), or wait a while. {_AGAIN}"
_ANSWERS = {
    401: ("the hub asks who you are (401): it is private, or isn't there", SIGN_IN),
    403: ("the hub refuses it to you (403)", "Ask its owner, or use another token."),
    404: ("the hub has no such data set, model or file (404)", "Look at its name."),
    429: ("the hub is asked too often (429)", f"Wait some minutes; a token has a higher limit. {SIGN_IN} {_AGAIN}"),
}


class HubAddress(NamedTuple):
    """A data set of the hub, and one of its files, or None for what its card offers; ``split`` begins with a colon."""

    repo: str
    revision: str | None
    split: str
    file: str | None


def hub_address(source: str) -> HubAddress | None:
    """Return what an address of the hub names; None for any other source. Raises `InputError`."""
    if not source.startswith("hf://") or source.removeprefix("hf://").startswith(_OTHERS):
        return None
    match = _ADDRESS.fullmatch(source)
    if match is None:
        raise InputError(
            "no data set of the hub", where=source, fix="Expected hf://OWNER/NAME, or hf://OWNER/NAME/FILE."
        )
    return HubAddress(match["repo"], match["revision"], match["split"] or "", match["file"])


def fetched(address: HubAddress) -> Path:
    """Return the file of an address, here. Raises `InputError`; what was fetched of it is kept for the next try."""
    from huggingface_hub import hf_hub_download

    try:
        with patient():
            path = hf_hub_download(address.repo, address.file or "", repo_type="dataset", revision=address.revision)
    except Exception as error:  # the boundary: the library raises its own errors, and those of two others
        raise hub_error(error, f"hf://{address.repo}/{address.file}") from None
    return Path(path)


def _behind(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that it came of: the library hides some behind errors of its own."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    """Return the status that the hub answered with."""
    statuses = [getattr(getattr(one, "response", None), "status_code", None) for one in _behind(error)]
    return next((status for status in statuses if isinstance(status, int)), None)


def _silence(error: BaseException) -> str | None:
    """Return how the hub kept silent, where it did."""
    for one in _behind(error):
        if isinstance(one, HubSilent):
            return str(one)
        if type(one).__name__.endswith("Timeout"):
            return "no answer in time"
        if isinstance(one, ConnectionError) or type(one).__name__ == "ConnectError":
            return f"no connection: {brief(one)}"
    return None


def hub_error(error: Exception, where: str) -> InputError:
    """Return what the hub answered, as an error that says what to do."""
    if (silence := _silence(error)) is not None:
        return InputError(f"the hub can't be used: {silence}", where=where, fix=_LATER)
    status = _status(error)
    if status in _ANSWERS:
        problem, fix = _ANSWERS[status]
        return InputError(problem, where=where, fix=fix)
    if status is None and type(error).__name__ == "DatasetNotFoundError":  # of `datasets`, which hides the status
        return InputError(
            "the hub has no such data set, or doesn't show it to you (404 or 401)",
            where=where,
            fix=f"Look at its name. {SIGN_IN}",
        )
    if type(error).__name__ == "HFValidationError":
        return InputError(f"the hub has no such names: {brief(error)[:300]}", where=where, fix="Expected OWNER/NAME.")
    if type(error).__name__ == "EntryNotFoundError":
        return InputError("the hub has no such data set, model or file (404)", where=where, fix="Look at its name.")
    if status is not None and status >= 500:
        return InputError(f"the hub fails ({status})", where=where, fix=_AGAIN)
    return InputError(f"the hub can't be used: {type(error).__name__}: {brief(error)[:300]}", where=where, fix=_AGAIN)
