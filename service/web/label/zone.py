"""Where a browser is, by which its days are counted."""

from datetime import tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import Request

ZONE = "cai_zone"  # the cookie in which a browser says where it is


def zone_of(request: Request) -> tzinfo:
    """The browser's time zone; UTC where it doesn't say."""
    try:
        return ZoneInfo(request.cookies.get(ZONE) or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones, or a name too long for a file
        return ZoneInfo("UTC")
