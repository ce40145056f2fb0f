"""The gate before training on rewards: what gives them needs a certificate, where the config asks for one."""

from collections.abc import Mapping
from pathlib import Path

from base.errors import InputError
from critic.certificates.certificate import FILE, Certificate, read_certificate
from critic.certificates.gate import RowsOrigin, require
from trainers.gate import bounds_of
from trainers.online.config import OnlineConfig


def certified_reward(config: OnlineConfig, reward: Mapping[str, str]) -> tuple[Certificate, ...]:
    """Return the certificate of the judge or reward model that gives an online method's rewards; see `certified`.

    ``reward`` is its identity, as plain JSON. One that reads no constitution is not held to that of the certificate.
    """
    beside = Path(config.reward.removeprefix("rm:")).expanduser() / FILE
    if config.require_certificate is False and config.certificate is None and not beside.is_file():
        return ()
    certificate = read_certificate(Path(config.certificate).expanduser() if config.certificate is not None else beside)
    judge = certificate.judge
    if (judge.name, judge.revision) != (reward["name"], reward["revision"]):
        raise InputError(
            f"the certificate is of another judge: it is of {judge.name} ({judge.revision}), and rewards are given by "
            f"{reward['name']} ({reward['revision']})",
            where=config.reward,
            fix="Certify what gives the rewards: `cai certify`.",
        )
    constitution = reward.get("constitution")
    by = RowsOrigin(
        source="ai",
        judge=judge.name,
        mode="rm" if constitution is None else "score",
        constitution_hash=constitution,
        templates=None,
    )
    require(certificate, bounds_of(config), [by], config.reward)
    return (certificate,)
