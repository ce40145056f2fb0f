"""Whether the files of a model are there, before anything of it is loaded. Nothing here needs PyTorch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from base.errors import InputError
from base.extras import require
from base.hub_client import HubSilent, patient

CONFIG = "config.json"


def expect_here(path_or_id: str, options: Mapping[str, str]) -> None:
    """Raise `InputError` for a folder without a model, and for what is neither a folder nor the name of a model.

    ``options`` are an engine's, and play no part.
    """
    # Late, because it takes a quarter of a second to import.
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented, and not listed there

    path = Path(path_or_id).expanduser()
    if path.is_dir():
        if not (path / CONFIG).is_file():
            raise InputError(
                f"this folder holds no {CONFIG}",
                where=path_or_id,
                fix="the folder of a finished model is expected, with its tokenizer and weights",
            )
        return
    if path.exists():
        raise InputError("this is a file", where=path_or_id, fix="name the folder that the model is in")
    with told_absent(path_or_id):
        validate_repo_id(path_or_id)


def expect_to_load(path_or_id: str, options: Mapping[str, str]) -> None:
    """Raise `InputError` where models can't be loaded here at all, or not this one; the hub is asked about an id."""
    require("local", path_or_id)
    expect_here(path_or_id, options)
    if not Path(path_or_id).expanduser().is_dir():
        from huggingface_hub import hf_hub_download  # takes a quarter of a second

        with told_absent(path_or_id), patient():
            hf_hub_download(path_or_id, CONFIG)


@contextmanager
def told_absent(path_or_id: str) -> Iterator[None]:
    """Raise `InputError` where the hub's client finds no such model, for whatever reason."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        yield
    except HFValidationError as error:
        raise InputError("there is no such folder, and it is no model id either", where=path_or_id) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, HubSilent, OSError) as error:
        raise InputError(
            "there is no such folder, and no model of this id could be fetched or found in the Hugging Face cache",
            where=path_or_id,
            fix="check the spelling; `cai models` lists what is on this machine; gated models need `hf auth login`",
        ) from error
