"""What a training run names is looked for before its first slow step, which a missing one would make for nothing."""

from pathlib import Path

from critic.certificates.certificate import read_certificate
from critic.engines import Spec, expect
from critic.files.sources import open_source
from trainers.config import TrainConfig
from trainers.folder.identity import expect_folder


def expect_named(config: TrainConfig) -> None:
    """Raise `InputError` where the folder can't be had, or the model, the certificate or a file of data isn't there."""
    expect_folder(Path(config.output_dir or ""))
    for source in (*config.data, *config.eval_data):
        path = source if isinstance(source, str) else source.get("path")
        if isinstance(path, str):  # that something else is there is told where it is read
            _expect_source(path)
    if config.model != "embedded":  # which is fetched where it isn't there
        expect(Spec("hf", config.model, ()))
    if config.certificate is not None:
        read_certificate(Path(config.certificate).expanduser())


def _expect_source(source: str) -> None:
    """Raise `InputError`, as reading would, for a file that isn't there; what may be elsewhere is read when it is."""
    is_elsewhere = source == "-" or "://" in source or not Path(source).suffix
    if not is_elsewhere and not Path(source).expanduser().exists():
        open_source(source)
