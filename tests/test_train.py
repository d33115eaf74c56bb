"""The training loop: the same every time, resumable anywhere, honest about what it never saw."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from learners import Batch, Training, Windows
from learners.backbones import Words
from learners.ccol import Net
from learners.ode import Solver
from learners.train import Diverged, Group, Tell, held_out_loss, schedule, silent, train
from tests.lessons import INSTRUCTION, QUICK, TINY, squares

torch.set_num_threads(1)

PLAIN = Training(
    steps=8,
    batch=4,
    optimizer="sgd",
    lr=0.1,
    weight_decay=0.0,
    momentum=0.0,
    warmup=3,
    held_out=0.0,
    tracker="none",
    workers=0,
)


class Stopped(Exception):
    """Somebody needs the machine."""


def stop_after(steps: int) -> Tell:
    """Stop once that many steps are done."""

    def tell(done: int, _of: int, _loss: float) -> None:
        if done == steps:
            raise Stopped

    return tell


class Point(nn.Module):
    """One weight; the loss is a function of it, or falls evenly with it."""

    def __init__(self, loss: Callable[[Tensor], Tensor] = lambda w: w) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([5.0]))
        self._loss = loss

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {"height": self._loss(self.weight).sum()}


@dataclass(frozen=True)
class Watched(Windows):
    """Windows that remember which of them were asked for, and whether to learn from."""

    learned: list[int] = field(default_factory=list)
    checked: list[int] = field(default_factory=list)

    def batch(self, index: NDArray[np.intp]) -> Batch:
        (self.learned if torch.is_grad_enabled() else self.checked).extend(index.tolist())
        return super().batch(index)


def watched(episodes: int, each: int) -> Watched:
    return Watched(**vars(squares(episodes=episodes, each=each)))


def weights(how: Training, run: Path | None = None, tell: Tell = silent) -> dict[str, Tensor]:
    found: dict[str, Tensor] = replace(TINY, training=how).fit(squares(), run, tell).net.state_dict()
    return found


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor], near: float = 0.0) -> None:
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=near, rtol=0)


def test_the_same_seed_twice_gives_the_same_weights_and_another_seed_others() -> None:
    first = weights(QUICK)
    torch.rand(3)
    assert_same(weights(QUICK), first)
    other = weights(replace(QUICK, seed=1))
    assert not torch.equal(first["queries"], other["queries"])


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(QUICK, id="adamw"),
        pytest.param(replace(QUICK, ema=0.9), id="average"),
        pytest.param(replace(QUICK, optimizer="sgd", lr=0.05, momentum=0.9), id="sgd"),
        pytest.param(replace(QUICK, batch=200), id="a step is a pass"),
    ],
)
def test_seven_steps_and_thirteen_more_are_twenty(how: Training, tmp_path: Path) -> None:
    """A stop is stored at the step where it comes. The latent is drawn in every step: the generator was kept, too."""
    whole = weights(how)
    with pytest.raises(Stopped):
        weights(how, tmp_path, stop_after(7))
    torch.rand(7)
    told: list[int] = []
    assert_same(weights(how, tmp_path, lambda done, _of, _loss: told.append(done)), whole, near=1e-6)
    assert told == list(range(8, 21))


def test_the_number_of_workers_changes_nothing_not_even_halfway(tmp_path: Path) -> None:
    whole = weights(replace(QUICK, workers=0))
    assert_same(weights(replace(QUICK, workers=3)), whole)
    with pytest.raises(Stopped):
        weights(replace(QUICK, workers=0), tmp_path, stop_after(10))
    assert_same(weights(replace(QUICK, workers=1), tmp_path), whole, near=1e-6)


def test_a_run_that_is_done_is_not_trained_further(tmp_path: Path) -> None:
    told: list[int] = []
    done = weights(replace(QUICK, ema=0.9), tmp_path)
    assert_same(weights(replace(QUICK, ema=0.9), tmp_path, lambda done, _of, _loss: told.append(done)), done)
    assert told == []


@pytest.mark.parametrize("other", [replace(QUICK, lr=1e-3), replace(QUICK, steps=40), replace(QUICK, ema=0.5)])
def test_a_folder_with_another_run_is_refused(other: Training, tmp_path: Path) -> None:
    weights(QUICK, tmp_path)
    before = sorted((file.name, file.stat().st_size) for file in tmp_path.iterdir())
    with pytest.raises(ValueError, match="holds a run with other settings; choose another folder"):
        weights(other, tmp_path)
    assert sorted((file.name, file.stat().st_size) for file in tmp_path.iterdir()) == before


def test_a_run_keeps_its_log_and_its_last_tensors_and_pickles_nothing(tmp_path: Path) -> None:
    weights(QUICK, tmp_path)
    kept = sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file())
    events = [name for name in kept if "tfevents" in name]
    assert len(events) == 1
    assert kept == sorted([*events, "last.json", "step-20.safetensors"])
    assert (tmp_path / events[0]).stat().st_size > 100


def test_a_run_without_a_tracker_logs_nothing(tmp_path: Path) -> None:
    weights(replace(QUICK, tracker="none"), tmp_path)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["last.json", "step-20.safetensors"]


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weights(QUICK)
    assert list(tmp_path.rglob("*")) == []


def test_a_stop_between_tensors_and_note_leaves_the_older_pair(tmp_path: Path) -> None:
    """What was being written when the power went is not taken for progress."""
    whole = weights(QUICK)
    with pytest.raises(Stopped):
        weights(QUICK, tmp_path, stop_after(10))
    (tmp_path / "step-20.safetensors").write_bytes(b"half of it")
    (tmp_path / "last.json.part").write_text('{"done": 20, "ten')
    assert_same(weights(QUICK, tmp_path), whole, near=1e-6)


def test_too_high_a_learning_rate_ends_in_words() -> None:
    with pytest.raises(Diverged, match=r"the loss is (nan|inf) at step \d+; try a lower lr than 1000000000"):
        weights(replace(QUICK, lr=1e9))


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_data_that_are_no_numbers_end_it_and_are_not_stored_as_progress(bad: float, tmp_path: Path) -> None:
    plan = squares().plan[:].copy()
    plan[:, 0, 0] = bad
    data = replace(squares(), plan=plan)
    net = Net(TINY, {"vocabulary": Words.vocabulary([INSTRUCTION])})
    with pytest.raises(Diverged, match="at step 0"):
        train(net, data, replace(QUICK, save_every=1), tmp_path)
    assert not (tmp_path / "last.json").exists()


def test_the_learning_rate_warms_up_and_falls_to_nearly_nothing() -> None:
    how = Training(steps=1000, warmup=100)
    rates = [schedule(step, how) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01, rel=1e-3)
    assert (np.diff(rates[:90]) > 0).all()
    assert max(rates) > 0.95
    assert max(rates) <= 1
    assert (np.diff(rates[100:]) < 0).all()
    assert rates[500] == pytest.approx(0.5)
    assert 0 <= rates[-1] < 1e-4
    assert schedule(0, replace(how, warmup=0)) == 1


def test_the_learning_rate_can_stay_and_need_not_fall_to_nothing() -> None:
    how = replace(PLAIN, steps=1000, warmup=10, steady=0.6, least=0.1)
    rates = [schedule(step, how) for step in range(1000)]
    assert rates[10:601] == [1.0] * 591
    assert all(a > b for a, b in pairwise(rates[601:]))
    assert rates[800] == pytest.approx(0.55)
    assert rates[-1] == pytest.approx(0.1, abs=1e-4)
    assert schedule(900, replace(how, steady=0.0, least=1.0)) == 1


class Pair(nn.Module):
    """Two weights that both fall, one at a pace and with a decay of its own; it counts its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.slow, self.quick = nn.Parameter(torch.tensor([5.0])), nn.Parameter(torch.tensor([5.0]))
        self.steps: list[int] = []
        self.notes: dict[str, float] = {}

    def groups(self) -> list[Group]:
        return [Group([self.slow]), Group([self.quick], pace=50.0, weight_decay=0.0)]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        self.notes = {"apart": float((self.slow - self.quick).detach())}
        return {"sum": (self.slow + self.quick).sum() + 0 * batch.state.sum()}

    def after(self, step: int) -> None:
        self.steps.append(step)


def test_parameters_may_learn_at_a_pace_of_their_own_and_a_network_hears_of_every_step() -> None:
    net = Pair()
    how = replace(PLAIN, lr=1e-3, weight_decay=0.1, clip=10.0)
    train(net, watched(2, 6), how)
    way = sum(schedule(step, how) for step in range(how.steps))
    assert 5 - net.quick.item() == pytest.approx(50 * 1e-3 * way, rel=1e-4)
    assert 5 - net.slow.item() == pytest.approx(1e-3 * way * (1 + 0.1 * 5), rel=1e-3)
    assert net.steps == list(range(how.steps))


def test_what_a_network_notes_is_told_and_logged_and_moves_nothing(tmp_path: Path) -> None:
    net = Pair()
    how = replace(PLAIN, lr=1e-3, tracker="tensorboard", check_every=PLAIN.steps)
    told = train(net, watched(2, 6), how, tmp_path)
    assert told["apart"] == net.notes["apart"] > 0
    assert told["sum"] == pytest.approx(told["loss"], rel=0.1)
    [log] = tmp_path.rglob("events.*")
    assert b"apart" in log.read_bytes()


def test_steps_follow_the_schedule() -> None:
    """Down an even slope, plain descent goes as far as the learning rates add up to."""
    point = Point()
    train(point, squares(), PLAIN)
    way = sum(PLAIN.lr * schedule(step, PLAIN) for step in range(PLAIN.steps))
    assert float(point.weight.detach()) == pytest.approx(5 - way, abs=1e-6)


def test_the_policy_is_the_average_of_weights_and_early_ones_are_forgotten() -> None:
    how = replace(PLAIN, ema=0.9)
    point = Point()
    train(point, squares(), how)
    weight = average = 5.0
    for step in range(how.steps):
        weight -= how.lr * schedule(step, how)
        decay = min(how.ema, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    assert float(point.weight.detach()) == pytest.approx(average, abs=1e-6)
    assert average != pytest.approx(weight, abs=1e-3)


def test_a_steep_loss_moves_the_weights_no_further_than_the_clip_allows() -> None:
    point, how = Point(lambda w: 1e6 * w), replace(PLAIN, steps=1, warmup=0, clip=0.5)
    train(point, squares(), how)
    assert float(point.weight.detach()) == pytest.approx(5 - 0.1 * 0.5, abs=1e-5)


def test_windows_held_out_are_checked_and_never_trained_on() -> None:
    data = watched(episodes=10, each=4)
    how = replace(PLAIN, steps=30, held_out=0.3, check_every=10, seed=3)
    told = train(Point(), data, how)
    learn, check = data.split(0.3, 3)
    assert set(data.learned) == set(learn.tolist())
    assert set(data.checked) == set(check.tolist())
    assert len(data.checked) == 3 * len(check)
    assert told["held_out"] == pytest.approx(told["height"], abs=0.1)


def test_every_window_is_learned_from_once_in_a_pass_and_each_pass_is_shuffled_anew() -> None:
    data = watched(episodes=2, each=8)
    train(Point(), data, replace(PLAIN, steps=12))
    passes = np.array(data.learned).reshape(3, 16)
    assert np.sort(passes).tolist() == [list(range(16))] * 3
    assert len({tuple(each) for each in passes.tolist()}) == 3
    again = watched(episodes=2, each=8)
    train(Point(), again, replace(PLAIN, steps=12))
    assert again.learned == data.learned
    other = watched(episodes=2, each=8)
    train(Point(), other, replace(PLAIN, steps=12, seed=1))
    assert other.learned != data.learned


def test_fewer_windows_than_a_batch_are_enough() -> None:
    data = watched(episodes=1, each=3)
    train(Point(), data, replace(PLAIN, steps=2, batch=64))
    assert len(data.learned) == 6


def test_the_loss_held_out_is_a_mean_over_windows_and_leaves_the_network_as_it_was() -> None:
    class Counted(Point):
        def losses(self, batch: Batch) -> dict[str, Tensor]:
            assert not self.training
            return {"place": self.weight.sum() * 0 + batch.key[:, 0].mean(), "one": torch.ones(())}

    data, net = squares(), Counted().train()
    check = np.arange(40, 77)
    loss = held_out_loss(net, data, check, replace(PLAIN, batch=8))
    assert loss == pytest.approx(1 + data.key[40:77, 0].mean(), abs=1e-5)
    assert net.training
    few = held_out_loss(net, data, check, PLAIN, most=2)
    assert few == pytest.approx(1 + data.key[[40, 76], 0].mean(), abs=1e-5)


def test_progress_is_told_step_by_step_and_the_network_is_left_ready_to_use() -> None:
    told: list[tuple[int, int, float]] = []
    point = Point()
    last = train(point, squares(), PLAIN, tell=lambda *said: told.append(said))
    assert [(done, of) for done, of, _ in told] == [(step, 8) for step in range(1, 9)]
    assert told[0][2] == pytest.approx(5.0)
    assert told[-1][2] == last["loss"] < 5.0
    assert last.keys() == {"height", "loss"}
    assert not point.training


@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_half_precision_trains_weights_that_are_whole(solver: Solver) -> None:
    """They end up near those of full precision, and not on them."""
    how = replace(TINY, training=replace(QUICK, precision="bf16"), ode_solver=solver)
    found = how.fit(squares()).net.state_dict()
    full = weights(QUICK)
    assert all(tensor.dtype == torch.float32 for tensor in found.values())
    assert all(tensor.isfinite().all() for tensor in found.values())
    off = (found["queries"] - full["queries"]).abs()
    assert 0 < off.mean() < 0.2 * full["queries"].abs().mean()


def test_one_process_trains_one_after_the_other_in_different_precisions() -> None:
    for precision in ("no", "bf16", "no"):
        point = Point()
        train(point, squares(), replace(PLAIN, precision=precision))
        assert point.weight.item() < 5
