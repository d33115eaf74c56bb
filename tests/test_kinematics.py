"""The chain is Franka's, and its inverse stays within what the arm can do."""

import numpy as np
import pytest

from drivers.kinematics import HIGH, LOW, Chain, Floats

DH = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
)
"""Franka's published table: a (m), d (m), alpha (rad), in Craig's convention."""

HOME = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])


@pytest.fixture(scope="module")
def chain() -> Chain:
    return Chain()


def about_x(angle: float) -> Floats:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1.0]])


def about_z(angle: float) -> Floats:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def along(x: float, z: float) -> Floats:
    step = np.eye(4)
    step[0, 3], step[2, 3] = x, z
    return step


def by_the_table(q: Floats) -> Floats:
    pose = np.eye(4)
    for (a, d, alpha), angle in zip(DH, q, strict=True):
        pose = pose @ about_x(alpha) @ along(a, 0) @ about_z(angle) @ along(0, d)
    return np.asarray(pose @ along(0, 0.107) @ about_z(-np.pi / 4) @ along(0, 0.1034))


def turned(quat: Floats) -> Floats:
    w, x, y, z = quat
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def down(x: float, y: float, z: float, yaw: float) -> Floats:
    return np.array([x, y, z, 0.0, np.cos(yaw / 2), np.sin(yaw / 2), 0.0])


def test_the_tool_is_where_frankas_own_table_puts_it(chain: Chain) -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        q = random.uniform(LOW, HIGH)
        tool, expected = chain.tool(q), by_the_table(q)
        np.testing.assert_allclose(tool[:3], expected[:3, 3], atol=1e-6)
        np.testing.assert_allclose(turned(tool[3:]), expected[:3, :3], atol=1e-6)


def test_at_frankas_ready_pose_the_tool_points_down_in_front(chain: Chain) -> None:
    np.testing.assert_allclose(chain.tool(HOME), [0.3069, 0.0, 0.4869, 0.0, 1.0, 0.0, 0.0], atol=1e-4)


def test_joints_found_for_a_pose_bring_the_tool_there(chain: Chain) -> None:
    """Anywhere over the table, at any turn a cube may need, starting from the ready pose."""
    random = np.random.default_rng(1)
    for _ in range(200):
        want = down(
            random.uniform(0.30, 0.65),
            random.uniform(-0.35, 0.35),
            random.uniform(0.01, 0.4),
            random.uniform(-0.8, 0.8),
        )
        got = chain.tool(chain.joints(HOME, want))
        assert np.linalg.norm(got[:3] - want[:3]) < 1e-4, want
        assert 2 * np.arccos(min(1.0, abs(float(got[3:] @ want[3:])))) < np.radians(0.1), want


def test_the_answer_stays_near_where_the_search_began(chain: Chain) -> None:
    q = chain.joints(HOME, down(0.45, 0.0, 0.2, 0.0))
    for share in np.linspace(0, 1, 200):
        following = chain.joints(q, down(0.45 + 0.1 * share, 0.25 * np.sin(3 * share), 0.2 - 0.15 * share, 0.5 * share))
        assert np.abs(following - q).max() < 0.05
        q = following


@pytest.mark.parametrize(
    "want", [down(2.0, 0.0, 0.3, 0.0), down(0.0, 0.0, 0.0, 0.0), down(0.5, 0.0, -3.0, 2.0), down(-0.9, 0.9, 0.2, 0.0)]
)
def test_a_pose_out_of_reach_gives_the_best_that_keeps_the_limits(chain: Chain, want: Floats) -> None:
    q = chain.joints(HOME, want)
    assert np.isfinite(q).all()
    assert (q >= LOW).all()
    assert (q <= HIGH).all()
    start = np.linalg.norm(chain.tool(HOME)[:3] - want[:3])
    assert np.linalg.norm(chain.tool(q)[:3] - want[:3]) < start


def test_a_longer_search_is_never_worse() -> None:
    def error(steps: int, want: Floats) -> float:
        chain = Chain(steps=steps)
        got = chain.tool(chain.joints(HOME, want))
        turn = 2 * np.arccos(min(1.0, abs(float(got[3:] @ want[3:]))))
        return float(np.hypot(np.linalg.norm(got[:3] - want[:3]), turn))

    for want in (
        down(2.0, 0.0, 0.3, 0.0),
        down(0.0, 0.0, 0.0, 0.0),
        down(0.7, 0.3, 0.5, 3.0),
        down(0.2, 0.0, 0.1, 1.0),
    ):
        assert (np.diff([error(steps, want) for steps in range(1, 21)]) <= 1e-9).all()


def test_limits_are_kept_whatever_is_asked(chain: Chain) -> None:
    random = np.random.default_rng(2)
    for _ in range(100):
        turn = random.normal(size=4)
        want = np.concatenate([random.uniform(-1, 1, 3), turn / np.linalg.norm(turn)])
        q = chain.joints(random.uniform(-4, 4, 7), want)
        assert (q >= LOW).all()
        assert (q <= HIGH).all()


def test_the_same_question_has_the_same_answer(chain: Chain) -> None:
    want = down(0.5, 0.1, 0.1, 0.3)
    first = chain.joints(HOME, want)
    chain.joints(np.array(LOW), down(0.3, -0.3, 0.4, 0.0))
    np.testing.assert_array_equal(chain.joints(HOME, want), first)
    np.testing.assert_array_equal(Chain().joints(HOME, want), first)
