"""Very many episodes: how long it takes to list and count them by anything, and to retire one for good."""

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from statistics import median
from typing import Any
from uuid import UUID

from sqlalchemy import insert

from storage import (
    Calibration,
    Catalog,
    Edit,
    EditKind,
    EpisodeRow,
    Operator,
    Outcome,
    PolicyRow,
    Standing,
    StreamRow,
    Task,
    Verdict,
    Wanted,
)
from storage.models import Kit
from tests.bench.beside import ROUNDS, Demand, seconds, tell
from tests.bench.content import BUILD
from tests.postgres import installed, postgres

EPISODES = 100_000
AT_ONCE = 5_000
TASKS, OPERATORS, STATIONS, POLICIES = 12, 9, 4, 6
DEVICES = ("action", "arm", "front", "wrist")
CAMERAS = DEVICES[2:]
BEGAN = datetime(2026, 1, 5, 8, tzinfo=UTC)


def seed(catalog: Catalog, n: int = EPISODES) -> None:
    """Fill an empty catalog with ``n`` episodes, each with a verdict and four streams; some are retired, some held."""
    for number in range(TASKS):
        catalog.add(Task(name=f"task-{number}", instruction=f"do the thing number {number}"))
    for number in range(POLICIES):
        catalog.add(PolicyRow(name=f"bc-{number + 1}", method="bc", task="task-0", path="policies/1", digest="0"))
    for number in range(len(CAMERAS) * STATIONS):
        device, station = CAMERAS[number // STATIONS], f"cell-{number % STATIONS}"
        catalog.calibrate(Calibration(station=station, device=device, values={}, by="ada"))
    policies = [row.id for row in catalog.policies()]
    with catalog._write() as session:
        session.execute(insert(Kit), [row for station in range(STATIONS) for row in _kit(station)])
    catalog.add(*(Operator(name=f"operator-{number}") for number in range(OPERATORS)))
    chance = Random(7)
    for first in range(0, n, AT_ONCE):
        _insert(catalog, [_episode(number, chance, policies) for number in range(first, min(first + AT_ONCE, n))])


def edit_once(catalog: Catalog) -> None:
    """Retire the newest episode there is, durably."""
    (newest,) = catalog.find(Wanted(), last=1)
    catalog.edit(Edit(episode=newest.row.id, kind=EditKind.RETIRE, by="ada", why="the cube was upside down"))


def questions(catalog: Catalog) -> dict[str, Wanted]:
    """Everything a list is narrowed by: one at a time, and together."""
    policy = catalog.policies()[0].id
    since, until = BEGAN + timedelta(days=14), BEGAN + timedelta(days=21)
    return {
        "all": Wanted(),
        "every one, retired too": Wanted(retired=None, purged=None),
        "task": Wanted(task="task-3"),
        "outcome": Wanted(outcome=Outcome.FAILURE),
        "agent": Wanted(agent="policy"),
        "operator": Wanted(operator="operator-5"),
        "station": Wanted(station="cell-2"),
        "device": Wanted(device="front"),
        "serial": Wanted(device="SN-front-1"),
        "calibration": Wanted(calibration=3),
        "policy": Wanted(policy=policy),
        "a week": Wanted(since=since, until=until),
        "retired": Wanted(retired=True),
        "quarantined": Wanted(quarantined=True),
        "nothing like it": Wanted(operator="nobody"),
        "to learn from": Wanted(task="task-3", outcome=Outcome.SUCCESS, quarantined=False),
        "six at once": Wanted(
            task="task-3",
            outcome=Outcome.SUCCESS,
            operator="operator-5",
            station="cell-2",
            agent="person",
            quarantined=False,
        ),
        "device, task and week": Wanted(device="front", task="task-3", since=since, until=until),
        "rare calibration": Wanted(calibration=3, operator="operator-5", outcome=Outcome.INVALID),
        "device that took no part": Wanted(device="gripper"),
    }


def main() -> None:
    """Print the slowest question's median and the slowest edit, on SQLite and on PostgreSQL."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        measure(f"{folder}/catalog.db", "SQLite")
    if installed() is not None:
        with postgres(durable=True) as url:
            measure(url, "PostgreSQL")


def measure(where: str, name: str) -> None:
    """Print every question's time, and tell what is demanded of the slowest.

    PostgreSQL is asked at its worst: right after loading it has no statistics, for up to a minute.
    """
    with Catalog(where) as catalog:
        seed(catalog)
        took = {}
        for question, wanted in questions(catalog).items():
            took[question] = median(seconds(partial(_ask, catalog, wanted)) for _ in range(ROUNDS))
            sys.stdout.write(f"  {name}, {question}: {took[question] * 1e3:.1f} ms, {catalog.count(wanted)} there\n")
        edits = [seconds(partial(edit_once, catalog)) for _ in range(ROUNDS * 4)]
        sys.stdout.write(f"  {name}, retiring: {median(edits) * 1e3:.1f} ms, at worst {max(edits) * 1e3:.1f}\n")
    slowest = max(took, key=lambda question: took[question])
    tell(f"100,000 episodes, {name}: {slowest}", "s", took[slowest], None, Demand("ours", "most", 0.1))
    tell(f"retiring one of 100,000, {name}", "s", median(edits), None, Demand("ours", "most", 0.02))


def _ask(catalog: Catalog, wanted: Wanted) -> None:
    catalog.find(wanted, last=50)
    catalog.count(wanted)


def _insert(catalog: Catalog, episodes: list[dict[type, list[dict[str, Any]]]]) -> None:
    with catalog._write() as session:
        for kind in (EpisodeRow, StreamRow, Verdict, Standing):
            session.execute(insert(kind.__table__), [row for episode in episodes for row in episode[kind]])  # type: ignore[arg-type]  # it is a table


def _episode(number: int, chance: Random, policies: list[UUID]) -> dict[type, list[dict[str, Any]]]:
    """One episode's rows, as if it had been recorded, judged and perhaps edited."""
    key, station = UUID(int=chance.getrandbits(128), version=4), chance.randrange(STATIONS)
    policy = chance.choice(policies) if chance.random() < 0.3 else None
    outcome = chance.choices(list(Outcome), (6, 3, 1))[0]
    failure = {Outcome.FAILURE: "DROP", Outcome.INVALID: "ENV"}.get(outcome)
    shared = {
        "task": f"task-{chance.randrange(TASKS)}",
        "agent": "person" if policy is None else "policy",
        "operator": f"operator-{chance.randrange(OPERATORS)}",
        "station": f"cell-{station}",
        "path": f"episodes/{key}.zarr",
        "digest": f"{number:032x}",
        "started": BEGAN + timedelta(seconds=60 * number),
        "policy": policy,
    }
    took = {"id": key, "seconds": 12.5, "ended_by": "done", "condition": {"seed": number}, "recovered": False}
    grade = {"gap": 0.04, "lost": 0.0, "skew": 0.012, "late": 0.001, "bytes": 30_000_000, "station_digest": "d" * 32}
    marks = {"retired": chance.random() < 0.1, "quarantined": chance.random() < 0.05, "purged": False}
    return {
        EpisodeRow: [shared | took | grade],
        StreamRow: [_stream(key, name, station) for name in DEVICES],
        Verdict: [
            {"episode": key, "by": "rules", "outcome": outcome, "failure": failure, "stage": None, "secondary": []}
            | {"evidence": {"reached": "S3"}, "labelled_by": "auto", "note": "", "given": shared["started"]}
        ],
        Standing: [
            shared
            | marks
            | {"episode": key, "named": shared["task"], "outcome": outcome, "failure": failure, "kit": f"kit-{station}"}
        ],
    }


def _stream(episode: UUID, name: str, station: int) -> dict[str, Any]:
    given = {"episode": episode, "name": name, "rows": 375, "hz": 30.0, "gap": 0.04, "lost": 0.0}
    return given | {
        "camera": name in CAMERAS,
        "calibration": _calibration(name, station),
        "serial": _serial(name, station),
    }


def _kit(station: int) -> list[dict[str, Any]]:
    """The devices of a station, as the streams of its episodes name them."""
    return [
        {
            "id": f"kit-{station}",
            "device": name,
            "calibration": _calibration(name, station),
            "serial": _serial(name, station),
        }
        for name in DEVICES
    ]


def _calibration(name: str, station: int) -> int | None:
    return {"front": 1 + station, "wrist": 1 + STATIONS + station}.get(name)


def _serial(name: str, station: int) -> str:
    return f"SN-{name}-{station}"


if __name__ == "__main__":
    main()
