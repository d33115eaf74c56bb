"""When the power is cut, what had reached the disk is kept, and nothing that had not is taken for whole.

A model of it: what was not synced is cut off, or has zeros or garbage in it. It knows nothing of names that a folder
lost, or of disks that lie.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import EpisodeWriter, Lossless
from tests.victims import SAID, STREAMS, Victim, assert_nothing_lost, take

DESCRIPTION = "zarr.json"


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    program = Victim()
    yield program
    program.close()


def damage(path: Path, kept: int, dice: random.Random) -> None:
    """Do to what comes after ``kept`` bytes what a power cut does: cut it off, or leave zeros or garbage in it."""
    content = bytearray(path.read_bytes())
    content = content[: dice.randint(kept, len(content))] if dice.random() < 0.5 else content
    for first in range(kept, len(content), 64):
        page = slice(first, min(first + 64, len(content)))
        luck = dice.random()
        if luck < 0.3:
            content[page] = bytes(page.stop - page.start)
        elif luck < 0.5:
            content[page] = dice.randbytes(page.stop - page.start)
    if dice.random() < 0.3:
        content += bytes(dice.randint(1, 5000))
    path.write_bytes(content)


def logs(staged: Path) -> dict[Path, int]:
    """Every log of a take that is being recorded, and its size: rows, images and depth."""
    found = {path: path.stat().st_size for path in staged.rglob("*") if path.is_file() and path.name != DESCRIPTION}
    assert len(found) == 3
    return found


@pytest.mark.parametrize("seed", range(60))
def test_while_recording_it_costs_only_what_had_not_reached_the_disk(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    with EpisodeWriter(tmp_path, STREAMS, SAID, Lossless()) as writer:
        for tick in range(5):
            take(writer, tick)
        writer.flush()
        kept = logs(tmp_path / "staging")
        for tick in range(5, 9):
            take(writer, tick)
    for path, size in kept.items():
        damage(path, size, dice)
    assert_nothing_lost(tmp_path, {str(writer.id): 5})


@pytest.mark.parametrize("seed", range(40))
def test_while_sealing_it_costs_nothing(tmp_path: Path, victim: Victim, seed: int) -> None:
    """Every row had reached the disk; arrays, indexes and descriptions that were made of them had not."""
    dice = random.Random(seed)
    with EpisodeWriter(tmp_path, STREAMS, SAID, Lossless()) as writer:
        for tick in range(5):
            take(writer, tick)
    staged = tmp_path / "staging" / f"{writer.id}.zarr"
    kept = logs(staged)
    victim.run("recover", tmp_path, step=1 + seed * 3 // 2)
    if staged.exists():
        sealed = (staged / "manifest.json").exists()
        for path in staged.rglob("*"):
            synced = sealed and path.suffix != ".new"
            if path.is_file() and not synced and path != staged / DESCRIPTION:
                damage(path, kept.get(path, 0), dice)
    assert_nothing_lost(tmp_path, {str(writer.id): 5})
