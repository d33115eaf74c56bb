"""Two processes fit what one fits: the same windows in the same steps, stopped and gone on together."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from learners import joined, together
from learners.stages import ARTEFACT, NOTE, Stages
from learners.train import StoppedElsewhere
from tests.lessons import QUICK, TINY, squares

torch.set_num_threads(1)

ROOT = Path(__file__).parent.parent
TEN = replace(QUICK, steps=10, check_every=10, tracker="none", workers=0)
PLAIN = replace(TINY, mcc=False, training=replace(TEN, batch=3, optimizer="sgd", lr=0.05, momentum=0.9))
"""Nothing is drawn, and one process gets two windows of a batch, the other one."""
DRAWN = replace(TINY, training=replace(TEN, ema=0.9))


class Stopped(Exception):
    """Somebody needs the machine."""


class Made:
    """What a stage leaves: a word."""

    def __init__(self, word: str) -> None:
        self.measured: dict[str, float] = {}
        self.digest = word

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "word").write_text(self.digest)

    @classmethod
    def load(cls, folder: Path) -> "Made":
        return cls((folder / "word").read_text())


def handed(made: Made, _run: Path | None) -> Made:
    return made


def fit(how: Any, run: Path | None = None, until: int | None = None) -> dict[str, torch.Tensor]:
    def tell(done: int, _of: int, _loss: float) -> None:
        if done == until:
            raise Stopped

    found: dict[str, torch.Tensor] = how.fit(squares(), run, tell).net.state_dict()
    return found


def take_part(folder: Path) -> None:
    """What each of the two does. Their folders are their own, as on two machines."""
    with joined() as ranks:
        mine = folder / str(ranks.index)
        mine.mkdir()
        save_file(fit(PLAIN), mine / "plain")
        for name in ("drawn", "drawn again"):
            ranks.draw(0, 7)
            (mine / name).write_text(str(torch.rand(1)))
        save_file(fit(DRAWN), mine / "whole")
        # The second is asked to stop; both do, and what the first stored is gone on with by both.
        try:
            fit(DRAWN, mine / "run", 4 if ranks.index else None)
        except (Stopped, StoppedElsewhere) as error:
            (mine / "stopped").write_text(type(error).__name__)
        save_file(fit(DRAWN, mine / "run"), mine / "again")
        for word in ("first", "second"):
            stages = Stages(mine / "stages", lambda _name: lambda *_: None)
            made = Made(f"{word} {ranks.index}")
            (mine / word).write_text(stages.once("word", {}, partial(handed, made), Made.load).digest)
        try:
            replace(PLAIN, training=replace(PLAIN.training, batch=1)).fit(squares())
        except ValueError as error:
            (mine / "refused").write_text(str(error))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes leave."""
    found = tmp_path_factory.mktemp("together")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.test_together", str(found)],
            cwd=ROOT,
            env=os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in "01"
    ]
    try:
        assert [each.wait(200) for each in started] == [0, 0]
    finally:
        for each in started:
            each.kill()
    return found


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], near: float) -> None:
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=near, rtol=0)


def test_two_processes_fit_what_one_fits(folder: Path) -> None:
    """The mean is that of all windows, though they are not shared evenly."""
    same(load_file(folder / "0" / "plain"), fit(PLAIN), near=1e-6)
    same(load_file(folder / "0" / "plain"), load_file(folder / "1" / "plain"), near=0)


@pytest.mark.slow
def test_they_draw_apart_and_still_have_the_same_weights(folder: Path) -> None:
    first, other = ([(folder / rank / name).read_text() for name in ("drawn", "drawn again")] for rank in "01")
    assert first[0] == first[1]
    assert other[0] == other[1]
    assert first != other
    whole = load_file(folder / "0" / "whole")
    same(whole, load_file(folder / "1" / "whole"), near=0)
    assert not torch.equal(whole["queries"], fit(DRAWN)["queries"])


@pytest.mark.slow
def test_one_that_is_asked_to_stop_stops_both_and_both_go_on_from_there(folder: Path) -> None:
    """Only the first machine has the run's folder."""
    assert [(folder / rank / "stopped").read_text() for rank in "01"] == ["StoppedElsewhere", "Stopped"]
    assert (folder / "0" / "run" / "last.json").exists()
    assert not (folder / "1" / "run" / "last.json").exists()
    for rank in "01":
        same(load_file(folder / rank / "again"), load_file(folder / "0" / "whole"), near=1e-6)


@pytest.mark.slow
def test_a_stage_that_was_done_is_taken_from_the_main_one(folder: Path) -> None:
    assert (folder / "0" / "first").read_text() == "first 0"
    assert [(folder / rank / "second").read_text() for rank in "01"] == ["first 0", "first 0"]
    assert (folder / "0" / "stages" / "word" / NOTE).exists()
    assert not (folder / "1" / "stages" / "word" / NOTE).exists()
    assert (folder / "1" / "stages" / "word" / ARTEFACT / "word").read_text() == "first 0"


def test_a_batch_that_is_too_small_for_all_is_refused(folder: Path) -> None:
    for rank in "01":
        assert (folder / rank / "refused").read_text() == (
            "a batch of 1 windows cannot be shared among 2 processes; let fewer help"
        )


def test_a_process_alone_agrees_with_itself(tmp_path: Path) -> None:
    alone = together()
    assert alone.main
    assert alone.part(1) == 1
    assert alone.mean(3.5) == pytest.approx(3.5)
    assert alone.anyone(True)
    assert not alone.anyone(False)
    assert alone.told(lambda: {"a": 1}) == {"a": 1}
    assert alone.handed(lambda: b"x") == b"x"
    alone.share(tmp_path / "nothing")
    state = torch.get_rng_state()
    alone.draw(1, 2)
    assert torch.equal(torch.get_rng_state(), state)


if __name__ == "__main__":
    take_part(Path(sys.argv[1]))
