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


def test_the_zone_is_the_one_that_programs_are_told_else_the_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, whose clock's file is UTC's."""
    for told in ("Europe/Berlin", ":Europe/Berlin"):
        monkeypatch.setenv("TZ", told)
        assert zone() == "Europe/Berlin"
    monkeypatch.delenv("TZ")
    own = zone()
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    assert zone() == own, "cron needs a name"


@pytest.mark.parametrize("at", ["24:00", "2", "noon", "02:60"])
def test_what_is_no_time_of_day_is_refused_with_one(appliance: Type, at: str) -> None:
    said = appliance("backup", "/mnt/disk", "--daily", at)
    assert said.code == 1
    assert f"{at!r} is no time of day; write it like 02:30" in said.err
