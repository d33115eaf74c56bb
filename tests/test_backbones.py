"""What turns pictures and words into tokens: where things are is found, and real models load as these small ones do."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from tokenizers import ByteLevelBPETokenizer
from tokenizers.processors import RobertaProcessing

import learners
from learners.backbones import FinePoints, KeyPoints, Pretrained, PretrainedText, Words, mean_word, sinusoids, whitening
from learners.ccol import CCoL
from storage import Observation
from tests.lessons import INSTRUCTION, QUICK, TINY, arm_rows, camera_rows, squares

torch.set_num_threads(1)

SECOND = 1_000_000_000

hf: Any = transformers
"""Its configurations take arguments that its types do not know."""


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def seen() -> Observation:
    """One moment before a camera and an arm."""
    stamps = np.arange(SECOND, 2 * SECOND, SECOND // 50)
    return Observation(int(stamps[-1]), {"arm": arm_rows(stamps), "front": camera_rows(stamps[::5])})


def dots(count: int, seed: int, colour: tuple[float, ...] = (1, 1, 1)) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey noise with one dot, and where it is: x, y in -1..1."""
    random = np.random.default_rng(seed)
    images = random.uniform(-1, -0.5, (count, 1, 1, 64, 64)).repeat(3, 2).astype("f4")
    corner = random.integers(0, 61, (count, 2))
    for image, (row, column) in zip(images, corner, strict=True):
        image[:, :, row : row + 4, column : column + 4] = np.array(colour)[:, None, None]
    return torch.from_numpy(images), torch.from_numpy(corner[:, ::-1] / 30 - 1).float()


RED = (-0.55, -0.8, -0.8)
"""As bright as the noise around it."""


def test_key_points_learn_to_find_a_bright_dot_to_a_few_hundredths_of_the_width() -> None:
    torch.manual_seed(0)
    assert learned(KeyPoints(cameras=1, points=2, channels=8)) < 0.03


@pytest.mark.parametrize("colour", [(1, 1, 1), RED])
def test_fine_points_learn_to_find_a_bright_or_a_red_dot_to_one_pixel(colour: Any) -> None:
    torch.manual_seed(0)
    points = FinePoints(cameras=1, points=2, channels=8)
    points.fit(dots(32, seed=0, colour=colour)[0])
    assert learned(points, colour) < 1 / 64


def learned(points: KeyPoints | FinePoints, colour: tuple[float, ...] = (1, 1, 1)) -> float:
    """How far off (shares of the picture's width) is a dot that was never seen, after 80 steps on others.

    Fine points tell places from edge to edge, the others from the middle of the first cell to that of the last.
    """
    edge = 15 / 16 if isinstance(points, FinePoints) else 1.0
    optimizer = torch.optim.Adam(points.parameters(), 1e-2)
    for step in range(80):
        images, place = dots(32, seed=step, colour=colour)
        loss = F.mse_loss(points(images)[:, 0, -3:-1] / 2, edge * place)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        optimizer.step()
    images, place = dots(200, seed=1000, colour=colour)
    with torch.no_grad():
        return float((points(images)[:, 0, -3:-1] / 2 - edge * place).norm(dim=-1).mean() / 2)


@pytest.mark.parametrize("size", [(32, 48), (14, 50)])
def test_a_fine_point_that_looks_for_red_alone_lies_in_the_middle_of_a_red_block(size: tuple[int, int]) -> None:
    points = FinePoints(cameras=1, points=1, channels=2)
    with torch.no_grad():
        first: Any = points.first[0]
        second: Any = points.second[0]
        for each in (first, second):
            each.weight.zero_()
            each.bias.zero_()
        first.weight[0, 0, 1:3, 1:3] = 10.0
        second.weight[0, 0, 1, 1] = 10.0
        points.looks.copy_(torch.tensor([1.0, 0.0]))
        for row, column in [(0, 0), (2, 4), (6, 6), (8, size[1] - 2)]:
            images = torch.zeros(1, 1, 3, *size)
            images[..., 0, row : row + 2, column : column + 2] = 1.0
            x, y, around = points(images)[0, 0, -3:] / 2
            assert float((x + 1) * size[1] / 2) == pytest.approx(column + 1.0, abs=1e-4)
            assert float((y + 1) * size[0] / 2) == pytest.approx(row + 1.0, abs=1e-4)
            assert float(around) == pytest.approx(0.0, abs=1e-5)


def test_a_fine_point_that_looks_for_nothing_looks_everywhere() -> None:
    points = FinePoints(cameras=2, points=3, channels=4)
    with torch.no_grad():
        points.looks.zero_()
        tokens = points(torch.randn(2, 2, 3, 32, 48))
    everywhere = (1 - 1 / 16**2) / 3 + (1 - 1 / 24**2) / 3
    torch.testing.assert_close(tokens[..., -3:], torch.tensor([0, 0, everywhere]).expand(2, 6, 3))


def test_colours_vary_alike_after_whitening_and_red_stays_red() -> None:
    torch.manual_seed(0)
    light = 0.5 * torch.randn(10_000, 1)
    colours = light + torch.tensor([[0.2, 0.1, 0.1]]) * torch.randn(10_000, 3)
    apart = whitening(colours)
    spread = torch.linalg.eigvalsh(torch.cov((colours @ apart.T).T)).sqrt()
    torch.testing.assert_close(spread, spread.amax().expand(3), atol=0.0, rtol=0.15)
    torch.testing.assert_close(apart, apart.T)
    assert (apart @ torch.tensor([1.0, 0.0, 0.0])).argmax() == 0


def test_grey_that_is_only_grey_is_not_blown_up_to_colours_that_nobody_saw() -> None:
    grey = torch.randn(1000, 1).repeat(1, 3)
    noise = 0.1 / 127.5 * torch.randn(1000, 3)
    assert (noise @ whitening(grey + noise).T).std() < 0.1, "a tenth of a level is noise"


def test_each_camera_has_colours_of_its_own_and_keeps_them() -> None:
    points = FinePoints(cameras=2, points=5, channels=8)
    torch.testing.assert_close(points.get_buffer("apart"), torch.eye(3).expand(2, 3, 3))
    images = torch.randn(8, 2, 3, 32, 32) * torch.tensor([[1.0], [0.1]])[..., None, None]
    images[:, :, 0] *= 0.1
    points.fit(images)
    for camera in range(2):
        expected = whitening(images[:, camera].movedim(1, -1).flatten(0, 2))
        torch.testing.assert_close(points.get_buffer("apart")[camera], expected)
    again = FinePoints(cameras=2, points=5, channels=8)
    again.load_state_dict(points.state_dict())
    with torch.no_grad():
        assert torch.equal(again(images), points(images))


def test_fine_points_see_what_was_measured_apart_and_not_what_the_camera_gives() -> None:
    """Away from the edge, where what lies outside counts."""
    torch.manual_seed(0)
    points, plain = FinePoints(cameras=1, points=5, channels=8), FinePoints(cameras=1, points=5, channels=8)
    images = torch.rand(4, 1, 3, 32, 32) * torch.tensor([1.0, 0.2, 0.2])[:, None, None]
    points.fit(images)
    plain.load_state_dict(points.state_dict())
    grey, apart = (points.get_buffer(name)[0].clone() for name in ("grey", "apart"))
    plain.get_buffer("grey").zero_()
    plain.get_buffer("apart").copy_(torch.eye(3))
    whitened = torch.einsum("cd,bdhw->bchw", apart, images[:, 0] - grey[:, None, None])
    with torch.no_grad():
        seen, expected = (
            eyes._cells(0, pixels)[:, 0, :, :8].reshape(4, 16, 16, 8)[:, 2:-2, 2:-2]
            for eyes, pixels in ((points, images[:, 0]), (plain, whitened))
        )
    torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-4)
    assert seen.std() > 0.05
    assert not torch.allclose(apart, torch.eye(3), atol=0.5)


@pytest.mark.parametrize("kind", [KeyPoints, FinePoints])
def test_key_points_are_one_token_per_point_and_camera_and_end_in_where_they_are(kind: Any) -> None:
    points = kind(cameras=2, points=5, channels=8)
    tokens = points(torch.randn(3, 2, 3, 32, 48))
    assert tokens.shape == (3, 10, points.width)
    summary = points.summary(tokens)
    assert summary.shape == (3, points.summary_width)
    torch.testing.assert_close(summary.reshape(3, 10, 3), tokens[..., -3:])
    assert (tokens[..., -3:-1].abs() <= 2).all()


@pytest.mark.parametrize("kind", [KeyPoints, FinePoints])
def test_each_camera_has_its_own_eyes(kind: Any) -> None:
    """Moving what one camera sees moves its points and no others."""
    points, images = kind(cameras=2, points=5, channels=8), torch.randn(1, 2, 3, 32, 32)
    other = images.clone()
    other[:, 1] = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        before, after = points(images), points(other)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.equal(before[:, 5:], after[:, 5:])


def test_words_are_told_apart_by_what_they_are_and_where_they_stand() -> None:
    torch.manual_seed(0)
    words = Words(Words.vocabulary(["red cube on the yellow pad"]), 32).eval()
    with torch.no_grad():
        tokens, real = words(["red on yellow", "yellow on red"])
    assert real.all()
    assert not torch.allclose(mean_word(tokens, real)[0], mean_word(tokens, real)[1], atol=1e-4)


def test_a_vocabulary_is_the_words_of_the_instructions_without_case_or_stops() -> None:
    assert Words.vocabulary(["Put the red cube, please.", "the RED one"]) == (
        "cube",
        "one",
        "please",
        "put",
        "red",
        "the",
    )


def test_positions_are_sines_and_cosines() -> None:
    places = sinusoids(50, 32)
    assert places.shape == (50, 32)
    torch.testing.assert_close(places[0], torch.tensor([0.0, 1.0] * 16))
    torch.testing.assert_close(places[:, 0], torch.arange(50).float().sin())
    torch.testing.assert_close(places[:, 31], (torch.arange(50) * 10000 ** (-30 / 32)).cos())
    assert sinusoids(5, 7).shape == (5, 7)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vision and a language model as a person would have them on disk, only small."""
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    vision = hf.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=32, patch_size=16
    )
    hf.ViTModel(vision).save_pretrained(root / "vit")
    bpe = ByteLevelBPETokenizer()
    texts = [INSTRUCTION, "put the red cube on the yellow pad"] * 4
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    bpe.train_from_iterator(texts, vocab_size=300, min_frequency=1, special_tokens=special)
    bpe._tokenizer.post_processor = RobertaProcessing(sep=("</s>", 2), cls=("<s>", 0))
    hf.PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
    ).save_pretrained(root / "roberta")
    language = hf.RobertaConfig(
        vocab_size=300,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=66,
        pad_token_id=1,
    )
    hf.RobertaModel(language).save_pretrained(root / "roberta")
    return root


def with_models(root: Path) -> CCoL:
    return replace(TINY, vision=str(root / "vit"), text=str(root / "roberta"), training=replace(QUICK, steps=2))


def test_a_policy_on_pre_trained_models_needs_their_folders_only_to_be_trained(models: Path, tmp_path: Path) -> None:
    """Trained, saved, the models deleted, loaded: it plans the same."""
    folders = tmp_path / "models"
    shutil.copytree(models, folders)
    policy = with_models(folders).fit(squares(episodes=4))
    said = [policy.plan(seen(), words) for words in (INSTRUCTION, "put it there", "")]
    policy.save(tmp_path / "policy")
    shutil.rmtree(folders)
    restored = learners.load(tmp_path / "policy")
    for expected, words in zip(said, (INSTRUCTION, "put it there", ""), strict=True):
        np.testing.assert_array_equal(restored.plan(seen(), words), expected)
    assert not np.array_equal(said[0]["q"], said[1]["q"]), "the instruction says nothing"


def test_a_pre_trained_model_is_shown_colours_as_it_was_and_gives_its_patches_alone(models: Path) -> None:
    images, real = torch.rand(2, 3, 3, 32, 32) * 2 - 1, hf.ViTModel.from_pretrained(models / "vit").eval()
    plain = Pretrained(str(models / "vit"), frozen=True).eval()
    with torch.no_grad():
        expected = real(pixel_values=images.flatten(0, 1)).last_hidden_state
    assert expected.shape[1] == 1 + 4
    torch.testing.assert_close(plain(images), expected[:, 1:].reshape(2, 12, 32))
    said = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    folder = models / "said"
    shutil.copytree(models / "vit", folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    other = Pretrained(str(folder), frozen=True).eval()
    again = Pretrained(other.facts, frozen=True).eval()
    again.load_state_dict(other.state_dict())
    mean, spread = (torch.tensor(each).view(3, 1, 1) for each in said.values())
    as_told = ((images * spread + mean) - 0.5) / 0.5
    for each in (other, again):
        torch.testing.assert_close(each(as_told), plain(images), rtol=1e-4, atol=1e-5)


def test_pre_trained_weights_are_where_training_starts(models: Path) -> None:
    policy = with_models(models).fit(squares(episodes=4))
    real = hf.RobertaModel.from_pretrained(models / "roberta").state_dict()
    ours = policy.net.text.model.state_dict()
    assert real.keys() == ours.keys()
    assert all(torch.equal(real[name], ours[name]) for name in real)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_model_stays_what_it_was_and_the_other_learns(models: Path, frozen: bool) -> None:
    how = replace(with_models(models), freeze_vision=frozen, freeze_text=not frozen)
    trained = how.fit(squares(episodes=4)).net
    vision, text = hf.ViTModel.from_pretrained(models / "vit"), hf.RobertaModel.from_pretrained(models / "roberta")
    for before, after, stays in ((vision, trained.vision.model, frozen), (text, trained.text.model, not frozen)):
        assert all(parameter.requires_grad != stays for parameter in after.parameters())
        then, now = before.state_dict(), after.state_dict()
        same = all(torch.equal(then[name], now[name]) for name in then if "pooler" not in name)
        assert same == stays


def test_a_frozen_model_reads_without_dropout_also_in_training(models: Path) -> None:
    read = {frozen: PretrainedText(str(models / "roberta"), frozen).train() for frozen in (True, False)}
    twice = {frozen: [model([INSTRUCTION])[0] for _ in range(2)] for frozen, model in read.items()}
    assert torch.equal(*twice[True])
    assert not torch.equal(*twice[False])


def test_short_instructions_beside_long_ones_mean_the_same_to_a_language_model(models: Path) -> None:
    net = with_models(models).fit(squares(episodes=4)).net
    batch = squares(episodes=1, each=2).batch(np.arange(2))
    long = "put the red cube on the yellow pad and then go to the bright square"
    with torch.no_grad():
        together = net(batch.images, batch.state, ["red cube", long])["plan"]
        alone = net(batch.images[:1], batch.state[:1], ["red cube"])["plan"]
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("part", ["vision", "text"])
def test_a_folder_that_is_not_there_says_what_to_give(tmp_path: Path, part: str) -> None:
    gone = str(tmp_path / "gone")
    how = replace(TINY, vision=gone) if part == "vision" else replace(TINY, text=gone)
    with pytest.raises(FileNotFoundError, match=r"no folder '.*gone'; give one written by save_pretrained"):
        how.fit(squares(episodes=4))
