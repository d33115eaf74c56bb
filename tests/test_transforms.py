"""What a method predicts and what a robot is told are the same motion, said twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from learners.transforms import (
    VIEWS,
    Affine,
    Floats,
    JointView,
    ToolView,
    axes,
    conjugate,
    quaternion,
    quaternion_product,
    rotation_vector,
)

UNTURNED = np.array([1.0, 0.0, 0.0, 0.0])
numbers = st.floats(-1, 1, width=64)


def unit(q: Floats) -> Floats:
    """A quaternion of length one; the zero of four numbers becomes no rotation."""
    length = np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(length > 1e-3, q / np.maximum(length, 1e-3), UNTURNED)


quaternions = arrays("f8", (4,), elements=numbers).map(unit)


def poses(*shape: int) -> st.SearchStrategy[Floats]:
    return arrays("f8", (*shape, 7), elements=numbers).map(
        lambda p: np.concatenate([p[..., :3], unit(p[..., 3:])], axis=-1)
    )


def matrix(q: Floats) -> Floats:
    """The rotation matrix, column by column: what becomes of each axis when it is turned."""
    turned = [quaternion_product(quaternion_product(q, np.array([0.0, *axis])), conjugate(q))[1:] for axis in np.eye(3)]
    return np.stack(turned, axis=-1)


def same_rotation(a: Floats, b: Floats) -> bool:
    """A quaternion and its negative are one rotation."""
    return bool((np.abs((a * b).sum(-1)) > 1 - 1e-9).all())


@given(quaternions)
def test_a_quaternion_survives_as_a_rotation_vector(q: Floats) -> None:
    vector = rotation_vector(q)
    assert np.linalg.norm(vector) <= np.pi + 1e-9
    assert same_rotation(quaternion(vector), q)


@given(arrays("f8", (3,), elements=st.floats(-1.8, 1.8)))
def test_a_rotation_vector_of_less_than_half_a_turn_survives_as_a_quaternion(vector: Floats) -> None:
    np.testing.assert_allclose(rotation_vector(quaternion(vector)), vector, atol=1e-7)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-9, 1e-6, 1e-3, 3.0, np.pi - 1e-9])
def test_a_small_or_a_half_turn_keeps_its_angle(angle: float) -> None:
    vector = angle * np.array([2.0, -1.0, 2.0]) / 3
    np.testing.assert_allclose(rotation_vector(quaternion(vector)), vector, rtol=1e-6, atol=1e-15)


def test_the_longer_way_round_is_told_as_the_shorter() -> None:
    np.testing.assert_allclose(rotation_vector(quaternion(np.array([0.0, 0.0, 1.5 * np.pi]))), [0, 0, -np.pi / 2])


@given(quaternions, quaternions)
def test_a_product_turns_by_one_rotation_after_the_other(a: Floats, b: Floats) -> None:
    np.testing.assert_allclose(matrix(quaternion_product(a, b)), matrix(a) @ matrix(b), atol=1e-9)
    assert same_rotation(quaternion_product(a, conjugate(a)), UNTURNED)


@given(quaternions)
def test_axes_are_the_first_two_columns_of_the_matrix(q: Floats) -> None:
    np.testing.assert_allclose(axes(q), [*matrix(q)[:, 0], *matrix(q)[:, 1]], atol=1e-9)


def test_a_quarter_turn_about_z_brings_x_to_y() -> None:
    """The one place where the convention is said in numbers."""
    quarter = quaternion(np.array([0.0, 0.0, np.pi / 2]))
    np.testing.assert_allclose(quarter, [np.sqrt(0.5), 0, 0, np.sqrt(0.5)])
    np.testing.assert_allclose(axes(quarter), [0, 1, 0, -1, 0, 0], atol=1e-12)


def tool_steps(there: Floats, here: Floats, width: Floats | None = None) -> Floats:
    """What the tool view says of targets (k, 7) seen from a pose (7,)."""
    opening = np.zeros((1, len(there))) if width is None else width[None]
    steps = ToolView().encode({"tool_target": there[None], "width_target": opening}, {"tool": here[None]})
    return np.asarray(steps[0])


def test_ten_degrees_about_the_bases_z_are_ten_degrees_about_z_however_the_tool_points() -> None:
    """The rotation is seen from the base, not from the tool: R[t+i] R[t]^T."""
    ten = quaternion(np.array([0.0, 0.0, np.radians(10)]))
    for here in ([1.0, 0, 0, 0], [0.0, 1, 0, 0], [0.5, 0.5, -0.5, 0.5]):
        pose = np.array([0.4, 0.1, 0.3, *here])
        turned = np.array([0.4, 0.1, 0.3, *quaternion_product(ten, np.array(here))])
        np.testing.assert_allclose(tool_steps(turned[None], pose)[0], [0, 0, 0, 0, 0, np.radians(10), 0], atol=1e-9)


def test_a_step_along_the_bases_x_is_along_x_however_the_tool_points() -> None:
    pose = np.array([0.4, 0.1, 0.3, 0.5, 0.5, -0.5, 0.5])
    moved = pose + np.eye(7)[0] * 0.02
    np.testing.assert_allclose(tool_steps(moved[None], pose)[0], [0.02, 0, 0, 0, 0, 0, 0], atol=1e-12)


@given(poses())
def test_a_target_that_is_where_the_tool_is_says_nothing_moves(here: Floats) -> None:
    np.testing.assert_allclose(tool_steps(here[None], here, np.array([0.05]))[0], [0, 0, 0, 0, 0, 0, 0.05], atol=1e-9)
    np.testing.assert_allclose(tool_steps((here * [1, 1, 1, -1, -1, -1, -1])[None], here)[0], np.zeros(7), atol=1e-9)


@settings(deadline=None)
@given(poses(2, 5), poses(2), arrays("f8", (2, 5), elements=st.floats(0, 0.08)))
def test_tool_targets_survive_being_seen_from_the_tool(there: Floats, here: Floats, opening: Floats) -> None:
    """Two moments of five steps each, so that the moments are not mixed up either."""
    view, now = ToolView(), {"tool": here}
    steps = view.encode({"tool_target": there, "width_target": opening}, now)
    assert steps.shape == (2, 5, view.width)
    back = view.decode(steps, now)
    np.testing.assert_allclose(back["tool"][..., :3], there[..., :3], atol=1e-5)
    np.testing.assert_allclose(back["width"], opening, atol=1e-5)
    assert same_rotation(back["tool"][..., 3:], there[..., 3:])


@given(arrays("f8", (2, 5, 7), elements=numbers), arrays("f8", (2, 5), elements=st.floats(0, 0.08)))
def test_joint_targets_survive(q: Floats, opening: Floats) -> None:
    view = JointView()
    steps = view.encode({"q_target": q, "width_target": opening}, {})
    assert steps.shape == (2, 5, view.width)
    back = view.decode(steps, {})
    np.testing.assert_allclose(back["q"], q, atol=1e-5)
    np.testing.assert_allclose(back["width"], opening, atol=1e-5)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_names_the_fields_it_reads(name: str) -> None:
    """Targets with those fields and no others are enough."""
    view = VIEWS[name]
    shapes = {"q_target": (1, 3, 7), "tool_target": (1, 3, 7), "width_target": (1, 3)}
    targets = {field: np.full(shapes[field], 0.5) for field in view.needs}
    assert view.encode(targets, {"tool": np.full((1, 7), 0.5)}).shape == (1, 3, view.width)


@given(arrays("f8", (6, 3), elements=st.floats(-100, 100)))
def test_scaling_can_be_undone(values: Floats) -> None:
    affine = Affine.fit(values)
    np.testing.assert_allclose(affine.undo(affine.do(values)), values, atol=1e-3)


def test_scaled_numbers_have_zero_mean_and_unit_spread() -> None:
    values = np.random.default_rng(0).normal((3.0, -200.0), (0.1, 50.0), (40, 25, 2))
    scaled = Affine.fit(values).do(values).reshape(-1, 2)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(0), 1, atol=1e-4)


def test_a_number_that_hardly_varied_does_not_shout_when_it_varies_a_little_more() -> None:
    upright = Affine.fit(np.random.default_rng(0).normal(0, 1e-3, (100, 1)), least=0.05)
    assert abs(upright.do(np.array([0.05]))[0]) == pytest.approx(1, abs=0.01)


def test_a_number_that_never_changes_survives_and_is_not_blown_up() -> None:
    """A spread of nearly nothing is noise: dividing by it would make noise as large as motion."""
    values = np.stack([np.full(50, 0.7), 0.7 + 1e-6 * np.arange(50), np.arange(50.0)], axis=-1)
    affine = Affine.fit(values)
    scaled = affine.do(values)
    assert np.isfinite(scaled).all()
    assert np.abs(scaled[:, :2]).max() < 0.05
    np.testing.assert_allclose(affine.undo(scaled), values, atol=1e-5)
