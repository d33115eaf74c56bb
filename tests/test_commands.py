"""Typing at what was collected: finding it, editing it, and asking what it touched. Nothing recorded is rewritten."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from appliance.home import Home
from storage import Calibration, Catalog, EpisodeRow, Outcome, StreamRow, Task, Verdict
from tests.said import policy, streams
from tests.takes import Take
from tests.typed import Type

MORNING = datetime(2026, 5, 1, 9, tzinfo=UTC)


@pytest.fixture
def catalog(home: Path) -> Iterator[Catalog]:
    """The catalog of the folder that commands use; it knows two tasks."""
    with Home(home, str(home / "catalog.db")).open() as opened:
        opened.add(Task(name="stack", instruction="put the green cube on the purple pad"))
        yield opened


@pytest.fixture
def rows(home: Path, catalog: Catalog) -> list[EpisodeRow]:
    """Three takes, an hour apart: by ada, by bob, and by a policy that failed; the second is badly graded."""
    catalog.add(policy("ccol-1", task="pick_place"))
    learned = catalog.policy("ccol-1").id
    about: list[dict[str, Any]] = [
        {"operator": "ada", "gap": 0.034, "lost": 0.0, "skew": 0.0121, "late": 0.001},
        {"operator": "bob", "gap": 0.31, "lost": 2.5, "skew": 0.02, "late": 0.004, "station": "left"},
        {"operator": "ada", "policy": learned, "agent": "policy"},
    ]
    made = []
    for hour, more in enumerate(about):
        sealed = Take().to("red_cube").record(home)
        usual: dict[str, Any] = {"id": sealed.id, "task": "pick_place", "agent": "scripted", "digest": sealed.digest}
        usual |= {"path": f"episodes/{sealed.path.name}", "seconds": sealed.seconds}
        made.append(EpisodeRow(started=MORNING + timedelta(hours=hour), **(usual | more)))
    catalog.add(*made)
    catalog.add(*(Verdict(episode=row.id, by="rules", outcome=Outcome.SUCCESS) for row in made[:2]))
    catalog.add(Verdict(episode=made[2].id, by="rules", outcome=Outcome.FAILURE, failure="DROP"))
    return made


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


@pytest.mark.parametrize(
    ("words", "which"),
    [
        ([], [0, 1, 2]),
        (["--operator", "ada"], [0, 2]),
        (["--outcome", "failure"], [2]),
        (["--station", "left"], [1]),
        (["--policy", "ccol-1"], [2]),
        (["--since", "2026-05-01T09:30:00"], [1, 2]),
        (["--until", "2026-05-01T10:00:00"], [0]),
        (["--operator", "ada", "--outcome", "success"], [0]),
        (["--last", "2"], [1, 2]),
        (["--task", "stack"], []),
        (["--retired"], []),
        (["--quarantined"], []),
        (["--no-quarantined"], [0, 1, 2]),
    ],
)
def test_episodes_are_found_by_what_is_known_of_them(
    appliance: Type, rows: list[EpisodeRow], words: list[str], which: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oldest first, whatever is asked. A time without a zone is the machine's own."""
    monkeypatch.setenv("TZ", "UTC")
    found = appliance("episodes", "list", "--json", *words).json
    assert ids(found) == [str(rows[place].id) for place in which]


def test_a_device_finds_its_episodes_by_name_and_by_serial_number(
    appliance: Type, catalog: Catalog, rows: list[EpisodeRow]
) -> None:
    catalog.add(*streams(rows[1], front=None))
    for name in ("front", "SN-front"):
        assert ids(appliance("episodes", "list", "--device", name, "--json").json) == [str(rows[1].id)]


def test_grades_are_listed_in_units_a_person_reads_and_in_seconds_for_programs(
    appliance: Type, rows: list[EpisodeRow]
) -> None:
    table = appliance("episodes", "list").out.splitlines()
    for heading in ("gap ms", "lost %", "skew ms", "late ms"):
        assert heading in table[0]
    assert {"34.0", "0.0", "12.1", "1.0"} <= set(table[1].split())
    assert {"310.0", "2.5", "20.0", "4.0"} <= set(table[2].split())
    first, _, last = appliance("episodes", "list", "--json").json
    assert (first["gap"], first["lost"], first["skew"], first["late"]) == (0.034, 0.0, 0.0121, 0.001)
    assert last["gap"] is None


def test_a_table_shows_the_newest_and_says_how_many_more_there_are(
    appliance: Type, catalog: Catalog, rows: list[EpisodeRow]
) -> None:
    many = [
        EpisodeRow(
            id=uuid4(),
            task="pick_place",
            agent="scripted",
            path=f"episodes/{number}.zarr",
            digest="0",
            seconds=1.0,
            started=MORNING + timedelta(days=1, minutes=number),
        )
        for number in range(52)
    ]
    catalog.add(*many)
    said = appliance("episodes", "list")
    assert len(said.out.splitlines()) == 51
    assert "there are 5 more" in said.err
    assert str(many[-1].id)[:8] in said.out.splitlines()[-1]
    assert len(appliance("episodes", "list", "--json").json) == 55
    assert len(appliance("episodes", "list", "--last", "60").out.splitlines()) == 56


def test_retiring_hides_and_restoring_brings_back_with_who_and_why(appliance: Type, rows: list[EpisodeRow]) -> None:
    first = str(rows[0].id)
    assert appliance("episodes", "retire", first[:8], "--why", "a hand in view", "--operator", "ada").code == 0
    assert first not in ids(appliance("episodes", "list", "--json").json)
    assert ids(appliance("episodes", "list", "--retired", "--json").json) == [first]
    assert appliance("tasks", "list", "--json").json[0]["episodes"] == 2
    assert appliance("episodes", "restore", first, "--why", "it is a glove", "--operator", "bob").code == 0
    assert first in ids(appliance("episodes", "list", "--json").json)
    edits = appliance("episodes", "show", first, "--json").json["edits"]
    assert [(edit["kind"], edit["by"], edit["why"]) for edit in edits] == [
        ("retire", "ada", "a hand in view"),
        ("restore", "bob", "it is a glove"),
    ]
    assert edits[0]["made"] < edits[1]["made"]


def test_several_are_edited_together_or_not_at_all(appliance: Type, rows: list[EpisodeRow]) -> None:
    assert appliance("episodes", "retire", str(rows[1].id), "--why", "dark").code == 0
    said = appliance("episodes", "retire", str(rows[0].id), str(rows[1].id), "--why", "dark")
    assert said.code == 1
    assert "it is retired already" in said.err
    assert ids(appliance("episodes", "list", "--retired", "--json").json) == [str(rows[1].id)]
    said = appliance("episodes", "retire", str(rows[0].id), "0000", "--why", "dark")
    assert said.code == 1
    assert ids(appliance("episodes", "list", "--retired", "--json").json) == [str(rows[1].id)]


def test_quarantine_shows_what_is_not_learned_from(appliance: Type, rows: list[EpisodeRow]) -> None:
    bad = str(rows[1].id)
    assert appliance("episodes", "quarantine", bad, "--why", "frames are missing").code == 0
    listed = appliance("episodes", "list", "--json").json
    assert [row["standing"] for row in listed] == ["", "quarantined", ""]
    assert "quarantined" in appliance("episodes", "list").out
    assert ids(appliance("episodes", "list", "--quarantined", "--json").json) == [bad]
    assert bad not in ids(appliance("episodes", "list", "--no-quarantined", "--json").json)
    assert appliance("episodes", "release", bad, "--why", "looked at it").code == 0
    assert appliance("episodes", "release", bad, "--why", "again").code == 1


def test_trimming_marks_what_is_used_and_leaves_the_recording_whole(
    appliance: Type, home: Path, rows: list[EpisodeRow]
) -> None:
    row = rows[0]
    before = (home / row.path / "manifest.json").read_bytes()
    assert appliance("episodes", "trim", str(row.id), "--start", "0.2", "--end", "0.8", "--why", "idle").code == 0
    shown = appliance("episodes", "show", str(row.id), "--json").json
    assert (shown["trim"], shown["standing"]) == ([0.2, 0.8], "trimmed")
    assert shown["edits"][0]["value"] == {"start": 0.2, "end": 0.8}
    assert (home / row.path / "manifest.json").read_bytes() == before
    too_far = appliance("episodes", "trim", str(row.id), "--start", "0.2", "--end", "800")
    assert too_far.code == 1
    assert "is not within its" in too_far.err
    assert appliance("episodes", "trim", str(row.id), "--undo").code == 0
    assert appliance("episodes", "show", str(row.id), "--json").json["trim"] is None
    assert appliance("verify", "--json").json == []


def test_relabelling_and_merging_change_what_counts_and_can_be_undone(appliance: Type, rows: list[EpisodeRow]) -> None:
    def counts() -> dict[str, int]:
        return {task["id"]: task["episodes"] for task in appliance("tasks", "list", "--json").json}

    first = str(rows[0].id)
    assert appliance("episodes", "relabel", first, "--task", "stack", "--why", "wrong button").code == 0
    assert counts() == {"pick_place": 2, "stack": 1}
    shown = appliance("episodes", "show", first, "--json").json
    assert (shown["task"], shown["recorded_as"]) == ("stack", "pick_place")
    assert appliance("tasks", "merge", "stack", "--into", "pick_place", "--why", "the same thing").code == 0
    assert counts() == {"pick_place": 3, "stack": 0}
    assert appliance("tasks", "list", "--json").json[1]["merged_into"] == "pick_place"
    said = appliance("tasks", "merge", "stack", "--into", "pick_place")
    assert (said.code, "--into needs --why" in said.err) == (2, True)
    assert appliance("tasks", "merge", "stack", "--undo").code == 0
    assert counts() == {"pick_place": 2, "stack": 1}
    assert appliance("tasks", "list", "--json").json[1]["merged_into"] is None


def test_showing_an_episode_tells_its_streams_its_grade_and_its_story(
    appliance: Type, catalog: Catalog, rows: list[EpisodeRow], tmp_path: Path
) -> None:
    lens = tmp_path / "front.json"
    lens.write_text('{"fx": 612.4}')
    assert appliance("calibrations", "add", str(lens), "--station", "left", "--device", "front").code == 0
    catalog.add(StreamRow(episode=rows[1].id, name="front", rows=9, hz=29.97, camera=True, gap=0.31, calibration=1))
    shown = appliance("episodes", "show", str(rows[1].id), "--json").json
    assert shown["streams"]["front"] == {
        "rows": 9,
        "hz": 29.97,
        "camera": True,
        "gap": 0.31,
        "lost": None,
        "calibration": 1,
        "serial": "",
    }
    assert shown["calibrations"] == {"front": 1}
    assert (shown["lost"], shown["gap"]) == (2.5, 0.31)
    appliance("episodes", "quarantine", str(rows[1].id), "--why", "frames are missing", "--operator", "ada")
    said = appliance("episodes", "show", str(rows[1].id)).out
    assert "front: rows 9, hz 29.97, camera True, gap 0.31" in said
    assert "by ada, kind quarantine, why frames are missing" in said


def test_a_bad_calibration_is_followed_to_the_policies_that_learned_from_it(
    appliance: Type, catalog: Catalog, rows: list[EpisodeRow]
) -> None:
    lens = catalog.calibrate(Calibration(station="left", device="front", values={"fx": 612.4}, by="ada"))
    catalog.add(*streams(rows[1], front=lens.id))
    frozen = catalog.snapshot("pick_place", catalog.among([rows[1].id]).values())
    parent = policy("ccol-2", task="pick_place", snapshot=frozen.id)
    catalog.add(parent, policy("ccol-3", minute=1, task="pick_place", parent=parent.id))
    appliance("episodes", "retire", str(rows[1].id), "--why", "blurred")
    for named in (["--calibration", "1"], ["--device", "front"], ["--episode", str(rows[1].id)], ["--station", "left"]):
        touched = appliance("recall", *named, "--json").json
        assert ids(touched["episodes"]) == [str(rows[1].id)]
        assert ids(touched["snapshots"]) == [frozen.id]
        assert [one["name"] for one in touched["policies"]] == ["ccol-2", "ccol-3"]
    table = appliance("recall", "--operator", "bob").out
    assert "2 policies:" in table
    assert "ccol-3" in table
    assert appliance("recall", "--calibration", "9").code == 1
    assert appliance("recall").code == 2


def test_a_newer_calibration_takes_over_and_the_older_stays_on_record(appliance: Type, tmp_path: Path) -> None:
    lens = tmp_path / "front.json"
    for focal in (612.4, 613.0):
        lens.write_text(json.dumps({"fx": focal}))
        words = ("--station", "left", "--device", "front", "--note", "chessboard", "--operator", "ada")
        assert appliance("calibrations", "add", str(lens), *words).code == 0
    first, second = appliance("calibrations", "list", "--json").json
    assert (first["in_force"], second["in_force"]) == (False, True)
    assert (second["values"], second["by"], second["note"]) == ({"fx": 613.0}, "ada", "chessboard")
    assert appliance("calibrations", "list", "--station", "right", "--json").json == []
    lens.write_text("[1, 2]")
    assert "has to be a JSON object" in appliance("calibrations", "add", str(lens), *words).err
    assert appliance("calibrations", "add", str(tmp_path / "none.json"), *words).code == 2


def test_a_policy_is_promoted_and_taken_back_and_both_stay_on_record(appliance: Type, catalog: Catalog) -> None:
    rows = [policy(f"ccol-{number}", minute=number, task="pick_place") for number in (2, 3)]
    catalog.add(*rows)
    told = ("--why", "better by 30 points", "--operator", "ada")
    assert "ccol-2 is the champion of pick_place." in appliance("policies", "promote", "ccol-2", *told).out
    assert "instead of ccol-2" in appliance("policies", "promote", "ccol-3", *told).out
    assert "ccol-3 is the champion of 'pick_place' already" in appliance("policies", "promote", "ccol-3", *told).err
    reigning = {one["name"]: one["champion"] for one in appliance("policies", "list", "--json").json}
    assert reigning == {"ccol-2": False, "ccol-3": True}
    back = appliance("policies", "rollback", "--task", "pick_place", "--why", "it drops things", "--operator", "bob")
    assert "ccol-2 is the champion of pick_place again, instead of ccol-3." in back.out
    again = appliance("policies", "rollback", "--task", "pick_place", "--why", "once more")
    assert "there is none to go back to" in again.err
    found = appliance("policies", "history", "--task", "pick_place", "--json").json
    assert [(one["policy"], one["kind"], one["by"]) for one in found] == [
        ("ccol-2", "promoted", "ada"),
        ("ccol-3", "promoted", "ada"),
        ("ccol-2", "rolled back", "bob"),
    ]
    assert found[-1]["why"] == "it drops things"


def test_a_task_may_have_ways_to_fail_of_its_own(appliance: Type, rows: list[EpisodeRow]) -> None:
    lid = ("tasks", "failures", "pick_place", "--add", "PREC.lid", "--name", "lid ajar")
    assert "needs --name and --meaning" in appliance(*lid).err
    listed = appliance(*lid, "--meaning", "it is on, and not closed", "--json").json
    assert {one["code"]: one["of"] for one in listed}["PREC.lid"] == "pick_place/1.0"
    assert "is no case of a common code" in appliance(*lid[:4], "LID", *lid[5:], "--meaning", "it is open").err
    judged = appliance("episodes", "judge", str(rows[0].id), "failure", "--failure", "PREC.lid", "--operator", "ada")
    assert judged.code == 0


def test_work_orders_are_asked_for_counted_and_closed(
    appliance: Type, catalog: Catalog, rows: list[EpisodeRow]
) -> None:
    words = ("--task", "pick_place", "--wanted", "20", "--why", "it drops at the edge", "--failure", "DROP")
    assert appliance("orders", "add", *words, "--condition", '{"seed": 7}').code == 0
    (order,) = appliance("orders", "list", "--json").json
    assert (order["task"], order["done"], order["wanted"], order["failure"]) == ("pick_place", 0, 20, "DROP")
    assert order["condition"] == {"seed": 7}
    assert "it drops at the edge" in appliance("orders", "list").out
    assert appliance("orders", "add", "--task", "pick", "--wanted", "1", "--why", "x").code == 1
    assert appliance("orders", "close", str(order["id"])).code == 0
    assert appliance("orders", "list", "--json").json == []
    (closed,) = appliance("orders", "list", "--all", "--json").json
    assert closed["closed"] is not None
    assert appliance("orders", "close", "99").code == 1


def test_an_episode_is_written_for_rerun_from_either_command(
    appliance: Type, rows: list[EpisodeRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, words in enumerate((["view"], ["episodes", "view"])):
        file = tmp_path / f"{number}.rrd"
        assert appliance(*words, str(rows[0].id)[:8], "--save", str(file)).code == 0
        assert file.read_bytes()[:3] == b"RRF"
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    said = appliance("view", str(rows[0].id))
    assert said.code == 1
    assert "--save FILE.rrd writes a file" in said.err


def test_a_dataset_goes_out_and_comes_in_once(appliance: Type, rows: list[EpisodeRow], tmp_path: Path) -> None:
    """What is retired or in quarantine stays here."""
    appliance("episodes", "retire", str(rows[0].id), "--why", "dark")
    folder = tmp_path / "table"
    wrote = appliance("export", "lerobot", str(folder), "--task", "pick_place", "--fps", "50", "--json").json
    assert (wrote["episodes"], wrote["path"]) == (2, str(folder))
    assert appliance("export", "lerobot", str(folder), "--task", "pick_place").code == 1
    said = appliance("import", "lerobot", str(folder), "--operator", "grace", "--json").json
    assert (said["task"], len(said["new"]), said["known"]) == ("table", 2, [])
    again = appliance("import", "lerobot", str(folder))
    assert again.out == "0 episodes of table are new, 2 were here already.\n"
    assert appliance("tasks", "list", "--json").json[-1]["episodes"] == 2
    nothing = appliance("import", "lerobot", str(tmp_path / "none"))
    assert nothing.code == 1
    assert "Traceback" not in nothing.err


def test_only_what_was_asked_for_is_exported(appliance: Type, rows: list[EpisodeRow], tmp_path: Path) -> None:
    words = ("--outcome", "success", "--fps", "10", "--json")
    wrote = appliance("export", "robomimic", str(tmp_path / "table.hdf5"), *words)
    assert wrote.code == 0, wrote.err
    assert wrote.json["episodes"] == 2
    wrote = appliance("export", "replay-buffer", str(tmp_path / "table.zarr"), *words, "--keys", "diffusion-policy")
    assert wrote.code == 0, wrote.err
    assert wrote.json["episodes"] == 2
    none = appliance("export", "lerobot", str(tmp_path / "none"), "--task", "stack")
    assert none.code == 1
    assert "no episode is like that" in none.err


def test_caches_are_listed_and_dropped(appliance: Type, home: Path) -> None:
    folder = home / "cache" / "frames"
    folder.mkdir(parents=True)
    (folder / "snapshot-front-48x64-v1.npy").write_bytes(b"pixels")
    (cache,) = appliance("caches", "list", "--json").json
    assert (cache["id"], cache["whole"]) == ("snapshot-front-48x64-v1.npy", True)
    assert "snapshot-front-48x64-v1.npy" in appliance("caches", "list").out
    assert appliance("caches", "drop").out.startswith("Dropped 1 caches")
    assert list(folder.iterdir()) == []


def test_an_episode_that_is_missing_on_the_disk_is_told_without_a_traceback(
    appliance: Type, home: Path, rows: list[EpisodeRow], tmp_path: Path
) -> None:
    (home / rows[0].path).rename(tmp_path / "elsewhere")
    for words in (["show"], ["view", "--save", str(tmp_path / "take.rrd")]):
        said = appliance("episodes", words[0], str(rows[0].id), *words[1:])
        assert said.code == 1
        assert "is no episode" in said.err
    assert "not on disk" in appliance("verify").err


@pytest.mark.parametrize(
    ("words", "helps"),
    [
        (["episodes", "retire", "00"], "--why"),
        (["episodes", "trim", "00"], "give --start, --end or both"),
        (["episodes", "trim", "00", "--undo", "--start", "1"], "--undo, alone"),
        (["tasks", "merge", "stack", "--why", "x"], "give --into TASK, or --undo"),
        (["episodes", "list", "--since", "yesterday"], "valid datetime or date"),
        (["orders", "add", "--task", "stack", "--wanted", "1", "--why", "x", "--condition", "7"], "JSON object"),
    ],
)
def test_a_mistake_in_these_commands_is_exit_code_2(appliance: Type, words: list[str], helps: str) -> None:
    said = appliance(*words)
    assert said.code == 2
    assert helps in " ".join(said.err.split())
