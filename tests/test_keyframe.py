"""Key frames are told from what is seen: the state, as geometry, cannot say where a demonstration is going."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from learners.body import ONE_ARM, Body
from learners.data import KEY
from learners.keyframe import REACH, KeyFrames
from learners.policy import Scales
from learners.transforms import axes

torch.set_num_threads(1)

SEEN = 5
PAIR = Body(12, 2)


def states(body: Body, count: int, seed: int = 0) -> Tensor:
    """Any states (count, body), whose tools are turned as tools can be."""
    random = np.random.default_rng(seed)
    state = random.normal(size=(count, body.width))
    turns = random.normal(size=(count, body.arms, 4))
    state[:, body.axes] = axes(turns / np.linalg.norm(turns, axis=-1, keepdims=True)).reshape(count, -1)
    return torch.from_numpy(state).float()


def scales(body: Body) -> Scales:
    """Some that are not plain."""
    made = Scales(body, 4, 7)
    torch.manual_seed(1)
    for name in ("key", "state"):
        made.get_buffer(f"{name}_mean").normal_()
        made.get_buffer(f"{name}_scale").uniform_(0.5, 2)
    return made


def told(body: Body, share: float, way: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> KeyFrames:
    """One that says this of every arm, whatever is seen; where in the room, and how turned, it says at random."""
    torch.manual_seed(0)
    made = KeyFrames(SEEN, 8, body)
    last = made.read[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        by_arm = last.bias.view(body.arms, -1)
        last.weight.view(body.arms, -1, 8)[:, KEY:] = 0
        by_arm[:, KEY : KEY + 3] = torch.tensor(way)
        by_arm[:, KEY + 3 :] = share
    return made


def key(made: KeyFrames, seen: Tensor, state: Tensor) -> Tensor:
    """Key frames (B, arms, 9), in metres."""
    known = scales(made.body)
    with torch.no_grad():
        said = made(seen, known.do("state", state), state, known)
    return known.undo("key", said.key).reshape(len(seen), -1, KEY)


@pytest.mark.parametrize("body", [ONE_ARM, PAIR])
def test_from_the_hand_a_place_lies_as_the_hand_is_turned(body: Body) -> None:
    state, way = states(body, 6), (0.5, -1.0, 2.0)
    found = key(told(body, share=-50, way=way), torch.randn(6, SEEN), state)
    tool = state[:, body.tools].reshape(6, -1, 3)
    first, second = state[:, body.axes].reshape(6, -1, 2, 3).unbind(-2)
    third = torch.linalg.cross(first, second)
    expected = tool + REACH * (way[0] * first + way[1] * second + way[2] * third)
    torch.testing.assert_close(found[..., :3], expected)


@pytest.mark.parametrize("body", [ONE_ARM, PAIR])
def test_in_the_room_a_place_is_where_it_is_wherever_the_arm_is(body: Body) -> None:
    made, seen, state = told(body, share=50), torch.randn(6, SEEN), states(body, 6)
    elsewhere = states(body, 6, seed=1)
    elsewhere[:, body.hands] = state[:, body.hands]
    torch.testing.assert_close(key(made, seen, elsewhere), key(made, seen, state))
    assert not torch.allclose(key(made, seen + 1, state), key(made, seen, state))


def test_whether_a_hand_is_open_may_be_felt() -> None:
    made, seen, state = told(PAIR, share=50), torch.randn(6, SEEN), states(PAIR, 6)
    closed = state.clone()
    closed[:, PAIR.hands[1]] -= 1
    assert not torch.allclose(key(made, seen, closed), key(made, seen, state))


def test_a_hint_is_what_is_told_and_the_way_there_in_decimetres_and_bends_nothing() -> None:
    made, state, known = told(PAIR, share=0), states(PAIR, 6), scales(PAIR)
    said = made(torch.randn(6, SEEN), known.do("state", state), state, known)
    hint = made.hint(said, state, known)
    assert hint.shape == (6, made.hint_width)
    assert not hint.requires_grad
    there = known.undo("key", said.key).reshape(6, -1, KEY)[..., :3].flatten(1)
    torch.testing.assert_close(hint, torch.cat([said.key, 10 * (there - state[:, PAIR.tools])], dim=-1))


def test_the_room_is_learned_even_where_the_hand_tells_it_better() -> None:
    """Or nothing would be known of a thing until the hand is beside it."""
    made, state, known = told(ONE_ARM, share=-50), states(ONE_ARM, 6), scales(ONE_ARM)
    said = made(torch.randn(6, SEEN), known.do("state", state), state, known)
    made.losses(said, torch.randn(6, KEY), known).backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
    last = made.read[-1]
    assert isinstance(last, nn.Linear)
    assert last.bias.grad is not None
    assert last.bias.grad[:3].abs().amin() > 0
