"""A weakness that was planted heads the list of what to ask for, and chance alone orders little."""

from collections.abc import Callable

import numpy as np
import pytest

from ops.slices import Bound, Slice, Start, slices
from ops.work_orders import LEAST, Tried, propose


def starts(number: int, seed: int = 0) -> list[Start]:
    """Cubes anywhere on the table."""
    random = np.random.default_rng(seed)
    low, high = (0.40, -0.14, -0.8), (0.64, 0.14, 0.8)
    return [dict(zip(("x", "y", "yaw"), map(float, random.uniform(low, high)), strict=True)) for _ in range(number)]


def trials(begun: list[Start], fails: Callable[[Start], str | None]) -> list[Tried]:
    return [Tried(start, fails(start), str(number)) for number, start in enumerate(begun)]


def left(start: Start) -> bool:
    return float(start["y"]) > 0


def test_a_half_that_was_never_shown_heads_the_list() -> None:
    found = propose(
        trials(starts(40), lambda start: "LOC" if left(start) else None),
        [start for start in starts(100, 1) if not left(start)],
        seconds=20,
    )
    assert found[0].where.words == "left half"
    assert (found[0].code, found[0].shown) == ("LOC", 0)
    assert found[0].minutes == pytest.approx(12 * 20 / 60)
    assert "12 demonstrations: left half (failed in" in found[0].words


def test_it_does_so_though_the_policy_fails_elsewhere_now_and_then() -> None:
    random = np.random.default_rng(3)

    def fails(start: Start) -> str | None:
        return "LOC" if random.random() < (0.85 if left(start) else 0.15) else None

    for seed in range(10):
        shown = [start for start in starts(100, 50 + seed) if not left(start)]
        best = propose(trials(starts(40, seed), fails), shown, seconds=20)[0]
        inside = [start for start in starts(200, 99) if best.where.holds(start)]
        assert np.mean([left(start) for start in inside]) > 0.9, best.where.words


def test_where_nothing_was_shown_failures_of_all_kinds_are_one_order() -> None:
    """As a policy that was shown the right third alone does: each code by itself is too rare to tell a part."""
    random = np.random.default_rng(0)

    def fails(start: Start) -> str | None:
        return str(random.choice(["LOC", "SEM-OBJ", "CON"])) if left(start) else None

    shown = [start for start in starts(100, 1) if not left(start)]
    best = propose(trials(starts(24, 7), fails), shown, seconds=20)[0]
    assert best.where.words == "left half"
    assert len(best.codes) == 3
    assert best.code == best.codes[0][0]
    assert sum(times for _, times in best.codes) == best.failures


def test_a_failure_that_is_everywhere_asks_for_demonstrations_anywhere() -> None:
    found = propose(trials(starts(40), lambda _: "DROP"), starts(50, 1), seconds=20)
    assert [one.where.words for one in found] == ["anywhere"]
    assert found[0].failures == 40


def test_two_weaknesses_become_two_orders_and_no_failure_is_taken_twice() -> None:
    def fails(start: Start) -> str | None:
        return "LOC" if left(start) else "CON" if float(start["x"]) > 0.52 else None

    found = propose(trials(starts(60), fails), starts(30, 1), seconds=20)
    assert {(one.code, one.where.bounds[0].feature) for one in found[:2]} == {("LOC", "y"), ("CON", "x")}
    taken = [episode for one in found for episode in one.episodes]
    assert len(taken) == len(set(taken))


def test_trials_that_another_order_took_are_still_trials_and_do_not_push_others_elsewhere() -> None:
    """On the left all fail, and every third trial on the right: that is no weakness of the right half."""
    codes = ("LOC", "LOC", "CON")

    def fails(n: int, start: Start) -> str | None:
        return codes[n % 3] if left(start) or n % 3 == 2 else None

    tried = [Tried(start, fails(n, start), str(n)) for n, start in enumerate(starts(120))]
    first, second = propose(tried, starts(30, 1), seconds=20)[:2]
    assert (first.where.words, [code for code, _ in first.codes]) == ("left half", ["LOC", "CON"])
    assert (second.where.words, second.code, second.trials) == ("anywhere", "CON", 120)
    assert second.failures < 30


def test_what_was_shown_often_brings_less_than_what_was_not() -> None:
    """The same failures: where nobody has shown anything, a demonstration brings more."""
    tried = trials(starts(40), lambda start: "LOC" if left(start) else None)
    bare, rich = (propose(tried, [start for start in starts(n, 1) if left(start)], 20)[0] for n in (0, 200))
    assert bare.gain > 3 * rich.gain


def test_a_few_failures_are_chance() -> None:
    few = LEAST - 1
    tried = [Tried(start, "LOC" if n < few else None, str(n)) for n, start in enumerate(starts(20))]
    assert propose(tried, [], 20) == []
    assert propose([], [], 20) == []


def test_chance_alone_names_no_part_more_often_than_it_may() -> None:
    """Failures strewn over all starts: the first order says "anywhere" far more often than not."""
    random = np.random.default_rng(5)
    first = [
        propose(trials(starts(40, seed), lambda _: "LOC" if random.random() < 0.4 else None), starts(100, 9), 20)[0]
        for seed in range(40)
    ]
    assert np.mean([not one.where.bounds for one in first]) > 0.8


def test_words_are_told_apart_by_what_they_say() -> None:
    begun: list[Start] = [{"thing": "red_cube"}, {"thing": "blue_cube"}, {"thing": "red_cube", "lighting": "3"}]
    found = {part.words: part for part in slices(begun)}
    assert set(found) == {"anywhere", "blue cube", "red cube", "3", "3, blue cube", "3, red cube"}
    assert [found["red cube"].holds(start) for start in begun] == [True, False, True]
    assert [found["3"].holds(start) for start in begun] == [False, False, True]


def test_a_slice_survives_json_and_nonsense_is_refused() -> None:
    part = Slice((Bound("y", 0.0, 0.14, "left half"), Bound("thing", "red_cube", "red_cube", "red cube")))
    assert Slice.said(part.facts) == part
    assert part.holds({"y": 0.1, "thing": "red_cube"})
    assert not part.holds({"y": 0.1})
    assert not part.holds({"thing": "red_cube", "y": "0.1"})
    with pytest.raises(ValueError, match="each bound has feature, low, high and words"):
        Slice.said([{"feature": "y"}])


def test_halves_and_thirds_cover_what_was_tried() -> None:
    begun: list[Start] = [{"y": value} for value in (-1.0, 0.2, 1.0)]
    found = {part.words: part for part in slices(begun)}
    assert set(found) == {"anywhere", "right half", "left half", "right third", "middle third", "left third"}
    ends = {words: [part.bounds[0].low, part.bounds[0].high] for words, part in found.items() if part.bounds}
    assert ends["left half"] == pytest.approx([0, 1])
    assert ends["middle third"] == pytest.approx([-1 / 3, 1 / 3])
    assert ends["left third"] == pytest.approx([1 / 3, 1])


def test_whatever_was_tried_is_in_one_of_the_halves_and_in_one_of_the_thirds() -> None:
    """The outermost starts as well, however their numbers are rounded."""
    for seed in range(50):
        begun = starts(10, seed)
        parts = [part for part in slices(begun) if len(part.bounds) == 1]
        for words in ("half", "third"):
            named = [part for part in parts if part.bounds[0].feature == "y" and words in part.words]
            assert all(any(part.holds(start) for part in named) for start in begun)
