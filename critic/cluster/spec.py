"""Which Ray cluster a run is on, as text: what ``--on`` and the service's settings take. Needs no Ray."""

import re
from dataclasses import dataclass

from base.errors import InputError
from critic.engines import parse_options

SHARD_AT_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Cluster:
    """Which cluster, and what a run takes of it. ``most`` None: as many actors as there is room for.

    ``address`` is None for the cluster that ``RAY_ADDRESS`` names, or a new one of this machine alone.
    """

    address: str | None = None
    least: int = 1
    most: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    shard: int = 64


def parse_cluster(text: str) -> Cluster:
    """Parse ``ray[://HOST:PORT][?actors=N or MIN-MAX&cpus=C&gpus=G&shard=ROWS]``. Raises `InputError`."""
    where = f"--on {text}"
    head, question, query = text.partition("?")
    if head != "ray" and not re.fullmatch(r"ray://[^/\s]+:\d+", head):
        raise InputError("this is no cluster", where=where, fix="Write ray, or ray://HOST:PORT (10001 by default).")
    options = dict(parse_options(query, where)) if question else {}
    if unknown := set(options) - {"actors", "cpus", "gpus", "shard"}:
        raise InputError(f"there is no option {min(unknown)!r}", where=where, fix="Known: actors, cpus, gpus, shard.")
    actors = re.fullmatch(r"([1-9]\d*)(-([1-9]\d*)?)?", options.get("actors", "1-"))
    try:
        if actors is None:
            raise ValueError(f"actors={options['actors']} is neither a number nor a range, as 2-8 or 2-")
        least, ranged, most = int(actors[1]), actors[2], actors[3]
        not_said = None if ranged else least
        cluster = Cluster(
            address=head if head != "ray" else None,
            least=least,
            most=int(most) if most else not_said,
            cpus=float(options.get("cpus", 1)),
            gpus=float(options.get("gpus", 0)),
            shard=int(options.get("shard", 64)),
        )
    except ValueError as error:
        raise InputError(str(error), where=where, fix="As in ray?actors=2-8&cpus=4&gpus=1&shard=256.") from None
    if wrong := _wrong(cluster):
        raise InputError(wrong, where=where)
    return cluster


def _wrong(cluster: Cluster) -> str:
    """What no cluster can do; empty if nothing."""
    if not 1 <= cluster.shard <= SHARD_AT_MOST:
        return f"shard is a number of rows, from 1 to {SHARD_AT_MOST:,}"
    if not (0 <= cluster.cpus < 10_000 and 0 <= cluster.gpus < 10_000):
        return "cpus and gpus are 0 or more"
    if cluster.gpus > 1 and cluster.gpus % 1:
        return "an actor has a share of one GPU, or whole ones"
    if (cluster.most or cluster.least) < cluster.least:
        return "actors is a number, or a range that goes up"
    if cluster.most is None and not (cluster.cpus or cluster.gpus):
        return "actors that take no cpus and no gpus need a greatest number, as actors=1-8"
    return ""
