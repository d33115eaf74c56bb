"""What a served policy says of itself on connecting, and what a question to it and its answer hold.

Names are openpi's where openpi has one: a program of openpi's may ask too, with a picture of each camera under the
name that the contract gives it, ``observation/state`` and ``prompt``, and gets ``actions`` (k, d). Our own client says
the robot's rows as well, so that what is answered is what the same policy would have said at the robot, to the bit.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from appliance.serving.wire import Malformed
from learners import ChunkPolicy, Senses
from learners.body import Body, by_arm, widths
from learners.policy import timed
from learners.senses import FELT, ROBOT, STAMPS, felt
from storage import Observation, PolicyRow
from storage.layout import RGB
from storage.timeline import Rows

PROTOCOL = 1
"""Of what our own client says beside openpi's names."""

PROMPT, STATE, ACTIONS, ROWS = "prompt", "observation/state", "actions", "observation/robot"

MOST_ROWS = 1000
"""As many states as anybody looks back on."""

LAST = 1 << 62
"""Moments are below this, in nanoseconds."""

SKEWED = 1e-3
"""How far from a right angle, and from unit length, columns of a rotation matrix may be: a state has 7 digits."""

MEANING = "of each arm: joints (rad), tool position (m), first two columns of its rotation matrix, opening (m)"
"""What the numbers of ``observation/state`` are."""


@dataclass(frozen=True)
class Contract:
    """Which policy is served, what it has to be shown, and what its actions are."""

    policy: str
    digest: str
    """Of its folder, as in the catalog."""
    task: str
    method: str
    body: Body
    senses: Senses
    hz: float
    """Of its actions."""
    horizon: int
    """Nanoseconds of a plan that are followed before the next is asked for."""
    ensemble: float | None
    fields: Mapping[str, tuple[int, ...]]
    """Of an action, in order, and the shape of each."""

    @classmethod
    def of(cls, row: PolicyRow, policy: ChunkPolicy) -> Self:
        """What is to be said of a policy in the catalog."""
        view = policy.how.view.of(policy.body)
        nowhere = {"tool": np.tile(np.eye(7)[3], (1, policy.body.arms))}
        action = view.decode(np.zeros((1, 1, view.width)), nowhere)
        fields = {name: values.shape[2:] for name, values in action.items()}
        own = policy.body, policy.senses, policy.how.hz, policy.horizon, policy.ensemble, fields
        return cls(row.name, row.digest, row.task, row.method, *own)

    @property
    def pictures(self) -> dict[str, str]:
        """Under which name each camera's picture is sent."""
        first = next((camera for camera in self.senses.cameras if camera != "wrist"), None)
        return {
            camera: "observation/image" if camera == first else f"observation/{camera}_image"
            for camera in self.senses.cameras
        }

    @property
    def facts(self) -> dict[str, Any]:
        """The first message of a server; `said` reads it back."""
        fields = {name: list(shape) for name, shape in self.fields.items()}
        helps = {"appliance": PROTOCOL, "pictures": self.pictures, "state": MEANING}
        return helps | asdict(self) | {"fields": fields}

    @classmethod
    def said(cls, facts: Mapping[str, Any]) -> Self:
        """What a server said.

        Raises:
            Malformed: it serves something else, or speaks another protocol.
        """
        if facts.get("appliance") != PROTOCOL:
            raise Malformed(f"it is no appliance of protocol {PROTOCOL}; it says {sorted(facts)}")
        try:
            return cls(
                policy=str(facts["policy"]),
                digest=str(facts["digest"]),
                task=str(facts["task"]),
                method=str(facts["method"]),
                body=Body.said(facts),
                senses=Senses(**facts["senses"] | {"cameras": tuple(facts["senses"]["cameras"])}),
                hz=float(facts["hz"]),
                horizon=int(facts["horizon"]),
                ensemble=None if facts["ensemble"] is None else float(facts["ensemble"]),
                fields={str(name): tuple(map(int, shape)) for name, shape in facts["fields"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Malformed(f"its contract cannot be read: {type(error).__name__}: {error}") from error

    def question(self, glimpse: Observation, instruction: str) -> dict[str, Any]:
        """What is asked for a moment, of which ``glimpse`` is what the policy looks at."""
        robot = glimpse.streams[ROBOT]
        stamps = {"t": robot["t"], "received": robot["received" if "received" in (robot.dtype.names or ()) else "t"]}
        return {
            PROMPT: instruction,
            STATE: felt(robot[-1:])[0],
            ROWS: stamps | {name: robot[name] for name in FELT} | {"now": glimpse.t},
            **{key: glimpse.streams[camera][RGB][-1] for camera, key in self.pictures.items()},
        }

    def heard(self, question: Mapping[str, Any]) -> tuple[Observation, str]:
        """The moment that a question is of, and the instruction.

        Raises:
            Malformed: something is missing, or is not what the contract says.
        """
        instruction = question.get(PROMPT)
        if not isinstance(instruction, str):
            raise Malformed(f"{PROMPT!r} is to be the instruction, not {type(instruction).__name__}")
        robot, now = self._robot(question)
        streams: dict[str, Rows] = {ROBOT: robot}
        for camera, key in self.pictures.items():
            picture = _numbers(key, question.get(key), (None, None, 3))
            if picture.dtype != np.uint8 or not picture.size:
                raise Malformed(f"{key!r} is to be a picture of bytes, {_kind(picture)} is none")
            streams[camera] = np.zeros(1, _stamped((RGB, "u1", picture.shape)))
            streams[camera]["t"] = streams[camera]["received"] = now
            streams[camera][RGB] = picture
        return Observation(now, streams), instruction

    def answer(self, plan: Rows) -> dict[str, Any]:
        """What is answered: a plan without its first row, where the robot is already sent."""
        steps = [plan[name][1:].astype("<f8").reshape(len(plan) - 1, -1) for name in self.fields]
        return {ACTIONS: np.concatenate(steps, axis=1)}

    def plan(self, answer: Mapping[str, Any], seen: Observation) -> Rows:
        """The plan that an answer gives for the moment that was asked about.

        Raises:
            Malformed: it is none.
        """
        sizes = [math.prod(shape) for shape in self.fields.values()]
        actions = _numbers(ACTIONS, answer.get(ACTIONS), (None, sum(sizes)))
        if not len(actions):
            raise Malformed(f"there are no {ACTIONS}")
        parts = np.split(actions, np.cumsum(sizes)[:-1], axis=1)
        targets = {
            name: part.reshape(1, len(part), *shape)
            for part, (name, shape) in zip(parts, self.fields.items(), strict=True)
        }
        return timed(seen, targets, self.hz)

    def _robot(self, question: Mapping[str, Any]) -> tuple[Rows, int]:
        """The robot's rows of a question, and the moment that they are of."""
        said = question.get(ROWS)
        if said is None:
            return self._of_state(question.get(STATE)), 0
        now = said.get("now") if isinstance(said, dict) else None
        if type(now) is not int or abs(now) >= LAST:
            raise Malformed(f"{ROWS!r} is to have the moment 'now', in nanoseconds")
        count = len(_numbers("t", said.get("t"), (None,)))
        if not 0 < count <= MOST_ROWS:
            raise Malformed(f"{ROWS!r} is to have 1 to {MOST_ROWS} rows, not {count}")
        rows = self._rows(count)
        for name in rows.dtype.names or ():
            values = _numbers(name, said.get(name.removesuffix("_target")), rows[name].shape)
            if name in STAMPS and values.dtype != np.dtype("<i8"):
                raise Malformed(f"{name!r} is to be whole nanoseconds, not {values.dtype}")
            rows[name] = values
        return rows, now

    def _of_state(self, said: Any) -> Rows:
        """One row of a robot that a state tells of."""
        from scipy.spatial.transform import Rotation  # type: ignore[import-untyped]  # SciPy has no types

        arms = by_arm(_numbers(STATE, said, (self.body.width,)).astype("<f8"), self.body.arms)
        joints, place, across, opening = np.split(arms, np.cumsum([self.body.joints // self.body.arms, 3, 6]), axis=1)
        first, second = across[:, :3], across[:, 3:]
        frames = np.stack([first, second, np.cross(first, second)], axis=2)
        if not np.allclose(frames @ frames.transpose(0, 2, 1), np.eye(3), atol=SKEWED):
            raise Malformed(f"{STATE!r}: {across.tolist()} are no columns of a rotation matrix")
        turned = Rotation.from_matrix(frames).as_quat(scalar_first=True)
        rows = self._rows(1)
        for suffix in ("", "_target"):
            rows[f"q{suffix}"] = joints.ravel()
            rows[f"tool{suffix}"] = np.concatenate([place, turned], axis=1).ravel()
            rows[f"width{suffix}"] = widths(opening)
        return rows

    def _rows(self, count: int) -> Rows:
        """Rows of the robot. Where it is already sent is never asked for: an answer leaves it out."""
        arms = self.body.arms
        shapes = {"q": (self.body.joints,), "tool": (7 * arms,), "width": (arms,) if arms > 1 else ()}
        fields = [(f"{name}{suffix}", "<f8", shape) for suffix in ("", "_target") for name, shape in shapes.items()]
        return np.zeros(count, _stamped(*fields))


def _stamped(*fields: tuple[str, str, tuple[int, ...]]) -> np.dtype[np.void]:
    """The layout of rows with these fields, and with both stamps."""
    return np.dtype([*((name, "<i8") for name in STAMPS), *fields])


def _numbers(name: str, value: Any, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Finite numbers of a shape; None is any length.

    Raises:
        Malformed: they are none.
    """
    if not isinstance(value, np.ndarray) or len(value.shape) != len(shape):
        raise Malformed(f"{name!r} is to have the shape {shape}, {_kind(value)} has not")
    if any(size not in {None, has} for size, has in zip(shape, value.shape, strict=True)):
        raise Malformed(f"{name!r} is to have the shape {shape}, {_kind(value)} has not")
    if not np.isfinite(value).all():
        raise Malformed(f"{name!r} is not finite")
    return value


def _kind(value: Any) -> str:
    """What a value is, in a word or two."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return "nothing" if value is None else type(value).__name__
