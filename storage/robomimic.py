"""Write episodes as one HDF5 file in robomimic's form: ``data/demo_<i>`` with obs, actions, rewards and dones."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from storage import export
from storage.export import CannotWrite, Take, Written, aside
from storage.grid import Grid

GYM = 2
"""The kind of environment that robomimic takes ours for. It has none for a real cell, and asks only to run one."""


@dataclass(frozen=True)
class Demonstrations:
    """How a file is written.

    Args:
        fps: steps per second.
        cameras: which; None: all.
        size: pictures are brought to this height and width; None: as they are.
        valid: which part of the episodes is set aside under ``mask/valid``.
        seed: decides which those are.
        max_age: seconds. A stream that says nothing for longer makes an episode unfit.
    """

    fps: float
    cameras: Sequence[str] | None = None
    size: int | None = None
    valid: float = 0.1
    seed: int = 0
    max_age: float = 0.25


def write(
    takes: Sequence[Take], path: Path, how: Demonstrations, tell: Callable[[int, int], None] = lambda _done, _of: None
) -> Written:
    """Write episodes, in this order, as demonstrations. The file gets its name when it is whole.

    An action is the joints (rad) and the opening (m) commanded after what was seen. The last step of an episode that
    is said to be a ``success`` has the reward 1.

    Raises:
        CannotWrite: there is nothing to write, or an episode lacks the robot or a camera.
        FileExistsError: the file is there already.
        Stale: a stream was silent for too long.
        OSError: the file could not be written.
    """
    if not takes:
        raise CannotWrite("there are no episodes to write")
    cameras = list(how.cameras) if how.cameras is not None else export.cameras(takes[0])
    total, keys = 0, dict.fromkeys(("actions",))
    with aside(path) as unfinished, h5py.File(unfinished, "w") as file:
        data = file.create_group("data")
        for number, take in enumerate(takes):
            demo = data.create_group(f"demo_{number}")
            over = export.over(take, cameras, how.fps, how.max_age)
            for name, values in _numbers(take, over).items():
                demo.create_dataset(name, data=values)
            for camera in cameras:
                _film(demo, camera, take, over, how.size)
            demo.attrs["num_samples"] = len(over)
            demo.attrs["appliance_id"] = str(take.episode.id)
            demo.attrs["appliance_digest"] = take.episode.digest
            for name, value in take.said.items():
                demo.attrs[name] = "" if value is None else value
            total += len(over)
            keys |= dict.fromkeys(demo["obs"])
            tell(number + 1, len(takes))
        data.attrs["total"] = total
        data.attrs["env_args"] = json.dumps(_environment(takes[0], how, cameras))
        for name, some in _split(len(takes), how).items():
            file.create_dataset(f"mask/{name}", data=np.array([f"demo_{i}" for i in sorted(some)], "S"))
    return Written(path, len(takes), total, tuple(keys))


def _numbers(take: Take, over: Grid) -> dict[str, NDArray[Any]]:
    """Everything but pictures. Quaternions are in robomimic's order: x y z w."""
    episode, robot = take.episode, export.robot(take)
    now, then = over.index[robot], over.after[robot]
    arms = episode[robot, "tool"][now].reshape(len(over), -1, 7)
    found = {"obs/robot0_joint_pos": episode[robot, "q"][now]}
    if "dq" in (episode.dtype(robot).names or ()):
        found["obs/robot0_joint_vel"] = episode[robot, "dq"][now]
    widths = episode[robot, "width"][now].reshape(len(over), -1)
    for arm in range(arms.shape[1]):
        found[f"obs/robot{arm}_eef_pos"] = arms[:, arm, :3]
        found[f"obs/robot{arm}_eef_quat"] = np.roll(arms[:, arm, 3:], -1, axis=1)
        found[f"obs/robot{arm}_gripper_qpos"] = widths[:, arm, None]
    targets = [episode[robot, field][then].reshape(len(over), -1) for field in ("q_target", "width_target")]
    last = np.arange(len(over)) == len(over) - 1
    found["actions"] = np.concatenate(targets, axis=1)
    found["dones"] = last.astype("i8")
    found["rewards"] = (last & (take.said.get("success") == 1)).astype("f8")
    return found


def _film(demo: Any, camera: str, take: Take, over: Grid, size: int | None) -> None:
    """Write one camera's pictures, each packed for itself."""
    frames, index = take.episode.frames(camera), over.index[camera]
    shape = frames.shape[1:] if size is None else (size, size, 3)
    kept = demo.create_dataset(
        f"obs/{camera}_image", (len(over), *shape), np.uint8, chunks=(1, *shape), compression="lzf"
    )
    for step, picture in enumerate(export.pictures(frames, index, size)):
        kept[step] = picture


def _environment(take: Take, how: Demonstrations, cameras: Sequence[str]) -> dict[str, Any]:
    said = take.episode.attributes
    about = {"control_freq": how.fps, "camera_names": list(cameras), "instruction": said.get("instruction", "")}
    units = {"actions": "joints rad, then gripper opening m; absolute", "robot0_eef_quat": "x y z w"}
    return {"env_name": said.get("station") or "appliance", "type": GYM, "env_kwargs": about | {"units": units}}


def _split(count: int, how: Demonstrations) -> dict[str, list[int]]:
    """Which demonstrations to learn from, and which to check on."""
    order = np.random.default_rng(how.seed).permutation(count).tolist()
    aside_for_checks = order[: round(how.valid * count)]
    return {"train": order[len(aside_for_checks) :], "valid": aside_for_checks}
