"""A Qwen3-VL with action tokens: made here, loaded from a folder as a published one is, rebuilt from what is kept."""

import copy
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from learners import checkpoint
from learners.clap.little import Sizes, make_tiny
from learners.clap.lora import ActRows, LowRank
from learners.clap.prompt import TEMPLATE, Asked, encode
from learners.clap.reading import Pictures, Vocabulary
from learners.clap.vlm import NOISE, Qwen, Vlm

torch.set_num_threads(1)

ENTRIES = 32
TINY = Vlm.preset("tiny")
hf: Any = transformers
"""Its classes take arguments that its types do not know."""
SAID = (*TEMPLATE, " pick up the red cube")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights, tokenizer and processor as `transformers` publishes them."""
    where = tmp_path_factory.mktemp("qwen")
    make_tiny(where, SAID, TINY.sizes)
    return where


def made(how: Vlm = TINY) -> Qwen:
    torch.manual_seed(0)
    return Qwen(how, ENTRIES, SAID)


def scores(qwen: Qwen, images: Tensor) -> Tensor:
    """Logits of a prompt's every position."""
    asked = Asked(images, ["single right arm"] * len(images), ["pick up the red cube"] * len(images))
    with torch.no_grad():
        return qwen.logits(qwen.model(**encode(qwen.vocabulary, qwen.pictures, asked).model).last_hidden_state)


def pictures(count: int = 2, views: int = 2, size: int = 64) -> Tensor:
    return torch.randint(
        0, 256, (count, views, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def test_a_folder_of_published_form_is_loaded_with_its_weights_tokenizer_and_picture_settings(folder: Path) -> None:
    theirs = hf.Qwen3VLForConditionalGeneration.from_pretrained(folder)
    ours = Qwen(replace(TINY, source=str(folder)), ENTRIES)
    old = theirs.get_input_embeddings().weight
    torch.testing.assert_close(ours.model.language_model.embed_tokens.weight[: len(old)], old)
    for name, value in theirs.model.visual.state_dict().items():
        torch.testing.assert_close(ours.model.visual.state_dict()[name], value)
    assert ours.pictures.patch == TINY.sizes.patch
    assert ours.vocabulary.encode("pick up") == hf.AutoTokenizer.from_pretrained(folder)("pick up")["input_ids"]


def test_it_is_rebuilt_from_facts_and_tensors_without_the_folder(folder: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    shutil.copytree(folder, gone)
    how = replace(TINY, source=str(gone))
    first = Qwen(how, ENTRIES).eval()
    checkpoint.write(tmp_path / "kept", "clap.vlm", how, first.facts, first.state_dict())
    shutil.rmtree(gone)
    stored = checkpoint.read(tmp_path / "kept")
    again = Qwen(how, ENTRIES, facts=stored.facts)
    again.load_state_dict(stored.tensors)
    torch.testing.assert_close(scores(again.eval(), pictures()), scores(first, pictures()))


def test_a_folder_that_is_no_qwen_is_refused_by_its_tokenizer() -> None:
    with pytest.raises(ValueError, match="Qwen3-VL"):
        Vocabulary(Tokenizer(models.BPE()).to_str(), 4)


def test_a_tokenizer_with_other_action_tokens_is_refused() -> None:
    """It knows 32; 40 would not stand in a row, because the pad comes between."""
    words = made().vocabulary
    assert Vocabulary(words.json, ENTRIES).first == words.first
    with pytest.raises(ValueError, match="40 in a row"):
        Vocabulary(words.json, 40)


def test_action_tokens_follow_each_other_and_each_is_one_token(folder: Path) -> None:
    for how in (TINY, replace(TINY, source=str(folder))):
        words = Qwen(how, ENTRIES, SAID).vocabulary
        names = [*(f"<ACT_{code}>" for code in range(ENTRIES)), "<ACT_PAD>"]
        assert words.encode("".join(names)) == list(range(words.first, words.first + ENTRIES + 1))
        assert words.decode(range(words.first, words.first + ENTRIES + 1)) == "".join(names)
        assert words.pad_action == words.first + ENTRIES


def test_a_new_row_is_the_mean_of_the_old_ones_and_a_little_noise(folder: Path) -> None:
    qwen = Qwen(replace(TINY, source=str(folder)), ENTRIES)
    table = qwen.model.language_model.embed_tokens.weight.detach()
    first = qwen.vocabulary.first
    old, new = table[:first], table[first:]
    assert len(new) == ENTRIES + 1
    assert float((new - old.mean(0)).std() / old.std()) == pytest.approx(NOISE, rel=0.1)
    assert float((new - old.mean(0)).abs().max() / old.std()) < 6 * NOISE


def test_what_is_tied_is_stored_once() -> None:
    """Two names of one tensor would be written twice, and averaged twice."""
    kept = made().state_dict()
    assert len({tensor.data_ptr() for tensor in kept.values()}) == len(kept)


def test_an_output_layer_of_its_own_is_kept(folder: Path, tmp_path: Path) -> None:
    settings = hf.AutoConfig.from_pretrained(folder)
    settings.tie_word_embeddings = False
    torch.manual_seed(0)
    apart = hf.Qwen3VLForConditionalGeneration(settings)
    apart.save_pretrained(tmp_path)
    hf.AutoProcessor.from_pretrained(folder).save_pretrained(tmp_path)
    qwen = Qwen(replace(TINY, source=str(tmp_path)), ENTRIES)
    first = qwen.vocabulary.first
    torch.testing.assert_close(qwen.head.weight[:first], apart.lm_head.weight[:first])
    bare = Qwen(replace(TINY, source=str(tmp_path), lora=2), ENTRIES)
    assert isinstance(bare.head, ActRows), "what it says of action tokens learns"
    assert {name for name, each in bare.named_parameters() if each.requires_grad and "rows" in name} == {
        "model.language_model.embed_tokens.rows",
        "head.rows",
    }


def test_low_rank_updates_change_nothing_at_first_and_leave_the_model_frozen() -> None:
    full, low = made().eval(), made(replace(TINY, lora=4)).eval()
    torch.testing.assert_close(scores(low, pictures()), scores(full, pictures()))
    learns = {name for name, each in low.named_parameters() if each.requires_grad}
    assert learns
    assert all(name.endswith((".up", ".down", ".rows")) for name in learns)
    assert sum(isinstance(each, LowRank) for each in low.modules()) == 4 * TINY.sizes.layers
    few = sum(each.numel() for each in low.parameters() if each.requires_grad)
    assert few < sum(each.numel() for each in low.parameters()) / 10


def test_with_low_rank_updates_only_the_rows_of_action_tokens_move() -> None:
    low = made(replace(TINY, lora=4))
    before = copy.deepcopy(low.state_dict())
    words = low.vocabulary
    optimizer = torch.optim.AdamW([each for each in low.parameters() if each.requires_grad], 1e-2)
    ids = torch.tensor([[*words.encode("pick up"), words.first, words.first + 3]])
    hidden = low.model.language_model(input_ids=ids).last_hidden_state
    low.logits(hidden).square().mean().backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
    optimizer.step()
    after = low.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert "model.language_model.embed_tokens.rows" in moved
    assert all(name.endswith((".up", ".down", ".rows")) for name in moved)


def test_pictures_become_the_patches_of_the_models_own_processor(folder: Path) -> None:
    processor = hf.AutoProcessor.from_pretrained(folder).image_processor
    ours = Qwen(replace(TINY, source=str(folder)), ENTRIES).pictures
    for height, width in ((64, 64), (96, 128), (70, 100), (20, 20)):
        images = torch.randint(0, 256, (3, 3, height, width), dtype=torch.uint8)
        theirs = processor(images=list(images), return_tensors="pt")
        patches, rows, columns = ours.patches(images)
        assert theirs["image_grid_thw"].tolist() == [[1, rows, columns]] * 3
        torch.testing.assert_close(patches, theirs["pixel_values"])


@pytest.mark.parametrize(
    ("least", "most", "size"),
    [(65536, 16777216, (224, 224)), (65536, 16777216, (480, 640)), (1024, 4096, (480, 640)), (1024, 4096, (64, 20))],
)
def test_pictures_are_brought_to_the_size_that_the_processor_brings_them_to(
    least: int, most: int, size: tuple[int, int]
) -> None:
    ours = Pictures(16, 2, 2, (0.5,) * 3, (0.5,) * 3, least, most)
    rows, columns = ours.grid(*size)
    assert (16 * rows, 16 * columns) == smart_resize(*size, factor=32, min_pixels=least, max_pixels=most)


def test_small_pictures_may_stay_small(folder: Path) -> None:
    how = replace(TINY, source=str(folder), least_pixels=256)
    assert Qwen(how, ENTRIES).pictures.least == 256


def test_activations_computed_twice_give_the_same_gradients() -> None:
    plain, twice = made(), made(replace(TINY, checkpointing=True))
    slopes = []
    for qwen in (plain.train(), twice.train()):
        asked = Asked(pictures(), ["human"] * 2, ["pick up the red cube"] * 2)
        out = qwen.model(**encode(qwen.vocabulary, qwen.pictures, asked).model, use_cache=False)
        out.last_hidden_state.square().mean().backward()
        slopes.append([each.grad for each in qwen.parameters() if each.grad is not None])
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other)


def test_the_tiny_model_has_less_than_a_million_numbers_and_a_preset_has_a_name() -> None:
    assert sum(each.numel() for each in made().parameters()) < 1_000_000
    assert Sizes(layers=2, points=16) == Vlm.preset("small").sizes
    with pytest.raises(ValueError, match="no preset 'huge'"):
        Vlm.preset("huge")
