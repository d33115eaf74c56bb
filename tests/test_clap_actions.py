"""An action token means the same on every robot: chunks become rows near [-1, 1], and rows become chunks again."""

import json
from dataclasses import replace
from math import cos, pi, radians, sin

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from torch import Tensor

from learners import Windows
from learners.body import ONE_ARM, Body
from learners.clap.actions import LEAST, Frame, Rotation, Schema, active, angles, scatter, still, turned
from learners.transforms import Floats, ToolView, quaternion, quaternion_product
from tests.motions import wandering, windows

torch.set_num_threads(1)

H = 6
PAIR = Body(12, 2)
SCHEMA = Schema(10.0, H, (-0.2,) * 6, (0.3,) * 6, 0.08, 0.0)


def chunks(count: int, body: Body = ONE_ARM) -> Windows:
    """Windows of arms that wander off from where they are."""
    return windows(wandering(count, H, body.arms), body)


@pytest.mark.parametrize("body", [ONE_ARM, PAIR])
@pytest.mark.parametrize("frame", ["base", "tool"])
@pytest.mark.parametrize("rotation", ["euler", "vector"])
def test_a_chunk_survives_as_rows(body: Body, frame: Frame, rotation: Rotation) -> None:
    data = chunks(64, body)
    schema = Schema.fit(data, frame, rotation)
    plan, state = torch.from_numpy(np.asarray(data.plan)), torch.from_numpy(np.asarray(data.state))
    rows, there = schema.rows(plan, state)
    assert rows.shape == (64, 2, H, 7)
    assert there.tolist() == [[body.arms == 2, True]] * 64
    torch.testing.assert_close(schema.plan(rows, body.arms, state), plan, atol=1e-5, rtol=1e-5)


@settings(deadline=None)
@given(arrays("f8", (3,), elements=st.floats(-0.8, 0.8)))
def test_angles_are_those_of_three_turns_about_fixed_axes_x_then_y_then_z(by: Floats) -> None:
    one, two, three = (quaternion(axis * turn) for axis, turn in zip(np.eye(3), by, strict=True))
    whole = quaternion_product(three, quaternion_product(two, one))
    back = turned(torch.from_numpy(by)).numpy()
    assert abs(quaternion(back) @ whole) == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(angles(torch.from_numpy(back)).numpy(), by, atol=1e-7)


@settings(deadline=None)
@given(arrays("f8", (3,), elements=st.floats(-1.7, 1.7)))
def test_any_turn_survives_as_angles_and_none_stays_none(turn: Floats) -> None:
    back = turned(angles(torch.from_numpy(turn))).numpy()
    assert abs(quaternion(back) @ quaternion(turn)) == pytest.approx(1, abs=1e-7)
    assert not angles(torch.zeros(3)).any()
    assert not turned(torch.zeros(3)).any()


def test_a_pitch_past_what_numbers_hold_is_a_right_angle_and_not_nan() -> None:
    over = torch.tensor([0.0, pi / 2, 0.0]) * (1 + 1e-7)
    assert angles(over)[1].item() == pytest.approx(pi / 2, abs=1e-3)
    assert torch.isfinite(angles(torch.tensor([[0.0, pi / 2, 0.0]]))).all()


def schema_in_degrees(frame: Frame = "base") -> Schema:
    """A schema whose rows are angles in degrees."""
    degree = radians(1)
    return Schema(10.0, 1, (-1.0,) * 3 + (-degree,) * 3, (1.0,) * 3 + (degree,) * 3, 0.08, 0.0, frame)


def test_ten_degrees_about_the_bases_upright_axis_are_the_third_angle_however_the_tool_is_held() -> None:
    """R' R^T turns in the base's frame: the same ten degrees whether the tool hangs, leans or lies."""
    turn = quaternion(np.array([0.0, 0.0, radians(10)]))
    for held in ([1.0, 0, 0, 0], [0, 1.0, 0, 0], [cos(0.4), 0, sin(0.4), 0]):
        here = np.array([[0.4, 0, 0.3, *held]])
        there = np.concatenate([here[:, :3], quaternion_product(turn, here[:, 3:])], axis=-1)
        target = {"tool_target": there[:, None], "width_target": np.array([[0.08]])}
        rows, _ = schema_in_degrees().rows(torch.from_numpy(ToolView().encode(target, {"tool": here})))
        np.testing.assert_allclose(rows[0, 1, 0], [0, 0, 0, 0, 0, 10, -1], atol=1e-5)


def test_in_the_tools_frame_the_same_turn_is_told_along_the_tools_own_axes() -> None:
    """A tool that points down has its z axis downwards: ten degrees about up are minus ten about it."""
    state = torch.zeros(1, 1, ONE_ARM.width)
    state[0, 0, -7:-1] = torch.tensor([1.0, 0, 0, 0, -1.0, 0])
    plan = torch.tensor([[[0.1, 0.2, 0.3, 0, 0, radians(10), 0.0]]])
    rows, _ = schema_in_degrees("tool").rows(plan, state)
    np.testing.assert_allclose(rows[0, 1, 0], [0.1, -0.2, -0.3, 0, 0, -10, 1], atol=1e-5)
    with pytest.raises(ValueError, match="give the state"):
        schema_in_degrees("tool").rows(plan)


def test_where_the_command_is_where_the_tool_is_there_is_no_motion() -> None:
    here = np.array([[0.4, -0.1, 0.3, 0.5, 0.5, -0.5, 0.5]])
    target = {"tool_target": here[:, None], "width_target": np.array([[0.04]])}
    plan = torch.from_numpy(ToolView().encode(target, {"tool": here}))
    symmetric = replace(SCHEMA, steps=1, low=(-0.3,) * 6)
    rows, _ = symmetric.rows(plan)
    torch.testing.assert_close(rows, torch.zeros_like(rows), atol=1e-12, rtol=0)


def test_an_open_hand_is_minus_one_and_a_closed_one_plus_one() -> None:
    plan = torch.zeros(1, 3, 7)
    plan[0, :, 6] = torch.tensor([0.08, 0.0, 0.02])
    rows, _ = replace(SCHEMA, steps=3).rows(plan)
    torch.testing.assert_close(rows[0, 1, :, 6], torch.tensor([-1.0, 1.0, 0.5]))


def test_most_of_what_was_seen_lies_between_minus_and_plus_one_and_the_rest_outside_unclipped() -> None:
    data = chunks(4000)
    schema = Schema.fit(data)
    rows, _ = schema.rows(torch.from_numpy(np.asarray(data.plan)))
    pose = rows[:, 1, :, :6].flatten(0, 1).double().numpy()
    low, high = np.quantile(pose, [0.01, 0.99], axis=0)
    np.testing.assert_allclose(low, -1, atol=1e-5)
    np.testing.assert_allclose(high, 1, atol=1e-5)
    assert (pose.min(0) < -1.05).all()
    assert (pose.max(0) > 1.05).all()
    assert schema.open == pytest.approx(0.08)
    assert schema.closed == pytest.approx(0.0, abs=1e-9)


def test_what_a_tool_hardly_does_stays_small() -> None:
    """A tool that is always upright trembles by a thousandth of a radian; that is no motion worth words."""
    data = chunks(200)
    plan = np.asarray(data.plan).copy()
    plan[..., 3:5] *= 1e-3
    schema = Schema.fit(replace(data, plan=plan))
    assert schema.high[3] - schema.low[3] == pytest.approx(2 * LEAST[3])
    assert schema.rows(torch.from_numpy(plan))[0][:, 1, :, 3:5].abs().max() < 0.1


def test_a_hand_that_never_moves_is_in_the_middle_of_a_range() -> None:
    data = chunks(20)
    plan = np.asarray(data.plan).copy()
    plan[..., 6] = 0.03
    schema = Schema.fit(replace(data, plan=plan))
    assert schema.open > 0.03 > schema.closed
    assert abs(schema.rows(torch.from_numpy(plan))[0][:, 1, :, 6]).max() < 1e-4


def test_both_arms_share_one_range() -> None:
    data = chunks(400, PAIR)
    plan = np.asarray(data.plan).copy()
    plan[..., :3] *= 10
    schema = Schema.fit(replace(data, plan=plan))
    rows, _ = schema.rows(torch.from_numpy(plan))
    assert rows[:, 0, :, :3].abs().mean() > 5 * rows[:, 1, :, :3].abs().mean()


def test_joint_targets_are_no_actions_of_a_tool() -> None:
    data = chunks(8)
    with pytest.raises(ValueError, match="cut them with a ToolView"):
        Schema.fit(replace(data, plan=np.zeros((8, H, 8), "f4")))


def test_an_arm_that_is_not_there_is_zero_and_gives_no_row() -> None:
    data = chunks(5)
    rows, there = SCHEMA.rows(torch.from_numpy(np.asarray(data.plan)))
    assert not rows[:, 0].any()
    assert not there[:, 0].any()
    assert torch.equal(active(rows, there), rows[:, 1])


def test_of_film_nobody_knows_the_action() -> None:
    rows, there = SCHEMA.unknown(3)
    assert rows.shape == (3, 2, H, 7)
    assert not rows.any()
    assert len(active(rows, there)) == 0


@given(arrays(bool, (5, 2)))
def test_leaving_out_and_putting_back_is_the_identity_on_arms_that_are_there(there: NDArray[np.bool_]) -> None:
    mask = torch.from_numpy(there)
    rows = torch.arange(5 * 2 * H * 7).float().view(5, 2, H, 7)
    back = scatter(active(rows, mask), mask)
    assert torch.equal(back[mask], rows[mask])
    assert not back[~mask].any()
    tokens = torch.arange(5 * 2 * 3).view(5, 2, 3)
    assert torch.equal(scatter(active(tokens, mask), mask)[mask], tokens[mask])


def test_the_left_arm_of_a_sample_comes_before_its_right() -> None:
    rows = torch.arange(4.0).view(2, 2, 1, 1)
    assert active(rows, torch.tensor([[True, True], [False, True]])).flatten().tolist() == [0, 1, 3]


def resting(moves: Tensor, hand: Tensor) -> bool:
    """Whether a chunk counts as still whose tool is so far (m) at every step, and whose hand so far open."""
    plan = torch.zeros(1, len(moves), 7)
    plan[0, :, 0], plan[0, :, 6] = moves, hand
    return bool(still(plan)[0])


def test_a_chunk_in_which_nothing_happens_is_still() -> None:
    none, open_hand = torch.zeros(8), torch.full((8,), 0.08)
    moving = torch.linspace(0, 0.1, 8)
    half = torch.where(torch.arange(8) < 4, 0.0, 0.1)
    closing = torch.where(torch.arange(8) < 4, 0.08, 0.0)
    assert resting(none, open_hand)
    assert resting(torch.full((8,), 9e-4), open_hand)
    assert resting(half, open_hand)
    assert not resting(moving, open_hand)
    assert not resting(none, closing), "a grasp is a hand that closes while its arm waits"


def test_a_pair_is_still_only_when_both_arms_are() -> None:
    plan = torch.zeros(2, 8, 14)
    plan[0, :, 7] = 0.1
    assert still(plan).tolist() == [False, True]


def test_a_schema_survives_as_json_and_its_name_tells_meanings_apart() -> None:
    back = Schema.said(json.loads(json.dumps(SCHEMA.facts)))
    assert back == SCHEMA
    assert back.id == SCHEMA.id
    assert len(SCHEMA.id) == 16
    others = [replace(SCHEMA, **change) for change in ({"hz": 30.0}, {"rotation": "vector"}, {"closed": 0.001})]
    assert len({SCHEMA.id, *(other.id for other in others)}) == 4
