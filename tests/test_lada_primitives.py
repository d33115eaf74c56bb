"""Motions are called what they are, and what they are called can be read back."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from learners.lada.lada import named
from learners.lada.primitives import Labels, Primitives
from learners.lada.words import HANDS, TURNS, WAYS, Motion, examples, read, sentence
from tests.lada import HANDED, settings, windows

torch.set_num_threads(1)

STEPS = 5


def chunk(
    way: Sequence[float] = (0, 0, 0),
    turn: Sequence[float] = (0, 0, 0),
    hand: float = 0.08,
) -> Tensor:
    """A chunk (1, 5, 7) that goes evenly ``way`` (m), turns by ``turn`` (degrees), and leaves the hand so."""
    share = torch.linspace(1 / STEPS, 1, STEPS)[:, None]
    moved = [share * torch.tensor(way), share * torch.tensor([math.radians(each) for each in turn])]
    return torch.cat([*moved, torch.full((STEPS, 1), hand)], dim=-1)[None].float()


def said(plan: Tensor, how: Primitives = HANDED) -> Motion:
    codes = how.codes(how.label(plan))
    return how.motion(codes[0, 0])


@pytest.mark.parametrize("number", range(6))
def test_six_moves_along_the_axes_have_six_names(number: int) -> None:
    way = np.zeros(3)
    way[number // 2] = 0.05 * (-1) ** number
    moved = said(chunk(way.tolist()))
    assert moved == Motion(WAYS[number + 1], "", "open", 0.05)
    assert moved.way == ["forward", "backward", "left", "right", "up", "down"][number]


@pytest.mark.parametrize("number", range(6))
def test_six_turns_about_the_axes_have_six_names(number: int) -> None:
    turn = np.zeros(3)
    turn[number // 2] = 20 * (-1) ** number
    assert said(chunk(turn=turn.tolist())) == Motion("", TURNS[number + 1], "open", None, 20)


def test_what_is_below_the_threshold_is_none() -> None:
    assert said(chunk((0.0049, 0, 0), (1.9, 0, 0))) == Motion()
    assert said(chunk((0.0051, 0, 0), (0, 0, -2.1))) == Motion("forward", "-z", "open", 0.01, 5)
    # It is the whole way that counts: three small parts are one that is large enough.
    assert said(chunk((0.003, 0.003, 0.0035))).way == "up"


def test_thresholds_and_bins_are_settings() -> None:
    coarse = replace(HANDED, least_way=0.06, least_turn=30.0)
    assert said(chunk((0.05, 0, 0), (0, 20, 0)), coarse) == Motion()
    fine = replace(HANDED, way_bin=0.001, turn_bin=1.0)
    assert said(chunk((0.043, 0, 0), (0, 17, 0)), fine) == Motion("forward", "y", "open", 0.043, 17)
    assert said(chunk((0.043, 0, 0), (0, 17, 0))) == Motion("forward", "y", "open", 0.04, 15)


def test_the_largest_of_several_ways_gives_the_name() -> None:
    assert said(chunk((0.02, -0.05, 0.03), (5, 0, -12))) == Motion("right", "-z", "open", 0.05, 10)


def test_a_window_names_its_own_steps_alone() -> None:
    plan = chunk((0.05, 0, 0))
    plan[0, 2:, 1] = 0.2
    assert said(plan).way == "left"
    assert said(plan, replace(HANDED, window=2)).way == "forward"


def test_a_hand_closes_when_it_is_clearly_asked_to_and_stays_what_it_was_in_between() -> None:
    def hand(*openings: float) -> str:
        plan = chunk().repeat(1, 1, 1)
        plan[0, :, 6] = torch.tensor([*openings, *[openings[-1]] * (STEPS - len(openings))])
        return said(plan).hand

    assert hand(0.08) == "open"
    assert hand(0.0) == "close"
    assert hand(0.08, 0.0) == "close"
    assert hand(0.0, 0.08) == "open"
    # 0.039 m is past the middle by less than a tenth of half the reach: no news.
    assert hand(0.08, 0.039) == "open"
    assert hand(0.0, 0.041) == "close"
    assert hand(0.08, 0.035) == "close"
    # Nothing is clear: the first step's side.
    assert hand(0.039, 0.041) == "close"


def test_in_the_tools_frame_a_motion_is_named_by_the_tools_axes() -> None:
    """A tool that points down, turned half around x: its z is down, its y is right."""
    state = torch.zeros(1, 1, 17)
    state[0, 0, -7:-1] = torch.tensor([1.0, 0, 0, 0, -1, 0])
    tool = replace(HANDED, frame="tool")
    for way, name in (((0, 0, -0.05), "up"), ((0, -0.05, 0), "left"), ((0.05, 0, 0), "forward")):
        codes = tool.codes(tool.label(chunk(way), state))
        assert tool.motion(codes[0, 0]).way == name
    with pytest.raises(ValueError, match="give the state"):
        tool.label(chunk())


def test_two_arms_are_named_each_by_itself_left_first() -> None:
    plan = torch.cat([chunk((0.05, 0, 0)), chunk((0, 0, -0.1), hand=0.0)], dim=-1)
    labels = HANDED.label(plan)
    assert labels.classes.tolist() == [[[1, 0, 0], [6, 0, 1]]]
    (text,) = HANDED.words(HANDED.codes(labels))
    assert text == (
        "left arm: move 0.05 meters forward, keep the orientation, and open the gripper; "
        "right arm: move 0.1 meters down, keep the orientation, and close the gripper"
    )
    assert read(text) == [Motion("forward", "", "open", 0.05), Motion("down", "", "close", 0.1)]


def test_labels_do_not_depend_on_who_else_is_labelled() -> None:
    plan = torch.from_numpy(windows(settings()).plan[:])
    whole: Labels = HANDED.label(plan)
    order = torch.randperm(len(plan))
    torch.testing.assert_close(HANDED.label(plan[order]).classes, whole.classes[order])


def test_a_sentence_of_the_paper() -> None:
    whole = Motion("forward", "z", "close", 0.5, 90)
    assert str(whole) == "move 0.5 meters forward, rotate 90 degrees around the z-axis, and close the gripper"
    assert str(replace(whole, turn="-z")).split(", ")[1] == "rotate 90 degrees around the -z-axis"


MOTIONS = st.builds(
    lambda way, turn, hand, far, angle: Motion(
        way, turn, hand, round(far * 0.01, 6) if way else None, angle * 5.0 if turn else None
    ),
    *map(st.sampled_from, (WAYS, TURNS, HANDS)),
    far=st.integers(0, 200),
    angle=st.integers(0, 36),
)


@given(st.lists(MOTIONS, min_size=1, max_size=2))
def test_what_is_said_can_be_read_back(motions: list[Motion]) -> None:
    assert read(sentence(motions)) == motions
    bare = [replace(each, distance=None, angle=None) for each in motions]
    assert read(sentence(bare)) == bare


@given(st.lists(MOTIONS, min_size=1, max_size=2))
def test_what_is_stored_says_the_same(motions: list[Motion]) -> None:
    codes = [[*each.code, round((each.distance or 0) * 100), round((each.angle or 0) / 5)] for each in motions]
    assert HANDED.words(np.array([codes], np.uint16)) == [sentence(motions)]
    bare = [replace(each, distance=None, angle=None) for each in motions]
    assert HANDED.words(np.array([codes]), magnitude=False) == HANDED.words(np.array([codes])[..., :3])
    assert HANDED.words(np.array([codes]), magnitude=False) == [sentence(bare)]


def test_all_98_classes_have_a_sentence_of_their_own() -> None:
    every = examples()[: len(WAYS) * len(TURNS) * len(HANDS)]
    assert len({*every}) == 98
    assert [Motion.said(text).code for text in every] == [
        (way, turn, hand) for way in range(7) for turn in range(7) for hand in range(2)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "move 0.1 meters forward",
        "move 0.1 meters sideways, keep the orientation, and open the gripper",
        "stay, rotate 5 degrees around the w-axis, and open the gripper",
        "stay, keep the orientation, and drop the gripper",
        "move far meters up, keep the orientation, and open the gripper",
        "left arm: stay, keep the orientation, and open the gripper",
    ],
)
def test_what_is_no_primitive_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no primitive|no right one"):
        read(text)


def test_how_far_a_hand_opens_is_measured_and_what_is_given_stays() -> None:
    openings = np.concatenate([np.full(50, 0.0801), np.full(50, 0.0102)])
    assert Primitives().measured(openings) == Primitives(open=0.08, closed=0.01)
    assert Primitives(open=0.1).measured(openings) == Primitives(open=0.1, closed=0.01)
    assert HANDED.measured(openings) == HANDED
    still = Primitives().measured(np.full(9, 0.04))
    assert said(chunk(hand=0.04), still).hand == "open"
    with pytest.raises(ValueError, match="measured first"):
        Primitives().label(chunk())


def test_labels_of_joints_are_refused() -> None:
    with pytest.raises(ValueError, match="7 numbers of each arm"):
        HANDED.label(torch.zeros(2, 5, 8))


def test_another_meaning_has_another_digest() -> None:
    same = Primitives.said({"primitives": HANDED.facts["primitives"]})
    assert same == HANDED
    assert same.digest == HANDED.digest
    others = [replace(HANDED, frame="tool"), replace(HANDED, least_way=0.01), replace(HANDED, window=3)]
    assert len({each.digest for each in [HANDED, *others]}) == 4


@pytest.mark.parametrize("arms", [1, 2])
def test_every_window_has_its_label(arms: int) -> None:
    data = windows(settings(), arms=arms)
    codes = named(data, HANDED, at_once=7)
    assert codes.shape == (len(data), arms, 5)
    assert codes.dtype == np.uint16
    whole = HANDED.codes(HANDED.label(torch.from_numpy(data.plan[:])))
    np.testing.assert_array_equal(codes, whole)
