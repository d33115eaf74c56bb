"""What the model is told and what it answers: the text, its parts, its positions."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from learners.clap.little import make_tiny
from learners.clap.prompt import (
    ACTION,
    END,
    HUMAN,
    IGNORED,
    KINDS,
    PAD,
    PROMPT,
    TEMPLATE,
    TEXT,
    Answers,
    Asked,
    Inputs,
    drop_wrists,
    encode,
)
from learners.clap.vlm import Qwen, Vlm

torch.set_num_threads(1)

hf: Any = transformers
CODES, ENTRIES = 8, 32
INSTRUCTION = "pick up the red cube"
OTHER = "put the blue cube where the red cube was"
TINY = Vlm.preset("tiny")


@pytest.fixture(scope="module")
def qwen() -> Qwen:
    torch.manual_seed(0)
    return Qwen(TINY, ENTRIES, [*TEMPLATE, f" {INSTRUCTION}", f" {OTHER}"])


def codes(count: int = 1) -> torch.Tensor:
    """Left: 0 to 7; right: 8 to 15."""
    return torch.arange(2 * CODES).reshape(1, 2, CODES).expand(count, -1, -1)


def told(qwen: Qwen, arms: list[tuple[bool, bool]], instructions: list[str], views: int = 1) -> Inputs:
    images = torch.randint(0, 256, (len(arms), views, 3, 64, 64), dtype=torch.uint8)
    asked = Asked(images, [KINDS[each] for each in arms], instructions)
    return encode(qwen.vocabulary, qwen.pictures, asked, Answers(instructions, codes(len(arms)), torch.tensor(arms)))


def text(qwen: Qwen, ids: torch.Tensor) -> str:
    return qwen.vocabulary.decode(ids.tolist()).replace("<|image_pad|>", "").replace("<|endoftext|>", "")


def test_a_sample_reads_as_the_release_of_clap_has_it(qwen: Qwen) -> None:
    inputs = told(qwen, [(True, True)], [INSTRUCTION], views=3)
    right, left = ("".join(f"<ACT_{code}>" for code in codes()[0, arm].tolist()) for arm in (1, 0))
    assert text(qwen, inputs.ids[0]) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        + 3 * "<|vision_start|><|vision_end|>"
        + "Robot category: dual arm\nControl the robot to do the task: pick up the red cube\n"
        "Please output the subtask and the action tokens.<|im_end|>\n<|im_start|>assistant\n"
        f"Subtask: pick up the red cube\nAction: {right}{left}<|im_end|>"
    )


def test_a_single_arm_says_its_own_codes_and_one_pad(qwen: Qwen) -> None:
    for arms, arm in (((False, True), 1), ((True, False), 0)):
        inputs = told(qwen, [arms], [INSTRUCTION])
        own = "".join(f"<ACT_{code}>" for code in codes()[0, arm].tolist())
        assert text(qwen, inputs.ids[0]).endswith(f"\nAction: {own}<ACT_PAD><|im_end|>")
        assert int((inputs.part == ACTION).sum()) == CODES
        assert inputs.part[0, -2:].tolist() == [END, END]


def test_only_the_answer_is_learned(qwen: Qwen) -> None:
    """Labels are -100 before it and on padding; they begin with ``Subtask:`` and end with the end of the turn."""
    inputs = told(qwen, [(False, True), (True, True)], [INSTRUCTION, OTHER])
    for row in range(2):
        learned = inputs.labels[row] != IGNORED
        begins = int(learned.nonzero()[0])
        assert learned[begins:].all()
        assert text(qwen, inputs.ids[row, :begins]).endswith("<|im_start|>assistant\n")
        assert text(qwen, inputs.labels[row, begins:]).startswith("Subtask: p")
        assert int(inputs.labels[row, -1]) == qwen.vocabulary.end
        torch.testing.assert_close(inputs.labels[row, begins:], inputs.ids[row, begins:])
    assert inputs.answer == int((inputs.labels != IGNORED).sum(1).max())


def test_padding_stands_on_the_left(qwen: Qwen) -> None:
    inputs = told(qwen, [(False, True), (True, True)], [INSTRUCTION, OTHER])
    gap = int((inputs.part[0] == PAD).sum())
    assert gap > 0
    assert (inputs.part[0, :gap] == PAD).all()
    assert not (inputs.part[1] == PAD).any()
    assert inputs.model["attention_mask"][0].tolist() == [0] * gap + [1] * (inputs.ids.shape[1] - gap)


def test_every_part_is_where_it_says(qwen: Qwen) -> None:
    inputs = told(qwen, [(True, True)], [INSTRUCTION])
    parts = {part: text(qwen, inputs.ids[0][inputs.part[0] == part]) for part in (PROMPT, TEXT, ACTION, END)}
    assert parts[PROMPT].endswith("assistant\n")
    assert parts[TEXT] == f"Subtask: {INSTRUCTION}\nAction: "
    assert parts[ACTION] == "".join(f"<ACT_{code}>" for code in [*range(8, 16), *range(8)])
    assert parts[END] == "<|im_end|>"


def test_positions_are_counted_as_the_model_counts_them(qwen: Qwen) -> None:
    inputs = told(qwen, [(False, True), (True, True)], [INSTRUCTION, OTHER], views=2)
    theirs, _ = qwen.model.get_rope_index(
        inputs.ids,
        mm_token_type_ids=inputs.seen,
        image_grid_thw=inputs.grid,
        attention_mask=inputs.model["attention_mask"],
    )
    torch.testing.assert_close(inputs.places, theirs)
    assert inputs.next_place.tolist() == (theirs.amax(dim=(0, 2)) + 1).tolist()


def test_the_prompt_is_what_the_models_own_processor_makes_of_it(tmp_path: Path) -> None:
    """Ids, token types and patches, also of pictures that it resizes."""
    make_tiny(tmp_path, [*TEMPLATE, f" {INSTRUCTION}"], TINY.sizes)
    ours = Qwen(replace(TINY, source=str(tmp_path)), ENTRIES)
    processor = hf.AutoProcessor.from_pretrained(tmp_path)
    images = torch.randint(0, 256, (1, 2, 3, 70, 100), dtype=torch.uint8)
    inputs = encode(ours.vocabulary, ours.pictures, Asked(images, [HUMAN], [INSTRUCTION]))
    said = f"Robot category: human\nControl the robot to do the task: {INSTRUCTION}\n"
    said += "Please output the subtask and the action tokens."
    talk = [
        {"role": "system", "content": [{"type": "text", "text": "You are a helpful assistant."}]},
        {"role": "user", "content": [{"type": "image"}, {"type": "image"}, {"type": "text", "text": said}]},
    ]
    written = processor.apply_chat_template(talk, add_generation_prompt=True)
    theirs = processor(text=[written], images=list(images[0]), return_tensors="pt")
    assert inputs.ids.tolist() == theirs["input_ids"].tolist()
    assert inputs.seen.tolist() == theirs["mm_token_type_ids"].tolist()
    torch.testing.assert_close(inputs.grid, theirs["image_grid_thw"])
    torch.testing.assert_close(inputs.pixels, theirs["pixel_values"])
    assert inputs.answer == 0
    assert (inputs.labels == IGNORED).all()


def test_an_answer_read_whole_is_the_same_tokens_as_one_written_piece_by_piece(qwen: Qwen) -> None:
    inputs = told(qwen, [(True, True)], [INSTRUCTION])
    answer = inputs.ids[0, -inputs.answer :]
    assert qwen.vocabulary.encode(qwen.vocabulary.decode(answer.tolist())) == answer.tolist()


def test_a_subtask_stands_on_one_line(qwen: Qwen) -> None:
    images = torch.zeros(1, 1, 3, 64, 64, dtype=torch.uint8)
    answers = Answers(["pick up\n the  red cube "], codes(), torch.tensor([[True, True]]))
    inputs = encode(qwen.vocabulary, qwen.pictures, Asked(images, [HUMAN], [INSTRUCTION]), answers)
    assert "Subtask: pick up the red cube\nAction: <ACT_8>" in text(qwen, inputs.ids[0])


def test_a_code_that_the_vocabulary_does_not_have_is_refused(qwen: Qwen) -> None:
    images = torch.zeros(1, 1, 3, 64, 64, dtype=torch.uint8)
    for code in (ENTRIES, -1):
        answers = Answers([INSTRUCTION], torch.full((1, 2, CODES), code), torch.tensor([[False, True]]))
        with pytest.raises(ValueError, match=r"not in 0\.\.31"):
            encode(qwen.vocabulary, qwen.pictures, Asked(images, [HUMAN], [INSTRUCTION]), answers)


def test_a_wrist_that_is_dropped_shows_what_the_head_shows() -> None:
    images = torch.arange(3).reshape(1, 3, 1, 1, 1).expand(4000, 3, 3, 2, 2)
    shown = drop_wrists(images, 0.5, torch.Generator().manual_seed(0))[:, :, 0, 0, 0]
    assert (shown[:, 0] == 0).all()
    for view in (1, 2):
        assert set(shown[:, view].tolist()) == {0, view}
        assert float((shown[:, view] == 0).float().mean()) == pytest.approx(0.5, abs=0.03)
    assert float(((shown[:, 1] == 0) & (shown[:, 2] == 0)).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert drop_wrists(images, 0.0) is not None
    torch.testing.assert_close(drop_wrists(images, 0.0), images)
