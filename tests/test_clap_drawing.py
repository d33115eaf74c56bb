"""Pictures of what tokens mean: a path lies where a camera would see it, and what counts glows where it is."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from learners.clap.drawing import DARK, RED, above, beside, heat, over, paths, pinhole, project
from learners.transforms import ToolView

torch.set_num_threads(1)

SIZE = (120, 160)
GREY = np.full((*SIZE, 3), 128, np.uint8)


def ahead() -> NDArray[np.float64]:
    """A camera one metre above the base's origin that looks straight down, forward up in the picture."""
    pose = np.eye(4)
    pose[:3, :3] = np.array([[0, -1, 0], [-1, 0, 0], [0, 0, -1.0]])
    pose[2, 3] = 1.0
    return pinhole(pose, 100.0, SIZE)


def where(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.intp]:
    """Rows and columns of pixels that are nearly of this colour."""
    off = np.abs(picture.astype(int) - np.array(colour)).max(-1)
    return np.argwhere(off < 30)


def test_a_point_is_seen_where_a_pinhole_shows_it() -> None:
    """At 1 m and a focal length of 100 pixels, 10 cm are 10 pixels; at half a metre, 20."""
    points = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0.1, 0, 0.5]])
    np.testing.assert_allclose(project(points, ahead()), [[80, 60], [80, 50], [70, 60], [80, 40]], atol=1e-9)


def test_what_is_behind_the_camera_is_not_seen() -> None:
    assert np.isnan(project(np.array([[0, 0, 1.5], [0.1, 0, 1.0]]), ahead())).all()
    behind = np.array([[0, 0, 2.0], [0.1, 0, 2.0]])
    np.testing.assert_array_equal(over(GREY, behind, ahead()), GREY)


def test_a_path_leads_from_where_the_tool_is_to_where_the_view_decodes_it() -> None:
    random = np.random.default_rng(0)
    plan, tool = random.normal(size=(5, 14)) * 0.1, np.tile([0.4, 0.1, 0.3, 1, 0, 0, 0], 2)
    tool[7:10] = [0.4, -0.1, 0.3]
    told = ToolView(2).decode(plan[None], {"tool": tool[None]})["tool"][0]
    both = paths(plan, tool)
    assert both.shape == (2, 6, 3)
    for arm in (0, 1):
        np.testing.assert_allclose(both[arm, 0], tool[7 * arm : 7 * arm + 3])
        np.testing.assert_allclose(both[arm, 1:], told[:, 7 * arm : 7 * arm + 3])


def test_the_arrow_lies_on_the_path_and_points_along_it() -> None:
    """It goes right, so it is red between its ends, its head is broad there, and the rest is as it was."""
    path = np.linspace([0, 0.4, 0], [0, -0.4, 0], 20)
    drawn = over(GREY, path, ahead())
    red = where(drawn, RED)
    assert red[:, 0].mean() == pytest.approx(59.5, abs=1)
    assert red[:, 1].min() < 50
    assert red[:, 1].max() > 115
    spread = [np.ptp(red[np.abs(red[:, 1] - column) < 1, 0]) for column in (80, 116)]
    assert spread[1] > spread[0] + 2
    assert (drawn != GREY).any(-1).mean() < 0.1
    np.testing.assert_array_equal(drawn[:40], GREY[:40])


def test_the_arrow_is_dark_where_the_hand_is_closed() -> None:
    path = np.linspace([0, 0.4, 0], [0, -0.4, 0], 20)
    drawn = over(GREY, path, ahead(), closed=[number >= 10 for number in range(20)])
    assert where(drawn, DARK)[:, 1].min() >= 78
    assert where(drawn, RED)[:, 1].max() <= 82


def test_a_tool_that_stays_has_no_arrow_but_a_place() -> None:
    drawn = over(GREY, np.zeros((5, 3)), ahead())
    changed = np.argwhere((drawn != GREY).any(-1))
    assert 0 < len(changed) < 60
    np.testing.assert_allclose(changed.mean(0), [59.5, 79.5], atol=1)


def test_from_above_forward_is_up_and_left_is_left() -> None:
    """The head is where the path ends: red pixels lie mostly there."""
    for goal, axis, sign in (([0.3, 0, 0], 0, -1), ([0, 0.3, 0], 1, -1), ([0, -0.3, 0], 1, 1)):
        path = np.linspace([0, 0, 0], goal, 20)
        red = where(above([path]), RED)
        middle = (red.min(0) + red.max(0)) / 2
        assert sign * (red.mean(0) - middle)[axis] > 2
    assert above([path, path + np.array([0.1, 0, 0])], size=120).shape == (120, 120, 3)


def test_what_counts_glows_where_it_is() -> None:
    weight = np.zeros((6, 8))
    weight[1, 6] = 3.0
    change = np.abs(heat(GREY, weight).astype(int) - GREY).sum(-1)
    row, column = np.unravel_index(change.argmax(), change.shape)
    assert (row // 20, column // 20) == (1, 6)
    assert change[60:].max() == 0


def test_where_nothing_counts_nothing_glows() -> None:
    np.testing.assert_array_equal(heat(GREY, np.zeros((6, 8))), GREY)


def test_pictures_stand_in_a_row() -> None:
    assert beside([GREY, GREY, GREY], gap=4).shape == (120, 3 * 160 + 8, 3)
