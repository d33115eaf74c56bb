"""Write episodes as a zarr ReplayBuffer, which diffusion_policy and UMI train from.

All episodes one after the other: ``data/<key>`` over time, ``meta/episode_ends`` where each one ends. The files are
those of zarr version 2, in a folder or, when the name ends with ``.zip``, in one file.
"""

import json
import zipfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation  # type: ignore[import-untyped]  # it ships no types

from storage import export
from storage.export import CannotWrite, Take, Written, aside
from storage.grid import Grid
from storage.images import Image

CHUNK = 2 << 20
"""Bytes in one piece of an array of numbers."""

Numbers = Mapping[str, NDArray[Any]]


class Codec(Protocol):
    """How a picture is packed, and what its reader is told."""

    @property
    def config(self) -> dict[str, Any]: ...
    def encode(self, image: Image) -> bytes: ...


@dataclass(frozen=True)
class JpegXl:
    """What UMI uses. Its reader registers the codec by itself; another one has to."""

    level: int = 99
    """100 keeps every pixel."""

    @property
    def config(self) -> dict[str, Any]:
        return {"id": "imagecodecs_jpegxl", "level": self.level, "numthreads": 1}

    def encode(self, image: Image) -> bytes:
        return bytes(imagecodecs.jpegxl_encode(image, level=self.level, lossless=self.level >= 100, numthreads=1))


@dataclass(frozen=True)
class Blosc:
    """What every zarr reads. It keeps every pixel, and takes a lot of room."""

    level: int = 5

    @property
    def config(self) -> dict[str, Any]:
        return {"id": "blosc", "cname": "zstd", "clevel": self.level, "shuffle": 1, "blocksize": 0}

    def encode(self, image: NDArray[Any]) -> bytes:
        packed = imagecodecs.blosc_encode(
            np.ascontiguousarray(image).tobytes(),
            level=self.level,
            compressor="zstd",
            shuffle="shuffle",
            typesize=image.dtype.itemsize,
            numthreads=1,
        )
        return bytes(packed)


@dataclass(frozen=True)
class Keys:
    """What the arrays are called, and which numbers are in them."""

    numbers: Callable[[Take, Grid], Numbers]
    camera: str
    """The name of a camera's pictures, with ``{}`` for its number."""


@dataclass(frozen=True)
class Buffer:
    """How a buffer is written.

    Args:
        fps: steps per second.
        keys: `UMI` or `DIFFUSION_POLICY`.
        cameras: which, in the order of their numbers; None: all, by name.
        size: pictures are brought to this height and width; None: as they are.
        images: how pictures are packed.
        max_age: seconds. A stream that says nothing for longer makes an episode unfit.
    """

    fps: float
    keys: Keys
    cameras: Sequence[str] | None = None
    size: int | None = 224
    images: Codec = field(default_factory=JpegXl)
    max_age: float = 0.25


def write(
    takes: Sequence[Take], path: Path, how: Buffer, tell: Callable[[int, int], None] = lambda _done, _of: None
) -> Written:
    """Write episodes, in this order, as a buffer. It gets its name when it is whole.

    Raises:
        CannotWrite: there is nothing to write, or the episodes do not fit into one buffer.
        FileExistsError: the path is there already.
        Stale: a stream was silent for too long.
        OSError: a file could not be written.
    """
    if not takes:
        raise CannotWrite("there are no episodes to write")
    cameras = list(how.cameras) if how.cameras is not None else export.cameras(takes[0])
    parts: list[Numbers] = []
    seen = dict.fromkeys(cameras, 0)
    shapes: dict[str, tuple[int, ...]] = {}
    with aside(path) as unfinished, _store(unfinished) as put:
        for done, take in enumerate(takes):
            over = export.over(take, cameras, how.fps, how.max_age)
            parts.append(how.keys.numbers(take, over))
            for number, camera in enumerate(cameras):
                for picture in export.pictures(take.episode.frames(camera), over.index[camera], how.size):
                    if shapes.setdefault(camera, picture.shape) != picture.shape:
                        raise CannotWrite(
                            f"episode {take.episode.id}: {camera!r} sees {picture.shape}, before it was "
                            f"{shapes[camera]}; give a size to bring them to"
                        )
                    put(f"data/{how.keys.camera.format(number)}/{seen[camera]}.0.0.0", how.images.encode(picture))
                    seen[camera] += 1
            tell(done + 1, len(takes))
        ends = np.cumsum([len(next(iter(part.values()))) for part in parts], dtype=np.int64)
        for group in ("", "data/", "meta/"):
            put(f"{group}.zgroup", json.dumps({"zarr_format": 2}).encode())
        for name in _names(parts, takes):
            _array(put, f"data/{name}", np.concatenate([part[name] for part in parts]), Blosc())
        for number, camera in enumerate(cameras):
            name, shape = f"data/{how.keys.camera.format(number)}", shapes[camera]
            put(f"{name}/.zarray", _about((int(ends[-1]), *shape), (1, *shape), np.dtype("u1"), how.images.config))
            put(f"{name}/.zattrs", json.dumps({"camera": camera}).encode())
        _array(put, "meta/episode_ends", ends, None)
    shown = [how.keys.camera.format(number) for number in range(len(cameras))]
    return Written(path, len(takes), int(ends[-1]), (*parts[0], *shown))


def _umi(take: Take, over: Grid) -> Numbers:
    """UMI's numbers: pose and opening of each hand. It makes its actions of them itself."""
    robot = export.robot(take)
    tool, width = _tools(take, robot, "tool", over), _widths(take, robot, "width", over)
    found: dict[str, NDArray[Any]] = {}
    for arm in range(tool.shape[1]):
        found[f"robot{arm}_eef_pos"] = tool[:, arm, :3].astype("f4")
        found[f"robot{arm}_eef_rot_axis_angle"] = tool[:, arm, 3:].astype("f4")
        found[f"robot{arm}_gripper_width"] = width[:, arm, None].astype("f4")
        found[f"robot{arm}_demo_start_pose"] = np.repeat(tool[:1, arm], len(over), axis=0)
        found[f"robot{arm}_demo_end_pose"] = np.repeat(tool[-1:, arm], len(over), axis=0)
    return found


def _diffusion_policy(take: Take, over: Grid) -> Numbers:
    """diffusion_policy's numbers for a real robot: poses are x y z in metres, then an axis times an angle."""
    robot = export.robot(take)
    tool, width = _tools(take, robot, "tool", over), _widths(take, robot, "width", over)
    aim, opening = _tools(take, robot, "tool_target", over), _widths(take, robot, "width_target", over)
    index = over.index[robot]
    found = {
        "action": np.concatenate([aim, opening[..., None]], axis=-1).reshape(len(over), -1),
        "robot_eef_pose": tool.reshape(len(over), -1),
        "robot_gripper_width": width,
        "robot_joint": take.episode[robot, "q"][index],
        "timestamp": over.at / 1e9,
    }
    if "dq" in (take.episode.dtype(robot).names or ()):
        found["robot_joint_vel"] = take.episode[robot, "dq"][index]
    return {name: values.astype("f8") for name, values in found.items()}


UMI = Keys(_umi, "camera{}_rgb")
DIFFUSION_POLICY = Keys(_diffusion_policy, "camera_{}")


def _tools(take: Take, robot: str, name: str, over: Grid) -> NDArray[np.float64]:
    """Poses (n, arms, 6): x y z in metres, axis times angle in radians. A target is the one that followed."""
    index = (over.after if name.endswith("_target") else over.index)[robot]
    poses = take.episode[robot, name][index].reshape(len(over), -1, 7)
    turned = Rotation.from_quat(poses[..., 3:].reshape(-1, 4), scalar_first=True).as_rotvec()
    return np.concatenate([poses[..., :3], turned.reshape(*poses.shape[:2], 3)], axis=-1)


def _widths(take: Take, robot: str, name: str, over: Grid) -> NDArray[np.float64]:
    index = (over.after if name.endswith("_target") else over.index)[robot]
    widths: NDArray[np.float64] = take.episode[robot, name][index].reshape(len(over), -1).astype("f8")
    return widths


def _names(parts: Sequence[Numbers], takes: Sequence[Take]) -> list[str]:
    """The names of the numbers, which are the same in every episode."""
    for part, take in zip(parts, takes, strict=True):
        kinds = [{name: values.shape[1:] for name, values in each.items()} for each in (parts[0], part)]
        if kinds[0] != kinds[1]:
            differs = sorted(name for name in kinds[0] | kinds[1] if kinds[0].get(name) != kinds[1].get(name))
            raise CannotWrite(
                f"episodes {takes[0].episode.id} and {take.episode.id} do not fit into one buffer: "
                f"they differ in {', '.join(differs)}"
            )
    return list(parts[0])


Put = Callable[[str, bytes], None]


@contextmanager
def _store(path: Path) -> Generator[Put]:
    """Open a folder, or one zip file, to put files into."""

    def put(name: str, content: bytes) -> None:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)

    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            yield file.writestr
    else:
        yield put


def _array(put: Put, name: str, values: NDArray[Any], codec: Blosc | None) -> None:
    """Write one array of numbers, in pieces along time."""
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    rows = max(1, min(len(values), CHUNK // max(1, values[0].nbytes)))
    chunk = (rows, *values.shape[1:])
    put(f"{name}/.zarray", _about(values.shape, chunk, values.dtype, None if codec is None else codec.config))
    for place, first in enumerate(range(0, len(values), rows)):
        piece = np.zeros(chunk, values.dtype)
        piece[: len(values) - first] = values[first : first + rows]
        packed = piece.tobytes() if codec is None else codec.encode(piece)
        put(f"{name}/{'.'.join([str(place), *['0'] * (values.ndim - 1)])}", packed)


def _about(shape: tuple[int, ...], chunk: tuple[int, ...], kind: np.dtype[Any], codec: Any) -> bytes:
    """What zarr version 2 says of an array."""
    said = {"zarr_format": 2, "shape": shape, "chunks": chunk, "dtype": kind.str, "compressor": codec}
    return json.dumps(said | {"fill_value": 0, "order": "C", "filters": None}).encode()
