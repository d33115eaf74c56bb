"""Eyes made from pictures or loaded like real weights, and what they saw kept on disk."""

import os
import signal
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from learners.backbones import IMAGENET
from learners.clap.augment import Photometric
from learners.clap.features import PIECE, Eye, Lights, Outline, Patches, looked, mark
from storage import pictures as pixels
from storage.pictures import NoRoom, Unpacked

torch.set_num_threads(1)

LIGHTS = Lights(2)


def frames(count: int = 3 * PIECE, size: int = 32, seed: int = 0) -> Unpacked:
    return Unpacked(np.random.default_rng(seed).integers(0, 255, (count, size, size, 3), "u1"))


def shown(frames: Unpacked, some: NDArray[np.intp]) -> Tensor:
    return torch.from_numpy(frames[some].transpose(0, 3, 1, 2)).float() / 255


def eye() -> Patches:
    return Patches(16, 12).fit(shown(frames(), np.arange(64)))


class Counting(nn.Module):
    """An eye that counts how often it looks, and may be blinded after so many times."""

    def __init__(self, sees: Patches, most: int = 1000) -> None:
        super().__init__()
        self.sees, self.looks, self.most = sees, 0, most

    def forward(self, pictures: Tensor) -> Tensor:
        self.looks += 1
        if self.looks > self.most:
            raise KeyboardInterrupt
        seen: Tensor = self.sees(pictures)
        return seen


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tiny DINOv3 in a folder, as a user's real one is."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    torch.manual_seed(0)
    kind: Any = DINOv3ViTConfig
    config = kind(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, num_register_tokens=4
    )
    DINOv3ViTModel(config).save_pretrained(tmp_path / "dino")
    return str(tmp_path / "dino")


def test_dinov3_is_loaded_from_a_folder_and_only_its_patches_are_seen(weights: str) -> None:
    made = Eye(weights)
    one = torch.rand(2, 3, 48, 64)
    seen = made(one)
    assert seen.shape == (2, 12, 64)
    model = made.model.model
    mean, spread = (torch.tensor(each).view(3, 1, 1) for each in IMAGENET)
    whole = model(pixel_values=(one - mean) / spread).last_hidden_state
    assert whole.shape[1] == 1 + 4 + 12
    torch.testing.assert_close(seen, whole[:, 5:])
    assert not any(p.requires_grad for p in made.parameters())
    assert not seen.requires_grad


def test_an_eye_is_made_again_from_its_facts_without_the_folder(weights: str) -> None:
    made = Eye(weights)
    again = Eye(made.facts)
    again.load_state_dict(made.state_dict())
    one = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(again(one), made(one))


def test_dinov2_is_an_eye_too(tmp_path: Path) -> None:
    from transformers import Dinov2Config, Dinov2Model

    kind: Any = Dinov2Config
    config = kind(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=56, patch_size=14)
    Dinov2Model(config).save_pretrained(tmp_path / "dino")
    assert Eye(str(tmp_path / "dino"))(torch.rand(2, 3, 56, 56)).shape == (2, 16, 32)


def test_a_name_that_is_a_path_to_nothing_is_refused_by_whoever_asks() -> None:
    from learners.clap.vd_vae import VdVae
    from tests.test_clap_vd_vae import ACT, film, robot

    with pytest.raises(FileNotFoundError, match="save_pretrained"):
        VdVae(vision="./nowhere").fit(robot(), film(), ACT.fit(robot()))


def test_a_small_eye_sees_patches_apart_and_evenly_spread() -> None:
    made, source = eye(), frames()
    seen = made(shown(source, np.arange(64)))
    assert seen.shape == (64, 4, 12)
    torch.testing.assert_close(seen.flatten(0, 1).mean(0), torch.zeros(12), atol=1e-3, rtol=0)
    spread = seen.flatten(0, 1).std(0)
    assert spread.min() > 0.8
    assert spread.max() < 1.1
    other = shown(source, np.arange(1))
    other[:, :, :16, :16] = 0
    changed = (made(other) - made(shown(source, np.arange(1)))).abs().sum(-1)[0]
    assert (changed > 0).tolist() == [True, False, False, False]


def test_every_frame_is_kept_clean_and_in_every_light(tmp_path: Path) -> None:
    made, source = eye(), frames(PIECE + 5)
    kept = looked(tmp_path, made, source, LIGHTS)
    assert kept.shape == (PIECE + 5, 3, 4, 12)
    assert kept.dtype == np.float16
    clean = made(shown(source, np.arange(PIECE + 5))).numpy()
    np.testing.assert_allclose(kept[:, 0], clean, atol=2e-2)
    assert not np.allclose(kept[:, 1], clean, atol=0.1)
    assert not np.allclose(kept[:, 1], kept[:, 2], atol=0.1)


def test_two_frames_of_a_pair_are_kept_in_one_light(tmp_path: Path) -> None:
    """The same picture twice, in different pieces, looks the same in the same light."""
    source = frames(2 * PIECE)
    source.images[-1] = source.images[0]
    kept = looked(tmp_path, eye(), source, Lights(2, Photometric(noise=0.0)))
    assert np.array_equal(kept[0], kept[-1])
    noisy = looked(tmp_path, eye(), source, LIGHTS)
    assert np.array_equal(noisy[0, 0], noisy[-1, 0])
    assert not np.array_equal(noisy[0, 1], noisy[-1, 1])


def test_the_eye_looks_once_and_again_only_at_something_else(tmp_path: Path) -> None:
    made, source = Counting(eye()), frames()
    looked(tmp_path, made, source, LIGHTS)
    assert made.looks == 3
    looked(tmp_path, made, source, LIGHTS)
    assert made.looks == 3
    other = Unpacked(source.images.copy())
    other.images[100, 3, 3, 0] ^= 1
    names = {
        mark(made, source, LIGHTS),
        mark(made, other, LIGHTS),
        mark(made, source, Lights(2, seed=1)),
        mark(Counting(Patches(16, 12)), source, LIGHTS),
    }
    assert len(names) == 4


def test_looking_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    source, told = frames(), list[tuple[int, int]]()
    with pytest.raises(KeyboardInterrupt):
        looked(tmp_path, Counting(eye(), most=2), source, LIGHTS)
    assert not list(tmp_path.glob("*.npy"))
    again = Counting(eye())
    kept = looked(tmp_path, again, source, LIGHTS, lambda done, of: told.append((done, of)))
    assert again.looks == 1
    assert told == [(3 * PIECE, 3 * PIECE)]
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"]
    assert np.array_equal(kept, looked(tmp_path / "other", eye(), source, LIGHTS))


def _killed(folder: Path) -> None:
    looked(folder, Counting(eye()), frames(), LIGHTS, lambda *_: os.kill(os.getpid(), signal.SIGKILL))


def test_looking_goes_on_after_a_kill(tmp_path: Path) -> None:
    process = get_context("spawn").Process(target=_killed, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    again = Counting(eye())
    kept = looked(tmp_path, again, frames(), LIGHTS)
    assert again.looks == 2
    assert np.array_equal(kept, looked(tmp_path / "other", eye(), frames(), LIGHTS))


def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learners.clap.features.SPARE", 1 << 60)
    with pytest.raises(NoRoom, match="use fewer lights, or look while training"):
        looked(tmp_path, eye(), frames(), LIGHTS)
    assert not list(tmp_path.glob("*.npy*"))
    assert pixels.SPARE < 1 << 60


def square(row: int, column: int, size: int = 4) -> Tensor:
    """A lit square in the dark, (1, 3, 32, 32)."""
    picture = torch.zeros(1, 3, 32, 32)
    picture[:, :, row : row + size, column : column + size] = 1
    return picture


def test_an_outline_goes_where_the_thing_goes_and_reaches_down_to_its_lowest_end() -> None:
    def places(picture: Tensor) -> Tensor:
        seen: Tensor = Outline(9)(picture)
        return seen[0]

    here, there = places(square(4, 4)), places(square(10, 20))
    torch.testing.assert_close(there - here, (2 / 31 * torch.tensor([16.0, 6.0])).expand(18, 2), atol=0.01, rtol=0)
    tall = square(2, 10)
    tall[:, :, 2:24, 11:13] = 1
    middle = tall[0, 0].nonzero()[:, 0].float().mean() / 15.5 - 1
    below = places(tall)[9:, 1]
    assert below.argmax() == 4
    assert below[4] > middle + 0.2


def test_an_outline_is_told_from_where_it_usually_is() -> None:
    lit = np.zeros((40, 32, 32, 3), np.uint8)
    for number, frame in enumerate(lit):
        frame[3 + number % 20 : 8 + number % 20, number % 24 : 4 + number % 24] = 255
    pictures = Unpacked(lit)
    seen = Outline.of([pictures], 5)(shown(pictures, np.arange(40)))
    torch.testing.assert_close(seen.mean(0), torch.zeros(10, 2), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.std(0), torch.ones(10, 2), atol=1e-3, rtol=0)


def test_an_outline_of_nothing_is_a_number() -> None:
    assert torch.isfinite(Outline(9)(torch.zeros(1, 3, 32, 32))).all()
