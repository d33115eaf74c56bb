"""The bench of methods: everybody gets the same, nothing is done twice, and what is compared is what was tried."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from appliance.home import Home
from learners import Windows
from learners.body import ONE_ARM
from learners.ccol import CCoL
from storage import Episode
from tests.bench import bench_learners, beside
from tests.bench.methods import measures, recipes, rows, table
from tests.bench.methods.measures import Pace
from tests.bench.methods.recipes import CannotCompare, Entry, Recipe
from tests.bench.methods.rows import Done
from tests.lessons import TINY, squares

torch.set_num_threads(1)

SHORT = ("--recipe", "quick", "--workers", "1", "--trials", "1", "--limit", "1", "--rounds", "1", "--steps", "2")
SECOND = 1_000_000_000


def done(entry: str, seed: int, won: str, rough: Mapping[str, float] | None = None, plans: float = 1.0) -> Done:
    """A row whose trials from starts 0, 1, ... succeeded where ``won`` has a 1."""
    starts = {str(start): letter == "1" for start, letter in enumerate(won)}
    return Done(
        *("pick_place", entry, "", seed),
        demos=2,
        steps=10,
        batch=8,
        policy=f"{entry}-{seed}",
        revision="here",
        trials=len(won),
        successes=won.count("1"),
        failures={"CON": won.count("0")} if "0" in won else {},
        starts=starts,
        rough=dict(rough or dict.fromkeys(starts, 1.0)),
        lasted=dict.fromkeys(starts, 2.0 + seed),
        plans={"rough": plans, "shown": 1.0, "error": 3.0},
        parameters=7,
        seconds=1.0,
    )


def test_a_recipe_is_followed_once_and_a_second_call_only_tells(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_learners.main([*SHORT, "--methods", "random,nearest"]) == 0
    told = json.loads((home / "table.json").read_text())
    assert [(line["entry"], line["trials"], line["demos"]) for line in told["lines"]] == [
        ("random", 1, 2),
        ("nearest", 1, 2),
    ]
    assert all(row["plans"]["rough"] > 0 < row["plans"]["error"] for row in told["rows"])
    # Both were tried from the same start, which no demonstration had.
    (start,) = {start for row in told["rows"] for start in row["starts"]}
    assert int(start) >= 1_000_000
    assert (home / "table.png").stat().st_size > 1000

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("this was done before")

    for name in ("train", "evaluate", "collect"):
        monkeypatch.setattr(rows, name, never)
    before = (home / "table.txt").read_text()
    assert bench_learners.main([*SHORT, "--methods", "random,nearest"]) == 0
    assert (home / "table.txt").read_text() == before
    assert re.search(r"pick_place +nearest +n=1", capsys.readouterr().out)
    # One more trial is another row, so something would have to be done.
    with pytest.raises(AssertionError, match="before"):
        bench_learners.main([*SHORT, "--methods", "random", "--trials", "2"])


def test_a_row_that_was_stopped_goes_on_with_its_policy_and_its_batch(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*SHORT, "--methods", "nearest"]
    with monkeypatch.context() as broken:
        broken.setattr(rows, "evaluate", lambda *_: False)
        assert bench_learners.main(arguments) == 2
    assert "goes on" in capsys.readouterr().err
    (part,) = (home / "rows").glob("*.part.json")
    noted = json.loads(part.read_text())
    assert {"policy", "tried_in"} <= noted.keys()
    monkeypatch.setattr(rows, "train", None)
    # Another process took the batch's only trial, and died.
    with Home(home, str(home / "catalog.db")).join() as catalog:
        assert catalog.claim_trial(noted["tried_in"], "nobody") is not None
    assert bench_learners.main(arguments) == 0
    assert "begin anew" in capsys.readouterr().out
    assert not part.exists()
    (row,) = json.loads((home / "table.json").read_text())["rows"]
    assert row["policy"] == noted["policy"]


def test_the_recipe_of_the_papers_sizes_asks_for_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench_learners.main(["--recipe", "aloha"]) == 2
    said = capsys.readouterr().err
    assert "needs a GPU" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("wrong", [["--recipe", "nosuch"], ["--methods", "nosuch"], ["--tasks", "nosuch"]])
def test_what_there_is_not_is_answered_with_what_there_is(
    wrong: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_learners.main(wrong) == 2
    assert re.search(r"there is no .*'nosuch'.*; there are: \w+", capsys.readouterr().err)
    assert not (home / "episodes").exists()


@pytest.mark.parametrize("entry", [one for one in recipes.ENTRIES if one.offered], ids=lambda one: one.name)
def test_every_method_gets_the_same_steps_windows_and_seed(entry: Entry) -> None:
    made = Recipe("", ("pick_place",), ("*",), demos=2, steps=100, batch=16, trials=1, seeds=(3,), image=64)
    how = recipes.settings(entry, made, seed=3)
    if not hasattr(how, "training"):
        assert recipes.steps(how) == 0
        return
    assert recipes.steps(how) == pytest.approx(100, abs=2)
    assert (how.training.batch, how.training.seed, how.image, how.k, how.hz) == (16, 3, 64, 16, 10.0)
    assert recipes.steps(recipes.briefly(how, 5)) in {5, 10}
    plain = recipes.settings(Entry("", entry.method), made, seed=3)
    assert (how == plain) is not bool(entry.settings)


def test_an_ablation_of_what_a_method_lacks_is_left_out() -> None:
    assert not Entry("", "ccol", {"nosuch.field": "1"}).offered
    assert Entry("", "ccol", {"training.steps": "1"}).offered


def test_methods_are_chosen_by_name_or_by_how_it_begins() -> None:
    made = recipes.recipe("few").but(methods=("lada.*", "random"))
    assert [one.name for one in made.entries()][:2] == ["random", "lada.hard"]
    with pytest.raises(CannotCompare, match=r"lada\.hard"):
        made.but(methods=("lada.nosuch",)).entries()


def test_ablations_and_what_draws_nothing_come_with_the_first_seed_alone() -> None:
    made = recipes.recipe("few").but(methods=("nearest", "ccol", "ccol.no-mcc"), seeds=(4, 5))
    assert [(row.entry.name, row.seed) for row in rows.rows(made)] == [
        ("nearest", 4),
        ("ccol", 4),
        ("ccol.no-mcc", 4),
        ("ccol", 5),
    ]
    keys = {row.key for row in rows.rows(made)} | {row.key for row in rows.rows(made.but(steps=7))}
    assert len(keys) == 8
    for wish in ({"trials": 3}, {"every_tick": False}, {"image": 64}, {"demos": 3}, {"limit": 1.0}, {"preset": "tiny"}):
        assert keys.isdisjoint(row.key for row in rows.rows(made.but(**wish)))
    # How many work on it makes no other row.
    assert {row.key for row in rows.rows(made.but(workers=1, seeds=(4,)))} < keys


def test_a_preset_that_has_changed_makes_another_row(monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = rows.rows(recipes.recipe("few").but(methods=("ccol",), seeds=(0,)))
    before, preset = row.key, CCoL.preset("small")
    monkeypatch.setattr(CCoL, "preset", lambda _name: replace(preset, channels=7))
    assert row.key != before


def test_who_averages_plans_is_asked_at_every_tick_and_nobody_else_is() -> None:
    made = recipes.recipe("quick")
    ccol, nearest = (rows.Row("pick_place", Entry("", method), 0, made) for method in ("ccol", "nearest"))
    how, memory = (recipes.settings(row.entry, made, 0) for row in (ccol, nearest))
    assert how.ensemble is not None
    assert rows.asked_for_plans(how, ccol) == replace(how, replan=1 / 20)
    assert rows.asked_for_plans(memory, nearest) == memory
    assert rows.asked_for_plans(how, replace(ccol, made=made.but(every_tick=False))) == how
    assert rows.asked_for_plans(how, replace(ccol, task="transfer")) == replace(how, replan=1 / 50)


def test_the_papers_figures_stand_beside_their_own_tasks_alone() -> None:
    assert recipes.printed("gym_transfer", "lerobot.act") == pytest.approx(0.86)
    assert recipes.printed("gym_insertion", "ccol") == pytest.approx(0.87)
    assert recipes.printed("pick_place", "ccol") is None
    assert recipes.printed("gym_insertion", "ccol.no-mcc") is None


class Taken:
    """An episode of an arm with one joint, whose rows are 10 ms apart and its loop's ticks 50 ms."""

    def __init__(self, targets: list[float]) -> None:
        ticks = np.arange(len(targets)) * SECOND // 20 + SECOND
        t = np.arange(ticks[0], ticks[-1] + SECOND // 20, SECOND // 100)
        # The row that comes with a tick is from before the command that is given in it.
        said = np.searchsorted(ticks, t, side="left") - 1
        q = np.array([targets[0], *targets])[1 + said]
        self.streams = {("ticks", "t"): ticks, ("arm", "t"): t, ("arm", "q_target"): q[:, None]}

    def __getitem__(self, column: tuple[str, str]) -> Any:
        return self.streams[column]


@pytest.mark.parametrize(
    ("targets", "rough"),
    [
        ([0.0, 0.1, 0.2, 0.3, 0.4], 0.0),
        ([0.0, 0.1, 0.0, 0.1, 0.0], 0.2),
        ([0.0, 0.0, 0.3, 0.3, 0.3], 0.2),
        ([0.5, 0.7], 0.0),
    ],
)
def test_roughness_is_the_mean_second_difference_of_targets_at_the_loops_pace(
    targets: list[float], rough: float
) -> None:
    taken = cast("Episode", Taken(targets))
    assert measures.in_force(taken)[:, 0] == pytest.approx(targets)
    assert measures.smoothness(taken) == pytest.approx(rough)


class Zigzag:
    """A policy for the squares that is right but for its first joint, which swings by a thousandth of a radian."""

    how, body = TINY, ONE_ARM

    def __init__(self, windows: Windows) -> None:
        self.net, self.windows, self.asked = self, windows, 0

    def steps(self, images: torch.Tensor, state: torch.Tensor, instructions: list[str]) -> torch.Tensor:
        assert torch.equal(state, self.windows.batch(np.array([self.asked])).state)
        plan = self.windows.batch(np.array([self.asked])).plan
        self.asked += 1
        plan[:, ::2, 0] += 0.001
        plan[:, 1::2, 0] -= 0.001
        # The hand does not count.
        plan[..., -1] += 7.0
        return plan


def test_plans_are_compared_with_what_was_shown_at_the_same_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = squares(episodes=1, each=20)
    # The episode ends before the last plans do.
    windows = replace(windows, left=np.where(np.arange(20) < 12, TINY.k, TINY.k - 1))
    monkeypatch.setattr(measures, "_windows", lambda *_: windows)
    policy = Zigzag(windows)
    found = measures.plans(cast("Any", policy), [], "")
    assert policy.asked == 12
    assert found.rough == pytest.approx(4 / 7, rel=1e-3)
    assert found.error == pytest.approx(1 / 7, rel=1e-3)
    assert found.shown < 1e-3


def test_two_methods_are_compared_start_by_start_and_seed_by_seed() -> None:
    found = [
        done("ccol", 0, "1110", {"0": 1.0, "1": 2.0, "2": 9.0, "3": 0.1}),
        done("ccol", 1, "1111"),
        done("lerobot.act", 0, "110", {"0": 2.0, "1": 2.0, "2": 0.1}),
        done("lerobot.act", 2, "0000"),
    ]
    one = table.beside(found, "pick_place", "ccol", "lerobot.act")
    assert one is not None
    # Seed 1, seed 2 and the last start have no counterpart; start 2 was won by one alone.
    assert (one.pairs, one.only_one, one.only_other, one.p) == (3, 1, 0, 1.0)
    assert (one.both, one.of, one.slower) == (2, 2, 1.0)
    assert (one.rough.times, one.rough.smoother) == (0.75, 1)
    assert table.beside(found, "pick_place", "ccol", "lada") is None


def test_haste_is_no_roughness_where_all_are_taken_to_last_equally_long() -> None:
    """The same way in half the time: four times as rough by the clock, and as rough along the way."""
    quick = replace(done("ccol", 0, "11", {"0": 4.0, "1": 2.0}), lasted={"0": 1.0, "1": 1.0})
    slow = replace(done("lerobot.act", 0, "11"), lasted={"0": 2.0, "1": 2.0})
    one = table.beside([quick, slow], "pick_place", "ccol", "lerobot.act")
    assert one is not None
    assert (one.rough.times, one.rough.smoother, one.slower) == (3.0, 0, 0.5)
    assert (one.paced.times, one.paced.smoother) == (0.75, 1)


def test_lines_join_the_seeds_of_a_method() -> None:
    (line,) = table.lines([done("ccol", 0, "1110"), done("ccol", 1, "10")], {"ccol": Pace((2.0, 4.0, 3.0), (1.0,), 5)})
    assert (line.trials, line.successes, line.by_seed, line.failures) == (6, 4, ("3/4", "1/2"), {"CON": 2})
    assert line.interval == pytest.approx((0.3000, 0.9032), abs=1e-4)
    assert (line.rough, line.rough_succeeded, line.took) == (1000.0, 1000.0, 2.25)
    assert (line.steps_a_second, line.plan) == (3.0, 5)


@pytest.mark.parametrize(
    ("ours", "theirs", "rougher", "pace", "held"),
    [
        ("1111111111", "0000000000", 0.5, 2.0, [True, True, True, True]),
        ("0000000000", "1111111111", 0.5, 2.0, [False, True, True, True]),
        ("1111111110", "1111111111", 0.5, 2.0, [True, True, True, True]),
        ("1111111111", "1111111111", 1.5, 0.9, [True, False, False, False]),
    ],
)
def test_claims_hold_when_nothing_is_lost_and_it_is_smoother_and_not_slower(
    ours: str,
    theirs: str,
    rougher: float,
    pace: float,
    held: list[bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(beside, "FILE", tmp_path / "bench.json")
    found = [
        done("ccol", 0, ours, {str(start): rougher for start in range(10)}, plans=rougher),
        done("lerobot.act", 0, theirs),
    ]
    timed = {"ccol": Pace((pace,) * 3, (1.0,), 1.0), "lerobot.act": Pace((1.0,) * 3, (1.0,), 1.0)}
    assert bench_learners.claims(table.comparisons(found), timed) == held


def test_a_task_whose_station_is_not_here_is_left_out_and_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(recipes.CELLS, "elsewhere", replace(recipes.CELLS["pick_place"], station="nosuch"))
    assert bench_learners.main([*SHORT, "--tasks", "elsewhere"]) == 2
    said = capsys.readouterr()
    assert re.search(r"elsewhere is left out: .*nosuch", said.out)
    assert "nothing is left" in said.err
    assert not (home / "episodes").exists()
