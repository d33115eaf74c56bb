"""CLIP's towers come from a folder or are made here, and live on without it; words that say nothing change nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch

from learners.lada.clip import END, Clip, Film, Sizes, Towers, make_tiny
from learners.lada.words import examples

torch.set_num_threads(1)

SMALL = Sizes(width=32, hidden=32, feedforward=64, image=32, patch=8)
TEXTS = ["put the red cube in the bowl", *examples()]


def towers(how: Clip | None = None) -> Towers:
    torch.manual_seed(0)
    return Towers(how or Clip(sizes=SMALL), TEXTS).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Towers as published ones lie on disk."""
    found = tmp_path_factory.mktemp("clip")
    make_tiny(str(found), TEXTS, SMALL)
    return found


def test_pictures_and_words_have_embeddings_of_one_width() -> None:
    made = towers()
    assert made.look(torch.randint(0, 256, (3, 2, 3, 32, 32)).byte()).shape == (3, 2, 32)
    assert made.say(["put the red cube in the bowl", "", "a word never seen"]).shape == (3, 32)


def test_a_text_is_not_changed_by_a_longer_one_beside_it() -> None:
    made = towers()
    short, long = "stay", TEXTS[-1]
    together = made.say([long, short, long])
    torch.testing.assert_close(together[1:2], made.say([short]), atol=1e-5, rtol=0)
    assert torch.equal(together[0], together[2])


def test_a_text_that_is_too_long_is_cut_and_still_ends() -> None:
    made = towers()
    ids = made._tokenizer.encode("red cube " * 200).ids
    assert len(ids) == SMALL.length
    assert ids[-1] == made._tokenizer.token_to_id(END)
    assert made.say(["red cube " * 200]).isfinite().all()


def test_every_sentence_has_an_embedding_of_its_own() -> None:
    said = towers().say(examples())
    assert len(torch.unique(said, dim=0)) == len(examples())


def test_words_that_have_not_learned_change_nothing() -> None:
    film, seen = Film(8, 16), torch.randn(3, 5, 16)
    assert torch.equal(film(seen, torch.randn(3, 8)), seen)


def test_words_scale_and_shift_what_is_seen() -> None:
    film, seen, said = Film(2, 3), torch.randn(1, 4, 3), torch.tensor([[1.0, 0.0]])
    with torch.no_grad():
        film.how.weight[:, 0] = torch.tensor([1.0, 0, -1, 0.5, 0, 0])
    expected = seen * torch.tensor([2.0, 1, 0]) + torch.tensor([0.5, 0, 0])
    torch.testing.assert_close(film(seen, said), expected)
    torch.testing.assert_close(film(seen[:, 0], said), expected[:, 0])


def test_towers_from_a_folder_are_built_again_without_it(folder: Path) -> None:
    loaded = Towers(Clip(str(folder))).eval()
    again = Towers(Clip("a/folder/that/is/gone"), facts=loaded.facts).eval()
    again.load_state_dict(loaded.state_dict())
    pictures = torch.randint(0, 256, (2, 1, 3, 40, 48)).byte()
    assert torch.equal(again.look(pictures), loaded.look(pictures))
    assert torch.equal(again.say(TEXTS[:3]), loaded.say(TEXTS[:3]))


def test_towers_from_a_folder_say_and_see_what_transformers_do(folder: Path) -> None:
    from transformers import AutoProcessor, AutoTokenizer, CLIPModel

    loaded = Towers(Clip(str(folder))).eval()
    model: Any = CLIPModel.from_pretrained(folder)
    processor: Any = AutoProcessor
    model.eval()
    words = AutoTokenizer.from_pretrained(folder)([TEXTS[0]], return_tensors="pt")
    pictures = torch.randint(0, 256, (2, 3, 32, 32)).byte()
    pixels = processor.from_pretrained(folder)(images=list(pictures), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        said = model.get_text_features(input_ids=words["input_ids"], attention_mask=words["attention_mask"])
        seen = model.get_image_features(pixel_values=pixels)
        torch.testing.assert_close(loaded.say([TEXTS[0]]), said.pooler_output)
        torch.testing.assert_close(loaded.look(pictures[:, None])[:, 0], seen.pooler_output, atol=1e-5, rtol=0)


def test_what_is_frozen_does_not_learn_and_the_words_copy_never_does() -> None:
    half = towers(Clip(sizes=SMALL, freeze_words=True)).train()
    assert not half.text.training
    learning = {name.split(".")[0] for name, each in half.named_parameters() if each.requires_grad}
    assert learning == {"vision", "to_vision"}
    spoken = towers().spoken()
    assert not any(each.requires_grad for each in spoken.parameters())
    assert spoken.vision is None
    assert torch.equal(spoken.say(TEXTS[:2]), towers().say(TEXTS[:2]))


def test_a_folder_that_is_not_there_is_said_to_be_missing() -> None:
    with pytest.raises(FileNotFoundError, match="save_pretrained"):
        Towers(Clip("/no/such/folder"))
