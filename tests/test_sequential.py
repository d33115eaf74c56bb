"""A comparison that one may look at after every pair says "better" of an equal seldom, and of a better one in time."""

from functools import cache
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from ops.sequential import LEVEL, MOST, POWER, decide, detectable, evidence, forecast, foretold, needed


def stopped(old: float, new: float, trials: int, batches: int, seed: int) -> NDArray[np.int64]:
    """After how many pairs each of many batches is decided for the new policy, looking every time; 0: never."""
    chance = np.random.default_rng(seed)
    first, second = chance.random((batches, trials)) < new, chance.random((batches, trials)) < old
    wins, losses = (first & ~second).cumsum(1), (second & ~first).cumsum(1)
    ends = np.zeros(batches, np.int64)
    pairs = {*zip(wins.ravel().tolist(), losses.ravel().tolist(), strict=True)}
    known = {pair: decide(*pair) == "better" for pair in pairs}
    for number, (won, lost) in enumerate(zip(wins.tolist(), losses.tolist(), strict=True)):
        ends[number] = next((n for n, pair in enumerate(zip(won, lost, strict=True), start=1) if known[pair]), 0)
    return ends


@pytest.mark.parametrize("rate", [0.2, 0.7, 0.95])
def test_of_2000_batches_of_equals_at_most_one_in_20_promotes_however_often_one_looks(rate: float) -> None:
    assert (stopped(rate, rate, 200, 2000, seed=3) > 0).mean() <= LEVEL


def test_looking_at_the_exact_test_after_every_pair_would_promote_far_more() -> None:
    """What the e-value is for: the fixed-size test, looked at as often, is wrong several times as often."""
    from ops.rates import mcnemar

    chance, p = np.random.default_rng(3), cache(mcnemar)
    wrong = 0
    for _ in range(300):
        first, second = chance.random(200) < 0.5, chance.random(200) < 0.5
        wins, losses = (first & ~second).cumsum(), (second & ~first).cumsum()
        wrong += any(a > b and p(int(a), int(b)) < 2 * LEVEL for a, b in zip(wins, losses, strict=True))
    assert wrong / 300 > 2 * LEVEL


def test_thirty_points_are_found_within_the_pairs_that_were_forecast() -> None:
    ends = stopped(0.5, 0.8, 200, 1000, seed=4)
    assert (ends > 0).mean() > 0.99
    assert np.where(ends > 0, ends, 200).mean() == pytest.approx(forecast(0.5, 0.8, 200).mean, rel=0.05)
    assert ((ends > 0) & (ends <= (needed(0.5, 0.8) or 0))).mean() == pytest.approx(POWER, abs=0.05)


def test_evidence_is_the_mean_of_bets_on_every_share_above_one_half() -> None:
    shares = np.linspace(0.5, 1, 200_001)
    for wins, losses in product((0, 1, 5, 12), (0, 2, 7)):
        bets = (2 * shares) ** wins * (2 * (1 - shares)) ** losses
        assert evidence(wins, losses) == pytest.approx(np.trapezoid(bets, shares) * 2, rel=1e-6)


def test_a_bet_is_fair_against_an_equal() -> None:
    """At one half, what is expected of the stake after the next pair is what it is: no more for any history."""
    for wins, losses in product(range(12), range(12)):
        after = (evidence(wins + 1, losses) + evidence(wins, losses + 1)) / 2
        assert after == pytest.approx(evidence(wins, losses))


def test_nothing_is_decided_by_nothing_and_sides_are_alike() -> None:
    assert evidence(0, 0) == pytest.approx(1.0)
    assert decide(0, 0) == "open"
    assert (decide(9, 0), decide(0, 9), decide(9, 9)) == ("better", "worse", "open")
    assert decide(9, 0, level=1e-6) == "open"


def test_what_so_many_trials_can_tell_is_said_beforehand() -> None:
    found = detectable(0.5, 50)
    assert found is not None
    assert forecast(0.5, found, 50).chance >= POWER > forecast(0.5, found - 0.01, 50).chance
    assert detectable(0.5, 5) is None
    assert needed(0.5, 0.5) is None
    assert needed(0.8, 0.81) is None
    within = needed(0.5, 0.8)
    assert within is not None
    assert forecast(0.5, 0.8, within).chance >= POWER > forecast(0.5, 0.8, within - 1).chance


def test_it_is_said_in_words_beforehand() -> None:
    assert foretold(0.5, 50) == "50 trials of each tell 50% from 82%, four times in five"
    assert (
        foretold(0.9, 20)
        == f"20 trials of each cannot tell 90% from anything better; {needed(0.9, 1.0)} would tell it from 100%"
    )
    assert foretold(0.5, 100_000) == foretold(0.5, MOST)
    assert foretold(1.0, 20) == "20 trials of each cannot tell 100% from anything better"


def test_a_forecast_is_a_distribution_and_counts_what_is_never_decided() -> None:
    seen = forecast(0.5, 1.0, 30)
    assert 0 < seen.chance <= 1
    assert forecast(0.0, 0.0, 10).chance == 0
    assert forecast(0.0, 0.0, 10).mean == 10
    assert forecast(0.0, 1.0, 10).within(1.0) == next(n for n in range(1, 10) if decide(n, 0) == "better")


@pytest.mark.parametrize(("old", "new", "trials"), [(-0.1, 0.5, 5), (0.5, 1.1, 5), (0.5, 0.6, 0)])
def test_rates_and_trials_make_sense(old: float, new: float, trials: int) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1|at least one trial"):
        forecast(old, new, trials)
