"""Nights for tests: a taught folder, demonstrations that are not what is said of them, trials that end as planned."""

import functools
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from appliance.collect import Sitting, collect, starts
from appliance.home import STARTER, Home
from appliance.night import InOrder
from appliance.night_steps import set_aside
from ops import results, rollout
from ops.judging.judgement import Judgement
from storage import (
    Catalog,
    Edit,
    EditKind,
    Episode,
    EpisodeRow,
    EpisodeWriter,
    Lossless,
    Outcome,
    Trial,
    Verdict,
    Wanted,
)
from storage.entry import rows_of

TASK, CELL = STARTER.name, "franka-sim"
NIGHT = "2026-11-21-pick_place"


def asked(**more: Any) -> dict[str, Any]:
    """A tiny night of the starter task."""
    usual = {"task": TASK, "night": NIGHT, "preset": "tiny", "settings": {"steps": "6", "tracker": "none"}}
    return usual | {"first": 3, "aside": 0.0, "trials": 12, "space": 0.01, "seed": 1, "by": "ada"} | more


def taught(folder: Path, takes: int) -> Home:
    """A folder in which the script has shown the starter task."""
    home = Home(folder, str(folder / "catalog.db"))
    home.open(lambda _said: None).close()
    show(home, TASK, takes)
    return home


def show(home: Home, task: str, takes: int) -> None:
    """Have the script show a task."""
    begun = starts(home, task, CELL, takes, 0)
    assert collect(Sitting(home, task, CELL, "script", begun), 1, lambda _took: None)


def copied(home: Home, folder: Path) -> Home:
    """The same folder once more."""
    shutil.copytree(home.folder, folder)
    return Home(folder, str(folder / "catalog.db"))


def demonstrations(home: Home) -> list[UUID]:
    """The successful ones, oldest first."""
    from appliance.train import demonstrations as every

    with home.join() as catalog:
        return [one.row.id for one in every(catalog, TASK)]


def demonstrations_waiting(home: Home) -> list[UUID]:
    """Those in quarantine."""
    with home.join() as catalog:
        return [one.row.id for one in catalog.find(Wanted(task=TASK, quarantined=True))]


def share_of_one(home: Home) -> float:
    """The share by which exactly one demonstration is set aside."""
    with home.join() as catalog:
        rows = [catalog.episode(key) for key in demonstrations(home)]
    return next(share / 1000 for share in range(1, 1000) if sum(set_aside(row, share / 1000) for row in rows) == 1)


def wait(home: Home, episodes: list[UUID], *, release: bool = False) -> None:
    """Put demonstrations aside, or take them back: what is released has not been learned from."""
    kind = EditKind.RELEASE if release else EditKind.QUARANTINE
    with home.join() as catalog:
        catalog.edit(*(Edit(episode=key, kind=kind, by="ada", why="a test") for key in episodes))


def called_a_success(home: Home, episodes: list[UUID]) -> None:
    """Somebody says that these succeeded."""
    with home.join() as catalog:
        catalog.add(*(Verdict(episode=key, by="ada", outcome=Outcome.SUCCESS) for key in episodes))


def rewritten(home: Home, key: UUID, *, backwards: bool = False, without: tuple[str, ...] = (), **other: str) -> UUID:
    """A demonstration once more, perhaps with its time reversed, without some streams, or of another task: a success.

    ``other`` are attributes that are to say something else.
    """
    with home.join() as catalog:
        whole = Episode(home.folder / catalog.standing(key).path)
        names = [name for name in whole.streams if name not in without]
        said = {name: value for name, value in whole.attributes.items() if name not in {"episode", "grade"}}
        said |= {"started": datetime.now(UTC).isoformat()} | other
        with EpisodeWriter(home.folder, {name: whole.dtype(name) for name in names}, said, Lossless()) as writer:
            for name in names:
                rows = whole.rows(name)
                if backwards:
                    for field in set(rows.dtype.names or ()) - {"t", "received", "seq", "late"}:
                        rows[field] = rows[field][::-1].copy()
                writer.append(name, rows)
            sealed = writer.seal({"ended_by": "done"})
        catalog.add(*rows_of(Episode(sealed.path), home.folder))
        catalog.add(Verdict(episode=sealed.id, by="ada", outcome=Outcome.SUCCESS))
        return sealed.id


@dataclass(frozen=True)
class Planted(InOrder):
    """Does every step but the trials, which end as they are meant to."""

    succeeds: Callable[[Catalog, Trial], bool] = lambda _catalog, _trial: True
    draws: bool = False
    """Whether it writes the page, which takes a second."""

    def do(self, name: str, settings: dict[str, Any]) -> dict[str, Any]:
        return {} if name == "night.page" and not self.draws else super().do(name, settings)

    def share(self, name: str, settings: dict[str, Any], ways: int) -> list[dict[str, Any]]:
        with self.home.join() as catalog:
            batch = catalog.batch(str(catalog.night(settings["night"]).batch))
            attempt = functools.partial(self._attempt, catalog)
            enough = functools.partial(results.enough, catalog, batch.id)
            return [{"ran": rollout.run(catalog, batch, attempt, "night", self.home.folder, enough=enough)}]

    def _attempt(self, catalog: Catalog, trial: Trial) -> tuple[UUID, Judgement]:
        told: dict[str, Any] = {"policy": trial.policy, "condition": trial.condition, "path": "-", "digest": "-"}
        row = EpisodeRow(id=uuid4(), task=TASK, agent="policy", seconds=1, started=datetime.now(UTC), **told)
        catalog.add(row)
        if self.succeeds(catalog, trial):
            return row.id, Judgement(Outcome.SUCCESS, None, None, (), {}, "S5")
        return row.id, Judgement(Outcome.FAILURE, "S1", "LOC", (), {}, "S1")


def candidate_wins(catalog: Catalog, trial: Trial) -> bool:
    """Whatever is not the champion succeeds."""
    champion = catalog.champion(TASK)
    return champion is None or champion.id != trial.policy


def nobody(_catalog: Catalog, _trial: Trial) -> bool:
    """Every trial fails."""
    return False
