"""Programs are killed at random moments, 25 times; with ``APPLIANCE_KILLS=1000`` in the environment, a thousand."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from collectors.backlog import takes as needs
from ops.verify import Kind, verify
from storage import Catalog, Episode, Task
from tests.victims import (
    ARM,
    BACKLOG,
    CAMERA,
    TICKS,
    Said,
    Victim,
    Whom,
    assert_nothing_lost,
    assert_whole,
    home,
    state,
    taken,
)

ROUND = 5
"""Kills in one data folder."""

ROUNDS = int(os.environ.get("APPLIANCE_KILLS", "25")) // ROUND


@dataclass
class Told:
    """What was said of one take."""

    ticks: int = 0
    """Handed over."""
    written: list[int] = field(default_factory=lambda: [0, 0])
    """Rows of the arm and of the camera that are safe, whoever dies."""
    sealed: str = ""
    """Its digest."""


def told(said: Said) -> dict[str, Told]:
    takes: dict[str, Told] = {}
    for word, *rest in said:
        if word == "START":
            takes[rest[0]] = Told()
        elif word == "T":
            one = list(takes.values())[-1]
            one.ticks, one.written = int(rest[0]), [int(count) for count in rest[1:]]
        elif word == "SEALED":
            takes[rest[0]].sealed = rest[1]
    return takes


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    program = Victim()
    yield program
    program.close()


@pytest.mark.parametrize("seed", range(2 * ROUNDS // 5))
def test_a_writer_that_is_killed_loses_nothing(tmp_path: Path, victim: Victim, seed: int) -> None:
    """Two kills in five: of a program that writes by itself."""
    dice = random.Random(seed)
    for _ in range(ROUND):
        said = victim.kill("record", tmp_path, after=dice.uniform(0, 0.15))
        assert_nothing_lost(tmp_path, taken(said))


@pytest.mark.parametrize("whom", ["loop", "recorder", "both"])
@pytest.mark.parametrize("seed", range(ROUNDS // 5))
def test_whoever_is_killed_what_was_written_is_kept_and_found(
    tmp_path: Path, victim: Victim, whom: Whom, seed: int
) -> None:
    """Three kills in five: of the loop, of its recorder, or of both; then often of the recovery, which is resumed."""
    dice = random.Random(f"{whom} {seed}")
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.add(Task(name="reach", instruction="reach the pose"))
    takes: dict[str, Told] = {}
    for _ in range(ROUND):
        new = told(victim.kill("collect", tmp_path, dice.uniform(0, 0.3), whom))
        while dice.random() < 0.5:
            victim.run("reopen", tmp_path, step=dice.randint(1, 60))
        assert_nothing_new_at_the_second_start(tmp_path)
        for name, one in new.items():
            assert_kept(tmp_path / "episodes" / f"{name}.zarr", one, whom)
        takes |= new
    found = list(verify(catalog, tmp_path))
    assert {finding.kind for finding in found} <= {Kind.UNSEALED}, found
    empty = {UUID(finding.where.stem) for finding in found}
    assert catalog.known(map(UUID, takes)) == {UUID(name) for name in takes} - empty
    catalog.close()


def assert_nothing_new_at_the_second_start(root: Path) -> None:
    """Starting brings in what the crash left; starting again finds nothing to do, and does nothing.

    What had no row yet stays, and is told both times.
    """
    first, second = list[str](), list[str]()
    home(root).open(first.append).close()
    before = state(root)
    home(root).open(second.append).close()
    assert second == [line for line in first if "stays there" in line]
    assert state(root) == before


def assert_kept(path: Path, told: Told, whom: Whom) -> None:
    """An episode has all that had to be kept, and no more is lost than may wait to be written: 2 s of a cell.

    When the loop dies, its recorder lives, and writes all that it was given.
    """
    rows, frames = (2 * told.ticks, told.ticks) if whom == "loop" else told.written
    if not path.exists():
        assert (rows, frames) == (0, 0)
        return
    kept = assert_whole(path, rows, frames)
    assert told.ticks - kept <= BACKLOG // (needs(2 * ARM.itemsize) + needs(CAMERA.itemsize))
    if told.sealed:
        assert kept == TICKS
        assert Episode(path).digest == told.sealed
