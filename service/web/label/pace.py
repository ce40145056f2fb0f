"""How much an annotator has done, and how fast."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from statistics import median
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import Request
from sqlalchemy import Connection, func, select

from service.labels.label_query import RETRACTED
from service.store.tables import feedback, now, retractions

ZONE = "cai_zone"  # the cookie in which a browser says where it is
LATEST = 50  # labels of which the median time is told
DAYS = 14
MOST_OF_DAYS = 20_000  # labels that are counted by day


@dataclass(frozen=True, slots=True)
class Pace:
    """Labels ``today``, and the ``median`` seconds of the latest; None where none were measured."""

    today: int
    median: int | None


def zone_of(request: Request) -> tzinfo:
    """The browser's time zone; UTC where it doesn't say."""
    try:
        return ZoneInfo(request.cookies.get(ZONE) or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones, or a name too long for a file
        return ZoneInfo("UTC")


def pace_of(connection: Connection, annotator: str, zone: tzinfo) -> Pace:
    """An annotator's pace. A label that was corrected counts once."""
    midnight = datetime.now(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    mine = (
        select(func.count()).select_from(feedback).join(retractions, retractions.c.seq == feedback.c.seq, isouter=True)
    )
    mine = mine.where(feedback.c.annotator == annotator, feedback.c.created_at >= midnight, ~RETRACTED)
    today = (connection.execute(mine)).scalar_one()
    latest = select(feedback.c.seconds).where(feedback.c.annotator == annotator, feedback.c.seconds.is_not(None))
    seconds = (connection.execute(latest.order_by(feedback.c.seq.desc()).limit(LATEST))).scalars().all()
    return Pace(today, round(median(seconds)) if seconds else None)


def days_of(connection: Connection, annotator: str, zone: tzinfo) -> Mapping[date, int]:
    """Labels by day, of the last `DAYS` days, from the earliest."""
    since = now() - timedelta(days=DAYS)
    query = select(feedback.c.created_at).join(retractions, retractions.c.seq == feedback.c.seq, isouter=True)
    query = query.where(feedback.c.annotator == annotator, feedback.c.created_at >= since, ~RETRACTED)
    times = (connection.execute(query.order_by(feedback.c.seq.desc()).limit(MOST_OF_DAYS))).scalars()
    counts = Counter(at.astimezone(zone).date() for at in times)
    last = datetime.now(zone).date()
    return {day: counts[day] for day in (last - timedelta(days=back) for back in range(DAYS - 1, -1, -1))}
