"""robomimic's HDF5 files, read in the way of its own dataset."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from storage import Episode
from storage.export import CannotWrite, Take
from storage.robomimic import Demonstrations, write
from tests import takes


def made(root: Path, count: int) -> list[Take]:
    found = []
    for number in range(count):
        take = takes.Take().to("red_cube").wait(0.2 * number)
        said = {"success": int(number % 2 == 0), "policy": None}
        found.append(Take(Episode(take.record(root, camera=True).path), said))
    return found


def test_a_demonstration_holds_what_was_seen_and_what_was_commanded(tmp_path: Path) -> None:
    given = made(tmp_path / "home", 2)
    written = write(given, tmp_path / "out.hdf5", Demonstrations(10))
    with h5py.File(tmp_path / "out.hdf5", "r") as file:
        assert sorted(file["data"], key=lambda name: int(name[5:])) == ["demo_0", "demo_1"]
        assert (
            file["data"].attrs["total"] == written.steps == sum(d.attrs["num_samples"] for d in file["data"].values())
        )
        about = json.loads(file["data"].attrs["env_args"])
        assert {"env_name", "type", "env_kwargs"} <= about.keys()
        for take, demo in zip(given, file["data"].values(), strict=True):
            arm, steps = take.episode.rows("arm"), demo.attrs["num_samples"]
            row = np.arange(steps) * 5
            after = np.minimum(row + 5, len(arm) - 1)
            assert (demo["obs/robot0_eef_pos"][:] == arm["tool"][row, :3]).all()
            assert (demo["obs/robot0_eef_quat"][:] == arm["tool"][row][:, [4, 5, 6, 3]]).all()
            assert (demo["obs/robot0_gripper_qpos"][:, 0] == arm["width"][row]).all()
            assert (demo["actions"][:, :7] == arm["q_target"][after]).all()
            assert (demo["actions"][:, 7] == arm["width_target"][after]).all()
            assert (demo["obs/front_image"][:] == take.episode.frames("front")[row // 10]).all()
            assert demo["dones"][:].tolist() == [0] * (steps - 1) + [1]
            assert demo["rewards"][:].tolist() == [0] * (steps - 1) + [take.said["success"]]
            assert demo.attrs["appliance_id"] == str(take.episode.id)


def test_every_demonstration_is_either_for_training_or_for_validation(tmp_path: Path) -> None:
    given = made(tmp_path / "home", 5)
    for name in ("one", "again"):
        write(given, tmp_path / name, Demonstrations(5, cameras=[], valid=0.4, seed=3))
    with h5py.File(tmp_path / "one", "r") as one, h5py.File(tmp_path / "again", "r") as again:
        train, valid = ([name.decode() for name in one[f"mask/{part}"][:]] for part in ("train", "valid"))
        assert len(valid) == 2
        assert sorted(train + valid) == [f"demo_{i}" for i in range(5)]
        assert [name.decode() for name in again["mask/valid"][:]] == valid
        assert "front_image" not in one["data/demo_0/obs"]


def test_pictures_come_in_the_size_that_is_asked_for(tmp_path: Path) -> None:
    write(made(tmp_path / "home", 1), tmp_path / "out.hdf5", Demonstrations(5, size=24))
    with h5py.File(tmp_path / "out.hdf5", "r") as file:
        assert file["data/demo_0/obs/front_image"].shape[1:] == (24, 24, 3)


def test_what_does_not_fit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    blind = Take(Episode(takes.Take().wait(1).record(tmp_path / "home").path))
    with pytest.raises(CannotWrite, match=rf"{blind.episode.id} has no camera front; it has none"):
        write([*made(tmp_path / "home", 1), blind], tmp_path / "out.hdf5", Demonstrations(10))
    with pytest.raises(CannotWrite, match="there are no episodes"):
        write([], tmp_path / "out.hdf5", Demonstrations(10))
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]


def test_nothing_is_written_over_not_even_what_appears_meanwhile(tmp_path: Path) -> None:
    given, path = made(tmp_path / "home", 1), tmp_path / "out.hdf5"
    told = []

    def appear(done: int, _of: int) -> None:
        told.append(done)
        path.write_text("somebody else's")

    with pytest.raises(FileExistsError):
        write(given, path, Demonstrations(10), appear)
    with pytest.raises(FileExistsError):
        write(given, path, Demonstrations(10), appear)
    assert told == [1]
    assert path.read_text() == "somebody else's"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["home", "out.hdf5"]
