"""A batch of trials is fair, blind, written down before it runs, and survives what happens to it."""

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from ops import rollout
from ops.judging.judgement import Judgement
from ops.results import enough
from ops.rollout import UNSEEN, Turn, plan, run
from storage import Batch, Catalog, Episode, EpisodeRow, Outcome, PolicyRow, Task, Trial, Unknown, Wanted, WorkOrder

SUCCESS = Judgement(Outcome.SUCCESS, None, None, ("recovered:LOC",), {"row": 3}, "S5")
MISSED = Judgement(Outcome.FAILURE, "S1", "LOC", (), {"row": 3}, "S1")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.add(Task(name="sort", instruction="put the red cube on the yellow pad"))
    return catalog


@pytest.fixture
def policies(catalog: Catalog) -> list[PolicyRow]:
    rows = [PolicyRow(name=f"{name}-1", method=name, task="sort", path="-", digest="-") for name in ("ccol", "nearest")]
    catalog.add(*rows)
    return rows


@pytest.fixture
def batch(catalog: Catalog, policies: list[PolicyRow]) -> Batch:
    return plan(catalog, "sort", policies, trials=3, seed=5, station="franka-sim")


def attempting(catalog: Catalog, judgement: Judgement = SUCCESS) -> Callable[[Trial], tuple[UUID, Judgement]]:
    """Catalogue an episode for a trial and judge it so."""

    def attempt(trial: Trial) -> tuple[UUID, Judgement]:
        row = EpisodeRow(
            id=uuid4(), task="sort", agent="policy", path="-", digest="-", seconds=1, started=datetime.now(UTC)
        )
        catalog.add(row)
        return row.id, judgement

    return attempt


def test_every_trial_is_written_down_before_any_runs(catalog: Catalog, batch: Batch) -> None:
    trials = catalog.trials(batch.id)
    assert [trial.turn for trial in trials] == list(range(6))
    assert all(trial.episode is None and trial.claimed_by is None for trial in trials)
    assert (batch.planned, batch.seed, batch.station, batch.closed) == (6, 5, "franka-sim", None)


def test_every_policy_gets_the_same_unseen_starts(catalog: Catalog, batch: Batch, policies: list[PolicyRow]) -> None:
    seeds = [
        sorted(trial.condition["seed"] for trial in catalog.trials(batch.id) if trial.policy == policy.id)
        for policy in policies
    ]
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 3
    assert min(seeds[0]) >= UNSEEN


def test_every_policy_is_tried_from_a_start_before_any_is_from_the_next(
    catalog: Catalog, policies: list[PolicyRow]
) -> None:
    trials = catalog.trials(plan(catalog, "sort", policies, 12, 3, "franka-sim").id)
    pairs = [trials[at : at + 2] for at in range(0, 24, 2)]
    assert all(len({one.condition["seed"] for one in pair}) == 1 for pair in pairs)
    assert all({one.policy for one in pair} == {row.id for row in policies} for pair in pairs)
    assert len({pair[0].policy for pair in pairs}) == 2


@pytest.mark.parametrize(("early", "ran"), [(True, 14), (False, 40)])
def test_a_batch_ends_once_it_is_decided_if_that_is_wished(
    catalog: Catalog, policies: list[PolicyRow], early: bool, ran: int, tmp_path: Path
) -> None:
    """Seven wins of seven decide; each pair takes two turns."""
    batch = plan(catalog, "sort", policies, 20, 3, "franka-sim")
    well, badly = attempting(catalog), attempting(catalog, MISSED)

    def attempt(trial: Trial) -> tuple[UUID, Judgement]:
        return (well if trial.policy == policies[0].id else badly)(trial)

    wished = functools.partial(enough, catalog, batch.id) if early else lambda: ""
    assert run(catalog, batch, attempt, "me", tmp_path, enough=wished) == ran
    assert catalog.batch(batch.id).closed is not None
    assert catalog.batch(batch.id).ended == ("decided after 7 pairs" if early else "")


def test_equals_and_threes_go_on_to_the_end(catalog: Catalog, policies: list[PolicyRow], tmp_path: Path) -> None:
    batch = plan(catalog, "sort", policies, 20, 3, "franka-sim")
    assert run(catalog, batch, attempting(catalog), "me", tmp_path, enough=lambda: enough(catalog, batch.id)) == 40
    third = PolicyRow(name="clap-1", method="clap", task="sort", path="-", digest="-")
    catalog.add(third)
    assert enough(catalog, plan(catalog, "sort", [*policies, third], 3, 3, "franka-sim").id) == ""


def test_starts_that_fit_are_drawn_and_where_hardly_any_does_nothing_is_planned(
    catalog: Catalog, policies: list[PolicyRow]
) -> None:
    order = catalog.order(WorkOrder(task="sort", wanted=3))
    even = plan(catalog, "sort", policies, 5, 1, "franka-sim", order=order.id, fits=lambda start: start % 2 == 0)
    starts = {trial.condition["seed"] for trial in catalog.trials(even.id)}
    assert (len(starts), {start % 2 for start in starts}, even.order) == (5, {0}, order.id)
    assert min(starts) >= UNSEEN
    with pytest.raises(ValueError, match="of 500 starts only 0 fit, and 5 are needed"):
        plan(catalog, "sort", policies, 5, 1, "franka-sim", fits=lambda _: False)
    assert len(catalog.batches("sort")) == 1


def test_the_order_is_shuffled_and_follows_from_the_seed(catalog: Catalog, policies: list[PolicyRow]) -> None:
    def order(seed: int) -> list[tuple[UUID, int]]:
        trials = catalog.trials(plan(catalog, "sort", policies, 10, seed, "franka-sim").id)
        return [(trial.policy, trial.condition["seed"]) for trial in trials]

    assert order(1) == order(1)
    assert order(1) != order(2)
    by_turns = [policy for policy, _ in order(1)]
    assert by_turns not in ([p.id for p in policies] * 10, [p.id for p in policies for _ in range(10)])
    assert {start for _, start in order(1)}.isdisjoint(start for _, start in order(2))


def test_no_start_is_one_that_demonstrations_use(
    catalog: Catalog, policies: list[PolicyRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for ten seeds only, all of them lie above those of demonstrations."""
    monkeypatch.setattr(rollout, "LAST", UNSEEN + 10)
    batch = plan(catalog, "sort", policies, 10, 1, "franka-sim")
    starts = {trial.condition["seed"] for trial in catalog.trials(batch.id)}
    assert starts == set(range(UNSEEN, UNSEEN + 10))


@pytest.mark.parametrize(("trials", "seed", "why"), [(0, 1, "at least one trial"), (1, -1, "seed")])
def test_a_plan_that_makes_no_sense_is_refused(
    catalog: Catalog, policies: list[PolicyRow], trials: int, seed: int, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        plan(catalog, "sort", policies, trials, seed, "franka-sim")


def test_a_plan_needs_policies_and_each_of_them_once(catalog: Catalog, policies: list[PolicyRow]) -> None:
    with pytest.raises(ValueError, match="at least one policy"):
        plan(catalog, "sort", [], 1, 1, "franka-sim")
    with pytest.raises(ValueError, match="ccol-1"):
        plan(catalog, "sort", [policies[0], *policies], 1, 1, "franka-sim")
    with pytest.raises(Unknown):
        plan(catalog, "fold", policies, 1, 1, "franka-sim")


def test_the_batch_closes_with_its_last_trial(catalog: Catalog, batch: Batch, tmp_path: Path) -> None:
    open_when_told: list[bool] = []

    def tell(turn: Turn) -> None:
        open_when_told.append(catalog.batch(batch.id).closed is None)

    assert run(catalog, batch, attempting(catalog), "me", tmp_path, tell) == 6
    assert open_when_told == [True] * 5 + [False]
    assert run(catalog, batch, attempting(catalog), "me", tmp_path) == 0


def test_every_trial_gets_an_automatic_verdict_with_its_evidence(
    catalog: Catalog, batch: Batch, tmp_path: Path
) -> None:
    run(catalog, batch, attempting(catalog, MISSED), "me", tmp_path)
    for trial in catalog.trials(batch.id):
        assert trial.episode is not None
        (verdict,) = catalog.verdicts(trial.episode)
        assert (verdict.outcome, verdict.failure, verdict.stage) == (Outcome.FAILURE, "LOC", "S1")
        assert (verdict.labelled_by, verdict.by) == ("auto", "me")
        assert verdict.evidence == {"row": 3, "reached": "S1"}


def test_progress_tells_the_turn_and_the_outcome_and_nothing_of_the_policy(
    catalog: Catalog, batch: Batch, policies: list[PolicyRow], tmp_path: Path
) -> None:
    told: list[Turn] = []
    run(catalog, batch, attempting(catalog), "me", tmp_path, told.append)
    assert told == [Turn(turn, 6, Outcome.SUCCESS) for turn in range(1, 7)]
    for policy in policies:
        assert not any(word in repr(told) for word in (policy.name, policy.method, str(policy.id)))


def test_an_attempt_that_breaks_makes_one_invalid_trial_and_the_others_go_on(
    catalog: Catalog, batch: Batch, tmp_path: Path
) -> None:
    good, told = attempting(catalog), list[Turn]()

    def attempt(trial: Trial) -> tuple[UUID, Judgement]:
        if trial.turn == 2:
            raise RuntimeError("the checkpoint is torn")
        return good(trial)

    assert run(catalog, batch, attempt, "me", tmp_path, told.append) == 6
    assert [turn.outcome for turn in told] == [*[Outcome.SUCCESS] * 2, Outcome.INVALID, *[Outcome.SUCCESS] * 3]
    broken = catalog.trials(batch.id)[2]
    assert broken.episode is not None
    (verdict,) = catalog.verdicts(broken.episode)
    assert (verdict.outcome, verdict.failure, verdict.stage) == (Outcome.INVALID, "ENV", "S0")
    assert "the checkpoint is torn" in verdict.note
    assert catalog.batch(batch.id).closed is not None


def test_a_trial_that_could_not_run_leaves_an_episode_that_says_why(
    catalog: Catalog, batch: Batch, tmp_path: Path
) -> None:
    def attempt(trial: Trial) -> tuple[UUID, Judgement]:
        raise RuntimeError("the checkpoint is torn")

    run(catalog, batch, attempt, "me", tmp_path)
    row = catalog.find(Wanted(task="sort"))[0].row
    assert (row.agent, row.ended_by, row.station) == ("policy", "fault", "franka-sim")
    assert row.condition == catalog.trials(batch.id)[0].condition
    assert Episode(tmp_path / row.path).attributes["error"] == "RuntimeError: the checkpoint is torn"


def test_an_interrupted_trial_is_given_back(catalog: Catalog, batch: Batch, tmp_path: Path) -> None:
    def stopped(trial: Trial) -> tuple[UUID, Judgement]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(catalog, batch, stopped, "me", tmp_path)
    assert run(catalog, batch, attempting(catalog), "you", tmp_path) == 6


def work(database: Path, batch: str, by: str, root: Path) -> None:
    with Catalog(database) as catalog:
        run(catalog, catalog.batch(batch), attempting(catalog), by, root)


def test_two_workers_share_a_batch_and_run_no_trial_twice(
    catalog: Catalog, policies: list[PolicyRow], tmp_path: Path
) -> None:
    batch = plan(catalog, "sort", policies, trials=8, seed=1, station="franka-sim")
    spawn = get_context("spawn")
    workers = [spawn.Process(target=work, args=(tmp_path / "catalog.db", batch.id, by, tmp_path)) for by in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    trials = catalog.trials(batch.id)
    assert len({trial.episode for trial in trials}) == 16
    assert catalog.count(Wanted(task="sort")) == 16
    assert {trial.claimed_by for trial in trials} <= {"a", "b"}
    assert catalog.batch(batch.id).closed is not None


def test_a_trial_that_another_has_run_meanwhile_ends_nobody_s_work(
    catalog: Catalog, batch: Batch, tmp_path: Path
) -> None:
    """As when a machine stood still, its trials were given back, and it goes on: the first result counts."""
    sooner: list[UUID] = []

    def overtaken(trial: Trial) -> tuple[UUID, Judgement]:
        if not sooner:
            sooner.append(attempting(catalog)(trial)[0])
            catalog.close_trial(trial, sooner[0])
        return attempting(catalog)(trial)

    told: list[Turn] = []
    assert run(catalog, batch, overtaken, "me", tmp_path, told.append) == batch.planned - 1 == len(told)
    assert catalog.trials(batch.id)[0].episode == sooner[0]
    assert catalog.batch(batch.id).closed is not None
