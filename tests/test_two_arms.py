"""A pair of arms is learned as one robot: every number of the left arm's, then every number of the right one's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import learners
from collectors import PolicyAgent
from drivers import Rows, row_type
from drivers.dual import Chains
from learners import BadCheckpoint, CannotGoOn, ChunkPolicy, NoData, Senses, Windows, windows
from learners.body import ONE_ARM, Body
from learners.ccol import CCoL
from learners.data import next_keys
from learners.keyframe import Foretold
from learners.nearest import Nearest, Random
from learners.senses import felt
from learners.transforms import VIEWS, Floats, axes, out_of_slots, slots
from storage import Episode, Observation
from tests.lessons import INSTRUCTION, QUICK, SECOND, arm_rows, camera_rows, pair_rows, record
from tests.toy import Gantry

torch.set_num_threads(1)

STAMPS = np.arange(SECOND, 3 * SECOND, SECOND // 100)
BODY = Body(12, 2)
SENSES = Senses(("top",), image=16, history=3, spacing=0.05)
CCOL = replace(CCoL.preset("tiny"), cameras=("top",), training=replace(QUICK, steps=3))
LEARNERS = {
    "ccol": CCOL,
    "ccol of joints": replace(CCOL, action="joint"),
    "nearest": Nearest(cameras=("top",), image=16),
    "random": Random(),
}


def one(rows: Rows, arm: int) -> Rows:
    """One arm's rows of a pair's."""
    single: Rows = np.zeros(len(rows), row_type(*((n, "<f8", s) for n, s in SINGLE.items())))
    single["t"] = rows["t"]
    for name in SINGLE:
        single[name] = np.split(rows[name], 2, axis=-1)[arm].reshape(single[name].shape)
    return single


SINGLE = {"q": (6,), "q_target": (6,), "tool": (7,), "tool_target": (7,), "width": (), "width_target": ()}


def test_the_state_of_one_arm_is_to_the_bit_what_it_always_was() -> None:
    """Joints, tool position, tool axes, opening: what every policy so far was trained on."""
    rows = arm_rows(STAMPS)
    parts = [rows["q"], rows["tool"][:, :3], axes(rows["tool"][:, 3:]), rows["width"][:, None]]
    np.testing.assert_array_equal(felt(rows), np.concatenate(parts, axis=-1).astype("f4"))
    assert (ONE_ARM.width, ONE_ARM.tools) == (17, [7, 8, 9])
    assert Body.of(rows.dtype) == ONE_ARM


def test_the_state_of_a_pair_is_the_left_arms_and_then_the_right_arms() -> None:
    rows = pair_rows(STAMPS)
    state = felt(rows)
    np.testing.assert_array_equal(state, np.concatenate([felt(one(rows, 0)), felt(one(rows, 1))], axis=-1))
    assert state.shape[-1] == BODY.width == 32
    np.testing.assert_array_equal(state[:, BODY.tools], rows["tool"][:, [0, 1, 2, 7, 8, 9]].astype("f4"))
    assert Body.of(rows.dtype) == BODY


@pytest.mark.parametrize(
    ("q", "tool", "width"),
    [
        ((7,), (7,), (1,)),
        ((7,), (14,), ()),
        ((7,), (14,), (2,)),
        ((12,), (7,), (2,)),
        ((2, 6), (14,), (2,)),
        ((), (7,), ()),
    ],
)
def test_rows_of_which_nobody_knows_whose_arms_they_are_of_are_refused(q: Any, tool: Any, width: Any) -> None:
    with pytest.raises(ValueError, match=r"a pair's q \(2 n,\), tool \(14,\) and width \(2,\); not q"):
        Body.of(row_type(("q", "<f8", q), ("tool", "<f8", tool), ("width", "<f8", width)))


def test_a_robot_without_a_tool_is_refused_and_told_what_it_lacks() -> None:
    with pytest.raises(ValueError, match=r"its rows lack \['tool', 'width'\]"):
        Body.of(row_type(("q", "<f8", (7,))))


@pytest.mark.parametrize("name", VIEWS)
def test_a_pairs_targets_are_seen_arm_by_arm_and_come_back_as_they_were(name: str) -> None:
    rows = pair_rows(STAMPS)
    view, single = VIEWS[name].of(BODY), VIEWS[name].of(Body(6, 1))
    targets: dict[str, Floats] = {field: rows[field][:20].reshape(4, 5, -1) for field in view.needs}
    now: dict[str, Floats] = {"tool": rows["tool"][50:54]}
    steps = view.encode(targets, now)
    assert steps.shape == (4, 5, view.width)
    for arm, mine in enumerate(np.split(steps, 2, axis=-1)):
        own = one(rows, arm)
        alone: dict[str, Floats] = {field: own[field][:20].reshape(4, 5, *own[field].shape[1:]) for field in view.needs}
        np.testing.assert_array_equal(mine, single.encode(alone, {"tool": own["tool"][50:54]}))
    for field, value in view.decode(steps, now).items():
        there = targets[f"{field}_target"]
        assert value.shape == there.shape
        near = value if field != "tool" else _same_side(value, there)
        np.testing.assert_allclose(near, there, atol=1e-9)


def _same_side(tools: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    """Tools (..., 14) whose quaternions have the signs of others': a quaternion and its negative are one rotation."""
    pairs, others = tools.reshape(-1, 2, 7).copy(), like.reshape(-1, 2, 7)
    pairs[..., 3:] *= np.sign((pairs[..., 3:] * others[..., 3:]).sum(-1, keepdims=True))
    return pairs.reshape(tools.shape)


def test_a_single_arm_takes_the_right_ones_place_in_a_pair_and_the_left_one_does_not_count() -> None:
    single, pair = np.random.default_rng(0).normal(size=(3, 5, 7)), np.random.default_rng(1).normal(size=(3, 5, 14))
    placed, counts = slots(single)
    assert placed.shape == (3, 5, 14)
    assert not placed[..., :7].any()
    assert counts.tolist() == [False, True]
    np.testing.assert_array_equal(out_of_slots(placed, counts), single)
    placed, counts = slots(pair)
    assert counts.tolist() == [True, True]
    np.testing.assert_array_equal(out_of_slots(placed, counts), pair)


def test_each_hand_has_key_frames_of_its_own() -> None:
    """The left one closes at row 40, the right one opens at row 120; then both have only the end before them."""
    rows = pair_rows(STAMPS)
    row = np.arange(len(rows))
    rows["width_target"] = np.stack([np.where(row < 40, 0.08, 0.0), np.where(row < 120, 0.02, 0.06)], axis=-1)
    keys = next_keys(rows, rows["t"])
    for arm in (0, 1):
        np.testing.assert_array_equal(keys[:, 9 * arm : 9 * arm + 9], next_keys(one(rows, arm), rows["t"]))
    for at, left, right in ((0, 40, 120), (39, 40, 120), (40, -1, 120), (119, -1, 120), (120, -1, -1)):
        np.testing.assert_allclose(keys[at, :3], rows["tool"][left, :3], atol=1e-6)
        np.testing.assert_allclose(keys[at, 9:12], rows["tool"][right, 7:10], atol=1e-6)


def episode(root: Path, seed: int = 0, ticks: NDArray[np.int64] | None = None) -> Episode:
    top = camera_rows(STAMPS[::3], seed)
    return Episode(record(root, pair_rows(STAMPS, seed), {"top": top}, ticks).path)


def test_a_window_of_a_pair_is_bit_for_bit_what_the_agent_saw(tmp_path: Path) -> None:
    shown = episode(tmp_path, ticks=STAMPS[::2])
    data = Windows.of([shown], [INSTRUCTION], SENSES, VIEWS["tool"], 50, 5)
    assert (data.body, data.plan[:1].shape, data.key.shape[1]) == (BODY, (1, 5, 14), 18)
    batch = data.batch(np.arange(len(data)))
    for number, seen in zip(range(len(data)), shown.replay(0.2), strict=False):
        images, state, now = SENSES.live(seen)
        assert torch.equal(batch.images[number], images[0])
        np.testing.assert_array_equal(batch.state[number], state[0])
        ahead = np.minimum(seen.t + np.arange(1, 6) * (SECOND // 50), STAMPS[-1])
        told = {field: shown["arm", field][np.searchsorted(STAMPS, ahead)][None] for field in VIEWS["tool"].needs}
        np.testing.assert_array_equal(batch.plan[number], VIEWS["tool"].of(BODY).encode(told, now)[0].astype("f4"))


def test_episodes_of_one_arm_and_of_two_are_not_learned_together(tmp_path: Path) -> None:
    single = Episode(record(tmp_path / "single", arm_rows(STAMPS), {"top": camera_rows(STAMPS[::3])}).path)
    with pytest.raises(NoData, match=r"one kind of robot.* of 2 arms of 6 joints each, .* of one arm of 7 joints"):
        Windows.of([episode(tmp_path), single], [INSTRUCTION] * 2, SENSES, VIEWS["tool"], 50, 5)


def test_rows_that_tell_of_no_robot_are_named_with_their_episode(tmp_path: Path) -> None:
    strange: Rows = np.zeros(len(STAMPS), row_type(("q", "<f8", (7,)), ("q_target", "<f8", (7,))))
    strange["t"] = STAMPS
    path = record(tmp_path, strange, {"top": camera_rows(STAMPS[::3])}).path
    with pytest.raises(NoData, match=rf"{path.name}: .* its rows lack \['tool', 'width'\]"):
        Windows.of([Episode(path)], [INSTRUCTION], SENSES, VIEWS["tool"], 50, 5)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> list[Episode]:
    root = tmp_path_factory.mktemp("pair")
    return [episode(root, seed) for seed in range(2)]


def learned(how: Any, episodes: list[Episode]) -> ChunkPolicy:
    policy: ChunkPolicy = how.fit(windows(how, episodes, [INSTRUCTION] * len(episodes)))
    return policy


def seen() -> Observation:
    return Observation(int(STAMPS[150]), {"arm": pair_rows(STAMPS, 9)[:151], "top": camera_rows(STAMPS[:151:3], 9)})


@pytest.mark.parametrize("how", [pytest.param(how, id=name) for name, how in LEARNERS.items()])
def test_every_method_plans_for_a_pair_and_reads_back_the_same(how: Any, taught: list[Episode], tmp_path: Path) -> None:
    policy = learned(how, taught)
    plan = policy.plan(seen(), INSTRUCTION)
    asked = "q" if how.view is VIEWS["joint"] else "tool"
    assert {name: plan.dtype[name].shape for name in plan.dtype.names or ()} == {
        "t": (),
        asked: (12,) if asked == "q" else (14,),
        "width": (2,),
    }
    row = seen().streams["arm"][-1]
    np.testing.assert_array_equal(plan[asked][0], row[f"{asked}_target"])
    np.testing.assert_array_equal(plan["width"][0], row["width_target"])
    assert np.isfinite(plan[asked]).all()
    assert policy.body == BODY
    policy.save(tmp_path / "policy")
    restored = learners.load(tmp_path / "policy")
    assert restored.body == BODY
    if how.view is VIEWS["tool"] and not isinstance(how, Random):
        np.testing.assert_array_equal(restored.plan(seen(), INSTRUCTION), plan)


def test_each_hand_is_told_its_own_way_to_where_it_will_act(taught: list[Episode]) -> None:
    """Key frames, then ways in decimetres: the left arm's numbers lead from the left tool."""
    net = learned(CCOL, taught).net
    key, state = torch.randn(3, 18), torch.randn(3, 32)
    there = net.scales.undo("key", key)
    left, right = there[:, :3] - state[:, 6:9], there[:, 9:12] - state[:, 22:25]
    told = net.key.hint(Foretold(key, key), state, net.scales)
    torch.testing.assert_close(told, torch.cat([key, 10 * left, 10 * right], dim=-1))


def test_what_nearest_remembers_of_a_pair_is_what_the_pair_did_next(taught: list[Episode]) -> None:
    policy = learned(LEARNERS["nearest"], taught)
    robot, at = taught[1].rows("arm"), int(STAMPS[60])
    top = camera_rows(STAMPS[::3], 1)
    plan = policy.plan(Observation(at, {"arm": robot[:61], "top": top[top["t"] <= at]}), INSTRUCTION)
    ahead = robot[60 + 10 * np.arange(1, 17)[:10]]
    np.testing.assert_allclose(_same_side(plan["tool"][1:11], ahead["tool_target"]), ahead["tool_target"], atol=1e-5)
    np.testing.assert_allclose(plan["width"][1:11], ahead["width_target"], atol=1e-6)


def test_a_policy_from_before_pairs_is_one_arms(taught: list[Episode], tmp_path: Path) -> None:
    single = Episode(record(tmp_path, arm_rows(STAMPS), {"top": camera_rows(STAMPS[::3])}).path)
    learned(CCOL, [single]).save(tmp_path / "policy")
    facts = json.loads((tmp_path / "policy" / "policy.json").read_text())
    assert facts["facts"].pop("body") == {"joints": 7, "arms": 1}
    moment = Observation(int(STAMPS[150]), {"arm": arm_rows(STAMPS)[:151], "top": camera_rows(STAMPS[:151:3], 9)})
    plan = learners.load(tmp_path / "policy").plan(moment, INSTRUCTION)
    (tmp_path / "policy" / "policy.json").write_text(json.dumps(facts))
    old = learners.load(tmp_path / "policy")
    assert old.body == ONE_ARM
    np.testing.assert_array_equal(old.plan(moment, INSTRUCTION), plan)


@pytest.mark.parametrize("body", [{"joints": 12}, {"joints": 14, "arms": 2}, {"joints": "many", "arms": 2}, 3])
def test_a_policy_whose_robot_is_damaged_is_refused(body: Any, taught: list[Episode], tmp_path: Path) -> None:
    learned(CCOL, taught).save(tmp_path)
    facts = json.loads((tmp_path / "policy.json").read_text())
    facts["facts"]["body"] = body
    (tmp_path / "policy.json").write_text(json.dumps(facts))
    with pytest.raises(BadCheckpoint, match=r"robot|weights do not fit"):
        learners.load(tmp_path)


def test_a_policy_of_one_arm_cannot_be_the_start_of_a_pairs(taught: list[Episode], tmp_path: Path) -> None:
    single = Episode(record(tmp_path, arm_rows(STAMPS), {"top": camera_rows(STAMPS[::3])}).path)
    parent = learned(CCOL, [single])
    with pytest.raises(CannotGoOn, match="moves one arm of 7 joints, and the demonstrations are of 2 arms of 6 joints"):
        CCOL.fit(windows(CCOL, taught, [INSTRUCTION] * 2), parent=parent)


def test_a_plan_of_two_tools_reaches_each_arms_own_joints(taught: list[Episode]) -> None:
    """The toy's first three joints are its tool's x, y and z; the others stay as they were."""
    action = row_type(("q", "<f8", (12,)), ("width", "<f8", (2,)))
    policy = learned(LEARNERS["nearest"], taught)
    agent = PolicyAgent(policy, Chains((Gantry(), Gantry())), action, 20)
    agent.reset(INSTRUCTION)
    target = agent.act(seen())
    assert target is not None
    row = seen().streams["arm"][-1]
    for arm in (0, 1):
        q = target["q"][6 * arm : 6 * arm + 6]
        np.testing.assert_allclose(q[:3], row["tool_target"][7 * arm : 7 * arm + 3])
        np.testing.assert_allclose(q[3:], row["q"][6 * arm + 3 : 6 * arm + 6])
    np.testing.assert_allclose(target["width"], row["width_target"])
