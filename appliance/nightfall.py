"""Nights that were planned and did not happen."""

from datetime import UTC, datetime, timedelta

from appliance.home import Home
from ops.nightfall import Missed, missed
from storage import Catalog

LOOK_BACK = timedelta(days=14)
"""How long ago a missed night is still told of."""


def missing(home: Home, catalog: Catalog, now: datetime | None = None) -> list[Missed]:
    """Every night of the last two weeks that a schedule of today planned and that did not happen, oldest first.

    Raises:
        Unavailable: the jobs cannot be reached.
    """
    until, nights = now or datetime.now(UTC), catalog.nights()
    with home.jobs() as jobs:
        planned = [one for one in jobs.schedules() if one.kind == "night"]
    found: list[Missed] = []
    for one in planned:
        made = one.settings.get("planned")
        since = max(until - LOOK_BACK, datetime.fromisoformat(made) if made else until - timedelta(days=1))
        found += missed(one.settings["task"], one.cron, one.zone, nights, since, until)
    return sorted(found, key=lambda each: each.due)
