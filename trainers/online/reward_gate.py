"""The gate before training on rewards: what gives them needs a certificate, where the config asks for one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from base.errors import InputError
from critic.certificates.certificate import FILE, Certificate, read_certificate
from critic.certificates.gate import RowsOrigin, require
from trainers.gate import bounds_of
from trainers.online.config import OnlineConfig, reward_folder


def certified_rewards(config: OnlineConfig, taught_by: Sequence[Mapping[str, str]]) -> tuple[Certificate, ...]:
    """Return the certificates of the judges or reward models that give an online method's rewards; see `certified`.

    ``taught_by`` are their identities, as plain JSON. ``certificate`` is of the first one; those of reward models are
    found in their folders. One that reads no constitution is not held to that of the certificate.
    """
    certificates = []
    for number, (spec, reward) in enumerate(zip(config.reward_specs, taught_by, strict=True)):
        folder = reward_folder(spec)
        file = Path(folder or spec).expanduser() / FILE
        if number == 0 and config.certificate is not None:
            file = Path(config.certificate).expanduser()
        elif config.require_certificate is False and not (folder and file.is_file()):
            continue
        certificates.append(_certified(config, spec, reward, read_certificate(file)))
    return tuple(certificates)


def _certified(config: OnlineConfig, spec: str, reward: Mapping[str, str], certificate: Certificate) -> Certificate:
    judge = certificate.judge
    if (judge.name, judge.revision) != (reward["name"], reward["revision"]):
        raise InputError(
            f"the certificate is of another judge: it is of {judge.name} ({judge.revision}), and rewards are given by "
            f"{reward['name']} ({reward['revision']})",
            where=spec,
            fix="Certify what gives the rewards: `cai certify`.",
        )
    constitution = reward.get("constitution")
    mode = "rm" if constitution is None else "score"
    if "mode" in reward:  # of comparisons: its name, and its options
        mode = reward["mode"].split()[0]
    by = RowsOrigin(source="ai", judge=judge.name, mode=mode, constitution_hash=constitution, templates=None)
    require(certificate, bounds_of(config), [by], spec)
    return certificate
