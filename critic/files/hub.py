"""Files of data sets on the Hugging Face hub, by their addresses: ``hf://OWNER/NAME[@REVISION]/FILE``.

A file is fetched whole and kept in the hub library's cache, so that half of one is never read. What other addresses of
the hub mean (``hf://datasets/OWNER/NAME/FILE``) is left to fsspec.
"""

import re
from pathlib import Path
from typing import NamedTuple

from base.errors import InputError

_ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/:]+))?(?P<split>:[\w.]+)?(?:/(?P<file>.+))?")
_OTHERS = ("datasets/", "models/", "spaces/", "buckets/")
SIGN_IN = "Set HF_TOKEN, or sign in with `hf auth login`."


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
        path = hf_hub_download(address.repo, address.file or "", repo_type="dataset", revision=address.revision)
    except Exception as error:  # the boundary: the library raises its own errors, and those of two others
        raise hub_error(error, f"hf://{address.repo}/{address.file}") from None
    return Path(path)


def _status(error: BaseException | None) -> int | None:
    """Return the status that the hub answered with: the library hides some behind errors of its own."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        error = error.__cause__ or error.__context__
    return None


def hub_error(error: Exception, where: str) -> InputError:
    """Return what the hub answered, as an error that says what to do."""
    status = _status(error)
    name = type(error).__name__
    if status == 401:
        return InputError("the hub asks who you are (401): it is private, or isn't there", where=where, fix=SIGN_IN)
    if status == 403:
        return InputError("the hub refuses it to you (403)", where=where, fix="Ask its owner, or use another token.")
    if status is None and name == "DatasetNotFoundError":  # of the library `datasets`, which hides the status
        return InputError(
            "the hub has no such data set, or doesn't show it to you (404 or 401)",
            where=where,
            fix=f"Look at its name. {SIGN_IN}",
        )
    if status == 404 or name == "EntryNotFoundError":
        return InputError("the hub has no such data set, model or file (404)", where=where, fix="Look at its name.")
    lines = str(error).splitlines() or [name]
    return InputError(
        f"the hub can't be used: {name}: {lines[0][:300]}",
        where=where,
        fix="Nothing is lost: the same command tries again.",
    )
