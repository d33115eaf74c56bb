"""What the daemon does by itself is planned by commands, listed, and planned no longer."""

import pytest

from appliance.planned import zone
from tests.typed import Type


def planned(appliance: Type) -> dict[str, tuple[str, str]]:
    said = appliance("jobs", "planned", "--json")
    assert said.code == 0
    return {one["id"]: (one["cron"], one["kind"]) for one in said.json}


def test_a_daily_backup_is_tried_an_hour_later_also_past_midnight(appliance: Type) -> None:
    assert appliance("backup", "/mnt/disk", "--daily", "23:30").code == 0
    assert planned(appliance) == {"backup": ("30 23 * * *", "backup"), "restore-check": ("30 0 * * *", "restore-check")}
    said = appliance("backup", "/mnt/disk", "--daily", "4:05")
    assert said.code == 0
    assert said.out.strip() == f"Every day at 4:05 ({zone()}), the daemon makes a backup in /mnt/disk: appliance serve"
    assert planned(appliance)["backup"] == ("5 4 * * *", "backup"), "in place of the one before"


def test_rules_and_nights_are_planned_and_planned_no_longer(appliance: Type) -> None:
    assert appliance("keeping", "run", "--daily", "05:00").code == 0
    assert appliance("nightly", "run", "--task", "pick_place", "--daily", "02:30").code == 0
    assert planned(appliance) == {"keep": ("0 5 * * *", "keep"), "night-pick_place": ("30 2 * * *", "night")}
    assert appliance("jobs", "unplan", "keep").code == 0
    assert planned(appliance) == {"night-pick_place": ("30 2 * * *", "night")}
    said = appliance("jobs", "unplan", "keep")
    assert said.code == 1
    assert "nothing is planned as 'keep'; `appliance jobs planned` shows what is" in said.err


@pytest.mark.parametrize("at", ["24:00", "2", "noon", "02:60"])
def test_what_is_no_time_of_day_is_refused_with_one(appliance: Type, at: str) -> None:
    said = appliance("backup", "/mnt/disk", "--daily", at)
    assert said.code == 1
    assert f"{at!r} is no time of day; write it like 02:30" in said.err
