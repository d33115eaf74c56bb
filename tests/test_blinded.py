"""What is told of trials while they run says how they go, and never whose they were."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from ops.blinded import SoFar, so_far
from ops.judging.judgement import Judgement, invalid
from ops.rollout import plan, run
from storage import Batch, Catalog, PolicyRow, Task, Trial
from tests.takes import TASK
from tests.test_report import SUCCESS, entered, failure, policy

DROP = failure("DROP", "S3")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "catalog.db") as opened:
        opened.add(Task(name="sort", instruction=TASK))
        yield opened


def watched(catalog: Catalog, policies: list[PolicyRow], said: dict[str, list[Judgement]]) -> tuple[Batch, list[SoFar]]:
    """Run a batch in which each policy does as is said of it, and look before each trial and after the last."""
    n = len(next(iter(said.values())))
    batch = plan(catalog, "sort", policies, n, seed=1, station="franka-sim")
    names = {row.id: row.name for row in policies}
    starts = sorted({trial.condition["seed"] for trial in catalog.trials(batch.id)})
    looks: list[SoFar] = []

    def attempt(trial: Trial) -> tuple[UUID, Judgement]:
        looks.append(so_far(catalog, batch.id))
        return entered(catalog, Path(), trial), said[names[trial.policy]][starts.index(trial.condition["seed"])]

    run(catalog, batch, attempt, "ada", Path())
    return batch, [*looks, so_far(catalog, batch.id)]


def test_one_policy_has_its_rate_and_its_interval(catalog: Catalog) -> None:
    bad = invalid("unplugged")
    _, looks = watched(catalog, [policy(catalog, "a-1")], {"a-1": [SUCCESS, DROP, bad, SUCCESS]})
    assert (looks[0].done, looks[0].left, looks[0].says) == (0, 4, ("n=0: no valid trial", "4 trials left"))
    last = looks[-1]
    assert (last.done, last.trials, last.successes, last.invalid, last.pairs) == (4, 3, 2, 1, None)
    assert last.says == ("n=3: 67% [21, 94], 1 invalid", "0 trials left")


def test_of_two_it_is_told_how_many_more_starts_decide_and_then_that_it_is_decided(catalog: Catalog) -> None:
    both = [policy(catalog, "a-1"), policy(catalog, "b-1")]
    _, looks = watched(catalog, both, {"a-1": [SUCCESS] * 8, "b-1": [DROP] * 8})
    pairs = [look.pairs for look in looks if look.pairs is not None]
    assert [one.starts for one in pairs] == [k // 2 for k in range(17)]
    least = {one.starts: one.least for one in pairs if not one.decided}
    assert all(least[k] == least[0] - k for k in least), "each start that tells them apart is one less to come"
    assert pairs[-1].decided
    assert "decided which is better" in looks[-1].says[1]
    assert looks[6].says[1].endswith("10 trials left")
    assert "told them apart; decided after" in looks[6].says[1]
    assert "likely after" in looks[6].says[1]
    assert looks[6].says[0].startswith("n=6: 50%")
    assert "of both together" in looks[6].says[0]


def test_it_is_the_same_whoever_of_the_two_is_the_better_one(catalog: Catalog) -> None:
    """Nothing that is told of a batch would be otherwise if the two had changed places."""
    mixed = [SUCCESS, DROP, SUCCESS, SUCCESS, invalid("unplugged"), SUCCESS]
    said = {"a-1": mixed, "b-1": [DROP, DROP, DROP, SUCCESS, DROP, DROP]}
    both = [policy(catalog, "a-1"), policy(catalog, "b-1")]
    _, one = watched(catalog, both, said)
    _, other = watched(catalog, both, {"a-1": said["b-1"], "b-1": said["a-1"]})
    assert [(look.done, look.pairs) for look in one[::2]] == [(look.done, look.pairs) for look in other[::2]]


def test_what_sets_two_apart_is_told_only_once_both_were_tried_from_a_start(catalog: Catalog) -> None:
    """Else who was not tried from it yet would be known to drive next."""
    both = [policy(catalog, "a-1"), policy(catalog, "b-1")]
    _, looks = watched(catalog, both, {"a-1": [SUCCESS, DROP, SUCCESS, DROP], "b-1": [DROP, SUCCESS, DROP, DROP]})
    assert [look.pairs for look in looks[2:-1:2]] == [look.pairs for look in looks[3::2]]


def test_trials_that_can_no_longer_decide_are_told_to_be_such(catalog: Catalog) -> None:
    both = [policy(catalog, "a-1"), policy(catalog, "b-1")]
    _, looks = watched(catalog, both, {"a-1": [SUCCESS, DROP], "b-1": [DROP, SUCCESS]})
    assert "the 2 trials left can no longer decide" in looks[2].says[1]


def test_of_three_only_the_rate_of_all_is_told(catalog: Catalog) -> None:
    three = [policy(catalog, name) for name in ("a-1", "b-1", "c-1")]
    _, looks = watched(catalog, three, {row.name: [SUCCESS] for row in three})
    assert looks[-1].pairs is None
    assert looks[-1].trials == 3
