"""The emulated Franka keeps the vendor's protocol and refuses what the real controller refuses.

A client of our own speaks the raw bytes here and lets every millisecond pass itself, so nothing depends on time.
"""

import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from drivers import DeviceError, DeviceLost
from drivers.emulators.fci import wire
from drivers.emulators.fci.admin import Unwilling, ask
from drivers.emulators.fci.arm import LOSABLE
from drivers.emulators.fci.emulator import Emulator
from drivers.emulators.fci.model import POSITION_HIGH, Shape
from drivers.emulators.fci.plant import Plant
from drivers.emulators.fci.shown import TRUTHS, Shown
from drivers.emulators.fci.watched import Camera, truth
from drivers.emulators.fci.wire import Controller, Generator, HandRequest, Mode, MoveStatus, Request
from drivers.kinematics import Chain
from drivers.twin.body import Body
from drivers.twin.scene import HOME
from tests.loopback import address

HOST = address(3)


class Client:
    """The vendor's side of the wire, as raw bytes."""

    def __init__(self, emulator: Emulator, port: int = wire.ROBOT_PORT, version: int = wire.ROBOT_VERSION) -> None:
        self.emulator = emulator
        self.header = wire.ROBOT_HEADER if port == wire.ROBOT_PORT else wire.HAND_HEADER
        self.line = socket.create_connection((HOST, port), timeout=1)
        self.states = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.states.bind((self.line.getsockname()[0], 0))
        self.states.setblocking(False)
        self._number = 0
        self.newest: Any = None
        self.sender: Any = None
        self.greeting = self.ask(0, struct.pack("<HH", version, self.states.getsockname()[1]))

    def send(self, request: int, content: bytes = b"") -> int:
        self._number += 1
        self.line.sendall(self.header.pack(request, self._number, self.header.size + len(content)) + content)
        return self._number

    def reply(self, most: int = 50) -> tuple[int, int, bytes]:
        """The next answer; time passes, up to ``most`` milliseconds, until it is there."""
        for _ in range(most):
            if select.select([self.line], [], [], 0.001)[0]:
                break
            self.emulator.step()
        request, number, size = self.header.unpack(self._exactly(self.header.size))
        return request, number, self._exactly(size - self.header.size)

    def _exactly(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            received += self.line.recv(size - len(received)) or pytest.fail("the emulator hung up")
        return received

    def ask(self, request: int, content: bytes = b"") -> bytes:
        number = self.send(request, content)
        self.emulator.step()
        again, same, answer = self.reply()
        assert (again, same) == (request, number)
        return answer

    def hear(self) -> Any:
        """The state of this millisecond; an answer leaves after the state that shows its effect, so it is there."""
        while self.newest is None or self.newest["message_id"] < self.emulator.arm.clock:
            assert select.select([self.states], [], [], 1)[0], "no state comes"
            data, self.sender = self.states.recvfrom(4096)
            assert len(data) == 1377
            self.newest = np.frombuffer(data, wire.STATE)[0]
        return self.newest

    def move(self, controller: Controller, generator: Generator) -> MoveStatus:
        content = struct.pack("<II3d3dB7d", controller, generator, *[0.1] * 6, 0, *[2.0] * 7)
        return MoveStatus(self.ask(Request.MOVE, content)[0])

    def command(self, passing: int = 1, **fields: Any) -> Any:
        """Answer the newest state, let milliseconds pass, and return the state after them."""
        row = np.zeros(1, wire.COMMAND)
        row["message_id"], row["O_T_EE_c"] = self.hear()["message_id"], np.eye(4).ravel()
        for field, value in fields.items():
            row[field] = value
        self.states.sendto(row.tobytes(), self.sender)
        assert select.select([self.emulator.robot.door.states], [], [], 1)[0], "the command does not arrive"
        for _ in range(passing):
            self.emulator.step()
        return self.hear()

    def close(self) -> None:
        self.line.close()
        self.states.close()


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    emulator = Emulator(HOST, lockstep=False)
    yield emulator
    emulator.close()


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    client = Client(emulator)
    yield client
    client.close()


def torque(client: Client, first: float = 0.0) -> None:
    """Start to move by torques."""
    assert client.move(Controller.EXTERNAL, Generator.NONE) is MoveStatus.STARTED
    client.command(tau_J_d=[first] * 7)


def ended(client: Client) -> MoveStatus:
    request, _, answer = client.reply()
    assert request == Request.MOVE
    return MoveStatus(answer[0])


def errors(state: Any) -> list[str]:
    return [name for name, on in zip(wire.ERRORS, state["errors"], strict=True) if on]


def test_a_client_of_another_version_is_told_ours(emulator: Emulator) -> None:
    client = Client(emulator, version=9)
    assert struct.unpack("<BH", client.greeting) == (1, 10)
    emulator.step()
    assert not select.select([client.states], [], [], 0.05)[0], "it gets states nevertheless"
    client.close()


def test_a_second_client_is_turned_away_at_once(client: Client) -> None:
    with socket.create_connection((HOST, wire.ROBOT_PORT), timeout=1) as second:
        while not select.select([second], [], [], 0.001)[0]:
            client.emulator.step()
        assert second.recv(1) == b""
    assert client.hear()["robot_mode"] == Mode.IDLE


def test_the_model_it_hands_out_is_the_arm_of_the_twin(client: Client) -> None:
    answer = client.ask(Request.GET_ROBOT_MODEL)
    assert answer[0] == wire.OK
    text = answer[1:].decode()
    assert text.count("<position_based_velocity_limits") == 7
    assert '<link name="link8"/>' in text
    shape, chain = Shape(), Chain()
    for q in np.random.default_rng(0).uniform(chain.low, chain.high, (20, 7)):
        assert shape.tool(q)[:3, 3] == pytest.approx(chain.tool(q)[:3], abs=1e-9)
        moved = (shape.tool(q + 1e-6 * np.eye(7)[3])[:3, 3] - shape.tool(q)[:3, 3]) / 1e-6
        assert shape.jacobian(q)[:3, 3] == pytest.approx(moved, abs=1e-5)


def test_what_a_client_sets_is_in_the_next_state(client: Client) -> None:
    load = struct.pack("<13d", 0.5, 0.0, 0.0, 0.05, *[0.0] * 9)
    assert client.ask(Request.SET_LOAD, load) == bytes([wire.OK])
    assert client.hear()["m_load"] == pytest.approx(0.5)
    tool = np.eye(4)
    tool[2, 3] = 0.1
    before = client.hear()["O_T_EE"][14]
    assert client.ask(Request.SET_NE_TO_EE, tool.ravel("F").tobytes()) == bytes([wire.OK])
    assert client.hear()["O_T_EE"][14] == pytest.approx(before - 0.1, abs=1e-4)
    assert client.ask(Request.SET_LOAD, struct.pack("<13d", *[np.nan] * 13)) == bytes([wire.INVALID])


def test_a_move_starts_runs_and_ends(client: Client) -> None:
    torque(client)
    state = client.command()
    assert state["robot_mode"] == Mode.MOVE
    assert (state["controller_mode"], state["motion_generator_mode"]) == (Controller.EXTERNAL, Generator.NONE + 1)
    assert state["success_rate"] == 1
    state = client.command(torque_finished=True)
    assert ended(client) is MoveStatus.SUCCESS
    assert (state["robot_mode"], state["controller_mode"]) == (Mode.IDLE, Controller.OTHER)


def test_only_one_move_runs_and_stopping_it_says_so(client: Client) -> None:
    torque(client)
    assert client.move(Controller.EXTERNAL, Generator.NONE) is MoveStatus.NOT_POSSIBLE
    client.send(Request.STOP_MOVE)
    client.emulator.step()
    assert client.reply()[2] == bytes([wire.OK])
    assert ended(client) is MoveStatus.PREEMPTED
    assert client.hear()["robot_mode"] == Mode.IDLE


def test_joints_follow_positions_within_every_limit(client: Client) -> None:
    assert client.move(Controller.JOINT_IMPEDANCE, Generator.JOINT_POSITION) is MoveStatus.STARTED
    start = np.array(client.hear()["q_d"], np.float64)
    for s in np.linspace(0, 1, 1001)[1:]:
        smooth = s**3 * (10 - 15 * s + 6 * s * s)
        state = client.command(q_c=start + 0.2 * smooth)
    assert errors(state) == []
    assert state["q"] == pytest.approx(start + 0.2, abs=0.005)


@pytest.mark.parametrize(
    ("generator", "field", "value", "error"),
    [
        (Generator.JOINT_POSITION, "q_c", np.array(HOME) + 0.1, "joint_position_motion_generator_start_pose_invalid"),
        (Generator.JOINT_POSITION, "q_c", np.array(HOME) + 0.004, "joint_motion_generator_velocity_limits_violation"),
        (Generator.JOINT_POSITION, "q_c", np.array(HOME) + 0.001, "joint_motion_generator_velocity_discontinuity"),
        (Generator.JOINT_POSITION, "q_c", np.array(HOME) + 8e-6, "joint_motion_generator_acceleration_discontinuity"),
        (Generator.JOINT_VELOCITY, "dq_c", [5.0] * 7, "joint_motion_generator_velocity_limits_violation"),
        (Generator.CARTESIAN_VELOCITY, "O_dP_EE_c", [4.0, 0, 0, 0, 0, 0], "cartesian_motion_generator_velocity_limits"),
        (Generator.CARTESIAN_VELOCITY, "O_dP_EE_c", [0.5, 0, 0, 0, 0, 0], "cartesian_motion_generator_velocity_disc"),
    ],
)
def test_a_motion_that_leaps_is_refused(
    client: Client, generator: Generator, field: str, value: Any, error: str
) -> None:
    client.move(Controller.JOINT_IMPEDANCE, generator)
    before = client.hear()["q"].copy()
    state = client.command(**{field: value})
    assert ended(client) is MoveStatus.REFLEX
    assert errors(state)[0].startswith(error)
    for _ in range(200):
        client.emulator.step()
        client.hear()
    assert client.hear()["q"] == pytest.approx(before, abs=0.005), "it moved nevertheless"


def test_a_commanded_joint_stops_at_its_limit(client: Client) -> None:
    near = POSITION_HIGH - [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.01]
    client.emulator.restart(q=near.tolist())
    client.emulator.step()
    client.move(Controller.JOINT_IMPEDANCE, Generator.JOINT_VELOCITY)
    for i in range(300):
        state = client.command(dq_c=[0, 0, 0, 0, 0, 0, 0.001 * i])
        if state["robot_mode"] == Mode.REFLEX:
            break
    assert errors(state) == ["joint_motion_generator_position_limits_violation"]
    assert state["q"][6] <= POSITION_HIGH[6] + 1e-3


def test_torques_may_not_leap_but_may_step_on_after_a_loss(client: Client) -> None:
    torque(client, 0.9)
    assert client.command(tau_J_d=[1.8] * 7)["robot_mode"] == Mode.MOVE
    client.emulator.step()
    client.emulator.step()
    assert client.command(tau_J_d=[4.6] * 7)["robot_mode"] == Mode.MOVE, "two were lost, so three steps are allowed"
    assert errors(client.command(tau_J_d=[6.0] * 7)) == ["controller_torque_discontinuity"]


def test_a_command_that_is_no_number_ends_the_move(client: Client) -> None:
    torque(client)
    client.command(tau_J_d=[np.nan] * 7)
    assert ended(client) is MoveStatus.INPUT_ERROR


def test_missing_commands_are_forgiven_until_there_are_twenty(client: Client) -> None:
    torque(client)
    state = client.command(passing=LOSABLE)
    assert state["robot_mode"] == Mode.MOVE
    assert 0 < state["success_rate"] < 1
    client.command()
    state = client.command(passing=LOSABLE + 1)
    assert errors(state) == ["communication_constraints_violation"]
    assert ended(client) is MoveStatus.REFLEX


def test_an_arm_whose_client_dies_while_moving_stops_within_100_ms(client: Client) -> None:
    assert client.move(Controller.JOINT_IMPEDANCE, Generator.JOINT_VELOCITY) is MoveStatus.STARTED
    for i in range(400):
        client.command(dq_c=[min(0.002 * i, 0.5)] * 7)
    client.close()
    emulator = client.emulator
    died = emulator.arm.clock
    assert np.abs(emulator.plant.dq).min() > 0.4
    for _ in range(300):
        emulator.step()
    trace = emulator.trace(300)
    moving = trace["clock"][np.abs(trace["dq"]).max(axis=1) > 0.01]
    assert moving[-1] - died < 100
    assert trace["mode"][-1] == Mode.REFLEX
    assert np.ptp(trace["q"][-150:], axis=0).max() < 1e-3


def test_an_arm_that_is_pushed_feels_it_and_brakes_above_the_threshold(client: Client) -> None:
    client.ask(Request.SET_COLLISION_BEHAVIOR, struct.pack("<52d", *[20.0] * 28, *[15.0] * 24))
    torque(client)
    client.emulator.push([0.0, 0.0, -10.0, 0.0, 0.0, 0.0])
    for _ in range(60):
        state = client.command()
    assert state["O_F_ext_hat_K"][2] == pytest.approx(10.0, abs=0.5), "what the arm exerts counts positive"
    assert state["robot_mode"] == Mode.MOVE
    client.emulator.push([0.0, 0.0, -25.0, 0.0, 0.0, 0.0])
    for _ in range(60):
        if (state := client.command())["robot_mode"] != Mode.MOVE:
            break
    assert errors(state) in (["cartesian_reflex"], ["joint_reflex"])
    assert ended(client) is MoveStatus.REFLEX


@pytest.mark.parametrize(
    ("happen", "mode", "status"),
    [
        (lambda e: e.user_stop(pressed=True), Mode.USER_STOPPED, MoveStatus.USER_STOP),
        (lambda e: e.guide(pressed=True), Mode.GUIDING, MoveStatus.ABORTED),
        (lambda e: e.reflex("power_limit_violation"), Mode.REFLEX, MoveStatus.REFLEX),
    ],
)
def test_whatever_stops_the_arm_ends_the_move_and_refuses_the_next(
    client: Client, happen: Callable[[Emulator], None], mode: Mode, status: MoveStatus
) -> None:
    torque(client)
    happen(client.emulator)
    client.emulator.step()
    assert ended(client) is status
    assert client.hear()["robot_mode"] == mode
    assert client.move(Controller.EXTERNAL, Generator.NONE) is MoveStatus.NOT_POSSIBLE
    assert client.ask(Request.SET_LOAD, struct.pack("<13d", *[0.0] * 13)) == bytes([wire.NOT_POSSIBLE])


def test_recovery_clears_a_reflex_but_neither_a_user_stop_nor_a_joint_out_of_its_range(client: Client) -> None:
    emulator = client.emulator
    emulator.reflex()
    assert client.ask(Request.AUTOMATIC_ERROR_RECOVERY) == bytes([wire.OK])
    assert client.hear()["robot_mode"] == Mode.IDLE
    assert errors(client.hear()) == []
    emulator.user_stop(pressed=True)
    assert client.ask(Request.AUTOMATIC_ERROR_RECOVERY) == bytes([wire.RECOVERY_USER_STOP])
    emulator.user_stop(pressed=False)
    emulator.restart(q=[2.76, *HOME[1:]])
    emulator.reflex("joint_position_limits_violation")
    assert client.ask(Request.AUTOMATIC_ERROR_RECOVERY) == bytes([wire.RECOVERY_MANUAL])


def test_an_arm_that_is_guided_gives_way_and_then_stays(client: Client) -> None:
    emulator = client.emulator
    emulator.guide(pressed=True)
    emulator.push([0.0, 5.0, 0.0, 0.0, 0.0, 0.0])
    for _ in range(200):
        emulator.step()
    emulator.push([0.0] * 6)
    emulator.guide(pressed=False)
    for _ in range(300):
        emulator.step()
    rest = emulator.plant.q
    assert np.abs(rest - HOME).max() > 0.02
    for _ in range(200):
        emulator.step()
    assert emulator.plant.q == pytest.approx(rest, abs=1e-4)


def hand_reply(client: Client) -> int:
    """Let time pass until the hand answers."""
    return int(struct.unpack("<H", client.reply(3000)[2])[0])


def test_the_hand_goes_where_it_is_sent_as_fast_as_it_is_told(emulator: Emulator) -> None:
    hand = Client(emulator, wire.HAND_PORT, wire.HAND_VERSION)
    assert struct.unpack("<HH", hand.greeting) == (0, 3)
    hand.send(HandRequest.MOVE, struct.pack("<2d", 0.03, 0.1))
    start = emulator.arm.clock
    assert hand_reply(hand) == wire.HAND_OK
    assert emulator.plant.width == pytest.approx(0.03, abs=0.002)
    assert 450 < emulator.arm.clock - start < 900
    hand.send(HandRequest.GRASP, struct.pack("<5d", 0.02, 0.005, 0.005, 0.1, 20.0))
    assert hand_reply(hand) == wire.HAND_OK
    hand.close()


def test_stopping_the_hand_aborts_what_it_does(emulator: Emulator) -> None:
    hand = Client(emulator, wire.HAND_PORT, wire.HAND_VERSION)
    hand.send(HandRequest.MOVE, struct.pack("<2d", 0.0, 0.05))
    for _ in range(100):
        emulator.step()
    hand.send(HandRequest.STOP)
    emulator.step()
    assert [struct.unpack("<H", hand.reply()[2])[0] for _ in range(2)] == [wire.HAND_ABORTED, wire.HAND_OK]
    hand.close()


def test_the_hand_says_whether_it_grasped_what_it_was_sent_for() -> None:
    emulator = Emulator(HOST, table=True, lockstep=False)
    try:
        q = Chain().joints(np.array(HOME), np.array([0.5, 0.0, 0.02, 0.0, 1.0, 0.0, 0.0]))
        emulator.restart({"red_cube": [0.5, 0.0, 0.0]}, q.tolist())
        hand = Client(emulator, wire.HAND_PORT, wire.HAND_VERSION)
        grasp = struct.pack("<5d", 0.0, 0.01, 0.06, 0.1, 20.0)
        hand.send(HandRequest.GRASP, grasp)
        assert hand_reply(hand) == wire.HAND_OK
        assert emulator.plant.width == pytest.approx(0.04, abs=0.003)
        hand.send(HandRequest.GRASP, struct.pack("<5d", 0.0, 0.005, 0.005, 0.1, 20.0))
        assert hand_reply(hand) == wire.HAND_UNSUCCESSFUL, "something lies there, but not what was asked for"
        hand.send(HandRequest.MOVE, struct.pack("<2d", 0.0, 0.1))
        assert hand_reply(hand) == wire.HAND_FAILED
        hand.send(HandRequest.MOVE, struct.pack("<2d", 0.08, 0.1))
        for _ in range(20):
            emulator.step()
        emulator.restart({"red_cube": [0.5, 0.2, 0.0]}, q.tolist())
        assert hand_reply(hand) == wire.HAND_ABORTED
        hand.close()
    finally:
        emulator.close()


def test_nobody_outside_this_machine_can_reach_it() -> None:
    with pytest.raises(ValueError, match=r"127\.x\.y\.z"):
        Emulator("0.0.0.0")


def test_faults_and_questions_go_over_the_admin_channel() -> None:
    with Emulator(HOST, table=True) as emulator:
        ask(HOST, "restart", condition={"red_cube": [0.5, 0.1, 0.0]})
        ask(HOST, "reflex", error="power_limit_violation")
        assert ask(HOST, "status")["errors"] == ["power_limit_violation"]
        with pytest.raises(Unwilling, match="there is no error 'hiccup'"):
            ask(HOST, "reflex", error="hiccup")
        with pytest.raises(Unwilling, match="cannot 'dance'; it can reflex"):
            ask(HOST, "dance")
        with pytest.raises(Unwilling, match="has no \\['purple_cube'\\]"):
            ask(HOST, "restart", condition={"purple_cube": [0.5, 0.1, 0.0]})
        trace = ask(HOST, "trace", milliseconds=20)
        assert (np.diff(trace["clock"]) == 1).all()
        assert emulator.status()["connected"] is False
    with pytest.raises(Unwilling, match="no emulated robot answers"):
        ask(HOST, "status")


def test_what_the_surroundings_show_is_there_for_any_program() -> None:
    emulator = Emulator(HOST, table=True, lockstep=False)
    try:
        emulator.restart({"red_cube": [0.5, 0.1, 0.0]})
        with truth(HOST) as seen:
            for _ in range(200):
                emulator.step()
            rows = seen.read(0)
        assert (np.diff(rows["seq"]) == 1).all()
        assert len(rows) == 10, "one in 20 ms"
        assert rows["red_cube"][-1, :2] == pytest.approx([0.5, 0.1], abs=0.01)
        with Camera("front", HOST, (12, 16), hz=20) as camera:
            for _ in range(200):
                emulator.step()
            pictures = camera.read(int(rows["t"][-1]))
        assert (np.diff(pictures["seq"]) == 1).all()
        assert len(pictures) == 4
        assert np.ptp(pictures["rgb"][-1]) > 20
    finally:
        emulator.close()
    with pytest.raises(DeviceError, match="nobody publishes it"):
        seen.__enter__()
    with pytest.raises(ValueError, match="at most 100"):
        Camera("front", HOST, hz=200)


def test_that_the_arm_hit_the_table_is_told_at_once() -> None:
    """In the millisecond of the first touch, which is not one of the truth's own; and not again while it lasts."""
    body, host, chain = Body((8, 8)), address(3), Chain()
    plant, shown = Plant(body), Shown(host, body)
    plant.reset({})
    try:
        with truth(host) as seen:
            q, tool = np.array(HOME), chain.tool(np.array(HOME))
            tool[2] = 0.03
            clock, hit = 0, 0
            while clock < hit + 100 or not hit:
                clock += 1
                tool[2] -= 0.0002
                q = chain.joints(q, tool)
                plant.follow(q, np.zeros(7), np.zeros(7))
                shown.show(clock)
                rows = seen.read(0)
                if not hit and body.collided(body.touching()):
                    hit = clock
                    assert hit % TRUTHS, "the test needs another height to begin at"
                    assert rows["collided"][-1]
            assert rows["seq"].tolist() == list(range(len(rows)))
            assert rows["collided"].sum() == 1 + 100 // TRUTHS
    finally:
        shown.close()


def test_a_camera_tells_its_last_pictures_when_the_robot_is_gone() -> None:
    with Emulator(address(3), table=True) as emulator, Camera("front", emulator.host, (24, 32), 20) as camera:
        while not len(rows := camera.read(0)):
            threading.Event().wait(0.01)
        emulator.__exit__(None, None, None)
        with pytest.raises(DeviceLost) as lost:
            camera.read(int(rows["t"][0]) - 1)
    last = lost.value.last
    assert last is not None
    assert last.dtype == camera.dtype
    np.testing.assert_array_equal(last[: len(rows)], rows)


def test_in_lockstep_the_robots_time_waits_for_its_client() -> None:
    emulator = Emulator(HOST)
    client = Client(emulator)
    torque(client)
    client.command()
    late = threading.Timer(0.1, lambda: client.states.sendto(answer.tobytes(), client.sender))
    answer = np.zeros(1, wire.COMMAND)
    answer["message_id"] = client.hear()["message_id"]
    before = emulator.arm.missing
    late.start()
    emulator.step()
    assert emulator.arm.missing == before
    client.close()
    late.join()
    emulator.close()
