"""ReplayBuffers, read as zarr version 2 in the way of those who train from them."""

import json
import zipfile
from pathlib import Path
from typing import Any

import imagecodecs.numcodecs
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation  # type: ignore[import-untyped]  # it ships no types

from storage import Episode, EpisodeWriter
from storage.export import CannotWrite, Take
from storage.layout import part
from storage.replay_buffer import DIFFUSION_POLICY, UMI, Blosc, Buffer, JpegXl, write
from tests import takes
from tests.takes import ARM

imagecodecs.numcodecs.register_codecs(verbose=False)


def made(root: Path, count: int = 2) -> list[Take]:
    """Takes that move, turn the hand and see; each is longer than the one before."""
    found = []
    for number in range(count):
        take = takes.Take().to("red_cube").close("red_cube").wait(0.2 * number)
        found.append(Take(Episode(take.record(root, camera=True).path)))
    return found


def arm(root: Path, *fields: str) -> Take:
    """A take of an arm that says only this of itself."""
    rows = part(takes.Take().wait(1).arm(), list(fields))
    with EpisodeWriter(root, {"arm": rows.dtype}, {"task": "sort"}) as writer:
        writer.append("arm", rows)
        return Take(Episode(writer.seal().path))


def episodes(root: Any) -> list[dict[str, NDArray[Any]]]:
    """What a reader of such buffers takes apart again, after checking what it checks."""
    ends = root["meta"]["episode_ends"][:]
    data = root["data"]
    assert ends.dtype == np.int64
    assert all(value.shape[0] == ends[-1] for _, value in data.arrays())
    return [
        {name: value[first:last] for name, value in data.arrays()}
        for first, last in zip([0, *ends[:-1]], ends, strict=True)
    ]


def test_umi_finds_its_keys_in_a_zip(tmp_path: Path) -> None:
    given = made(tmp_path / "home")
    written = write(given, tmp_path / "out.zarr.zip", Buffer(10, UMI, size=32))
    with zarr.storage.ZipStore(tmp_path / "out.zarr.zip", mode="r") as store:
        root: Any = zarr.open_group(store, mode="r", zarr_format=2)
        found = episodes(root)
        assert root["data/camera0_rgb"].chunks == (1, 32, 32, 3)
        assert root["data/camera0_rgb"].metadata.to_dict()["compressor"]["id"] == "imagecodecs_jpegxl"
    assert written.steps == sum(len(each["camera0_rgb"]) for each in found)
    for take, each in zip(given, found, strict=True):
        arm = take.episode.rows("arm")[: len(each["robot0_eef_pos"]) * 5 : 5]
        assert (each["robot0_eef_pos"] == arm["tool"][:, :3].astype("f4")).all()
        turned = Rotation.from_rotvec(each["robot0_eef_rot_axis_angle"]).as_quat(scalar_first=True)
        assert np.abs((turned * arm["tool"][:, 3:]).sum(axis=1)) == pytest.approx(1, abs=1e-6)
        assert each["robot0_gripper_width"].shape == (len(arm), 1)
        assert each["robot0_gripper_width"].dtype == np.float32
        assert (each["robot0_demo_start_pose"][:, :3] == arm["tool"][0, :3]).all()
        assert (each["robot0_demo_end_pose"][:, :3] == arm["tool"][-1, :3]).all()
        frames = take.episode.frames("front").small(np.arange(len(arm) // 2), 32)
        error = np.abs(each["camera0_rgb"][::2][: len(frames)].astype(int) - frames)
        assert error.mean() < 2


def test_diffusion_policy_finds_its_keys_in_a_folder(tmp_path: Path) -> None:
    given = made(tmp_path / "home")
    write(given, tmp_path / "out.zarr", Buffer(10, DIFFUSION_POLICY, size=None, images=Blosc()))
    root: Any = zarr.open_group(tmp_path / "out.zarr", mode="r", zarr_format=2)
    assert {name for name, _ in root["data"].arrays()} == {
        *("action", "robot_eef_pose", "robot_gripper_width", "robot_joint", "robot_joint_vel", "timestamp", "camera_0")
    }
    assert root["data/camera_0"].attrs["camera"] == "front"
    for take, each in zip(given, episodes(root), strict=True):
        arm = take.episode.rows("arm")
        row = np.arange(len(each["timestamp"])) * 5
        assert each["timestamp"] == pytest.approx(arm["t"][row] / 1e9)
        assert (each["robot_joint_vel"] == arm["dq"][row]).all()
        after = np.minimum(row + 5, len(arm) - 1)
        assert (each["action"][:, :3] == arm["tool_target"][after, :3]).all()
        assert (each["action"][:, 6] == arm["width_target"][after]).all()
        assert (each["camera_0"] == take.episode.frames("front")[row // 10]).all()


def test_every_pixel_is_kept_when_asked_for(tmp_path: Path) -> None:
    given = made(tmp_path / "home", 1)
    write(given, tmp_path / "out.zarr", Buffer(5, UMI, size=None, images=JpegXl(level=100)))
    root: Any = zarr.open_group(tmp_path / "out.zarr", mode="r", zarr_format=2)
    assert (root["data/camera0_rgb"][:] == given[0].episode.frames("front")[: root["data/camera0_rgb"].shape[0]]).all()


def test_long_arrays_come_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.replay_buffer.CHUNK", 100)
    given = made(tmp_path / "home", 1)
    write(given, tmp_path / "out.zarr", Buffer(10, UMI, cameras=[]))
    root: Any = zarr.open_group(tmp_path / "out.zarr", mode="r", zarr_format=2)
    assert root["data/robot0_eef_pos"].chunks == (8, 3)
    assert (root["data/robot0_eef_pos"][:] == given[0].episode["arm", "tool"][::5, :3].astype("f4")).all()


def test_the_files_are_as_zarr_2_wrote_them(tmp_path: Path) -> None:
    write(made(tmp_path / "home", 1), tmp_path / "out.zarr.zip", Buffer(10, UMI, size=32))
    with zipfile.ZipFile(tmp_path / "out.zarr.zip") as file:
        names = set(file.namelist())
        assert {".zgroup", "data/.zgroup", "meta/.zgroup", "meta/episode_ends/0", "data/camera0_rgb/0.0.0.0"} <= names
        said = json.loads(file.read("meta/episode_ends/.zarray"))
        assert (said["dtype"], said["compressor"], said["zarr_format"]) == ("<i8", None, 2)
        assert len(names) == len(file.namelist())


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    blind = Take(Episode(takes.Take().wait(1).record(tmp_path / "home").path))
    seeing = made(tmp_path / "home", 1)
    with pytest.raises(CannotWrite, match=rf"{blind.episode.id} has no camera front; it has none"):
        write([*seeing, blind], tmp_path / "out.zarr", Buffer(10, UMI))
    still = arm(tmp_path / "home", *(field for field in ARM.names or () if field != "dq"))
    with pytest.raises(CannotWrite, match=rf"and {still.episode.id} do not fit .* they differ in robot_joint_vel"):
        write([blind, still], tmp_path / "out.zarr", Buffer(10, DIFFUSION_POLICY, cameras=[]))
    blunt = arm(tmp_path / "home", "t", "q", "q_target")
    with pytest.raises(CannotWrite, match=r"no robot with tool, tool_target, width, width_target; its streams are arm"):
        write([blunt], tmp_path / "out.zarr", Buffer(10, UMI, cameras=[]))
    with pytest.raises(CannotWrite, match="there are no episodes"):
        write([], tmp_path / "out.zarr", Buffer(10, UMI))
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]
    write(seeing, tmp_path / "out.zarr.zip", Buffer(10, UMI))
    with pytest.raises(FileExistsError):
        write(seeing, tmp_path / "out.zarr.zip", Buffer(10, UMI))
