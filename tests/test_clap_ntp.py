"""The token policy: its losses, one pass for two uses, and answers that always have their form."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from learners.clap.augment import Photometric
from learners.clap.mixture import Lesson
from learners.clap.ntp import Looked, Ntp, NtpNet, Pen, token_losses
from learners.clap.prompt import ACTION, ACTIONS, END, IGNORED, KINDS, PAD, TEXT
from learners.clap.writing import MISSING, Grammar, free, parse
from learners.clap.writing import constrained as written

torch.set_num_threads(1)

CODES, ENTRIES = 8, 32
SAID = ("pick up the red cube", "put the blue cube where the red one was")
TINY = Ntp.preset("tiny")


def made(how: Ntp = TINY) -> NtpNet:
    torch.manual_seed(0)
    return NtpNet(how, CODES, ENTRIES, SAID).eval()


def lesson(count: int = 4, seed: int = 0, arms: tuple[bool, bool] | None = None, views: int = 2) -> Lesson:
    """Noise for pictures, and codes that have nothing to do with them; every other one is a pair's."""
    random = torch.Generator().manual_seed(seed)
    those = torch.tensor([arms or (number % 2 == 1, True) for number in range(count)])
    said = [SAID[number % 2] for number in range(count)]
    return Lesson(
        images=torch.randint(0, 256, (count, views, 3, 64, 64), dtype=torch.uint8, generator=random),
        arms=those,
        codes=torch.randint(0, ENTRIES, (count, 2, CODES), generator=random),
        of_robot=torch.ones(count, dtype=torch.bool),
        categories=[KINDS[bool(left), bool(right)] for left, right in those.tolist()],
        instructions=said,
        subtasks=said,
    )


def shorter(whole: Lesson, rows: slice) -> Lesson:
    return replace(
        whole,
        images=whole.images[rows],
        arms=whole.arms[rows],
        codes=whole.codes[rows],
        of_robot=whole.of_robot[rows],
        categories=whole.categories[rows],
        instructions=whole.instructions[rows],
        subtasks=whole.subtasks[rows],
    )


def test_a_prompt_alone_and_a_prompt_with_its_answer_are_seen_alike() -> None:
    """So one pass can condition the fast head and teach the tokens."""
    net, given = made(), lesson()
    whole = net.look(net.inputs(given))
    alone = net.look(net.ask(given.images, given.instructions, given.arms))
    assert len(whole.hidden) == len(alone.hidden) == net.qwen.layers
    for with_answer, without in zip(whole.hidden, alone.hidden, strict=True):
        torch.testing.assert_close(with_answer[whole.mask], without[alone.mask], rtol=1e-4, atol=1e-4)


def test_what_is_seen_of_a_block_is_that_blocks_output() -> None:
    net, given = made(), lesson()
    outputs = []
    for block in net.qwen.model.language_model.layers:
        block.register_forward_hook(lambda _block, _given, out: outputs.append(out))
    looked = net.look(net.inputs(given))
    *before, last = outputs
    for out, seen in zip(before, looked.hidden, strict=False):
        assert torch.equal(seen, out)
    assert torch.equal(net.qwen.model.language_model.norm(last), looked.hidden[-1])
    assert len(outputs) == len(looked.hidden)


def test_scores_stand_beside_the_token_that_they_are_of() -> None:
    """The score of a token is read one position before it; position L of an answer is not used at all."""
    net, given = made(), lesson(2)
    inputs = net.inputs(given)
    looked = net.look(inputs)
    out = net.qwen.logits(net.qwen.model(**inputs.model).last_hidden_state)
    for row in range(2):
        for place in range(looked.labels.shape[1]):
            if looked.labels[row, place] == IGNORED:
                continue
            at = inputs.ids.shape[1] - looked.labels.shape[1] + place
            assert looked.labels[row, place] == inputs.ids[row, at]
            torch.testing.assert_close(looked.logits[row, place], out[row, at - 1])


def test_the_loss_is_the_mean_cross_entropy_over_the_answers_tokens() -> None:
    """As `transformers` computes it from the same labels, in two named terms."""
    net, given = made(), lesson()
    inputs = net.inputs(given)
    out = net.qwen.logits(net.qwen.model(**inputs.model).last_hidden_state)
    theirs = F.cross_entropy(out[:, :-1].flatten(0, 1), inputs.labels[:, 1:].flatten(), ignore_index=-100)
    terms = net.losses(given)
    assert set(terms) == {"text", "action"}
    torch.testing.assert_close(terms["text"] + terms["action"], theirs)


def test_the_terms_are_of_words_and_of_actions() -> None:
    labels = torch.tensor([[1, 2, IGNORED, 3]])
    part = torch.tensor([[TEXT, ACTION, 1, END]])
    logits = torch.zeros(1, 4, 5)
    logits[0, 0, 1] = 100.0
    terms = token_losses(Looked((), labels > 0, logits, labels, part))
    assert float(terms["text"]) == pytest.approx(0)
    assert float(terms["action"]) == pytest.approx(2 / 3 * torch.log(torch.tensor(5.0)).item())


def test_the_loss_does_not_depend_on_how_much_padding_stands_before() -> None:
    net = made()
    both = lesson(2, arms=(False, True))
    both = replace(both, subtasks=[SAID[0]] * 2, instructions=[SAID[0], SAID[0] + " " + SAID[1]])
    first = shorter(both, slice(1))
    alone = net.losses(first)
    inputs = net.inputs(both)
    looked = net.look(inputs)
    gap = int((inputs.part[0] == 0).sum())
    assert gap > 0
    row = Looked((), looked.mask[:1], looked.logits[:1], looked.labels[:1], looked.part[:1])
    for name, term in token_losses(row).items():
        torch.testing.assert_close(term, alone[name], rtol=1e-5, atol=1e-5)


def test_wrists_are_dropped_in_training_only() -> None:
    net, given = made(replace(TINY, wrist_drop=1.0)), lesson()
    assert not torch.equal(net.inputs(given).pixels, net.train().inputs(given).pixels)
    head = replace(given, images=given.images[:, :1].expand(-1, 2, -1, -1, -1))
    torch.testing.assert_close(net.inputs(given).pixels, net.inputs(head).pixels)


def test_light_varies_in_training_only() -> None:
    plain = made(replace(TINY, wrist_drop=0.0, light=None))
    net, given = made(replace(TINY, wrist_drop=0.0, light=Photometric(grey=0.0))), lesson()
    seen = plain.train().inputs(given).pixels
    torch.testing.assert_close(net.inputs(given).pixels, seen)
    lit = net.train().inputs(given).pixels
    assert 0.01 < (lit - seen).abs().mean() < 0.4
    assert not torch.equal(lit, net.inputs(given).pixels), "it is drawn anew"


@pytest.mark.parametrize("arms", [(False, True), (True, False), (True, True)])
@pytest.mark.parametrize("seed", range(3))
def test_a_constrained_answer_has_exactly_the_codes_that_the_arms_need(arms: tuple[bool, bool], seed: int) -> None:
    """Whatever an untrained model likes best."""
    torch.manual_seed(seed)
    net = NtpNet(TINY, CODES, ENTRIES, SAID).eval()
    with torch.no_grad():
        # Loud, so that it would write nonsense of many kinds.
        net.qwen.model.language_model.norm.weight.copy_(torch.randn(TINY.vlm.sizes.width) * 30)
    given = lesson(3, seed, arms)
    said = net.draft(given.images, given.instructions, given.arms)
    assert not said.malformed.any()
    counts = torch.tensor(arms)
    assert ((said.codes[:, counts] >= 0) & (said.codes[:, counts] < ENTRIES)).all()
    assert (said.codes[:, ~counts] == MISSING).all()
    names = [net.qwen.vocabulary.decode([number]) for number in net.qwen.vocabulary.special]
    assert not any(name in subtask for subtask in said.subtasks for name in ["\n", *names])


def test_arms_may_differ_within_a_batch() -> None:
    net, given = made(), lesson(4)
    together = net.draft(given.images, given.instructions, given.arms)
    for row in range(4):
        one = shorter(given, slice(row, row + 1))
        alone = net.draft(one.images, one.instructions, one.arms)
        assert alone.subtasks == together.subtasks[row : row + 1]
        assert alone.codes.tolist() == together.codes[row : row + 1].tolist()


def test_scores_while_writing_are_those_of_the_answer_read_whole() -> None:
    """Memory, places and masks are right behind prompts of different lengths."""
    net, given = made(), lesson(2, arms=(True, True))
    given = replace(given, subtasks=["pick up the red cube"] * 2)
    inputs = net.inputs(given)
    read = net.look(inputs)
    asked = net.ask(given.images, given.instructions, given.arms)
    assert (asked.part == PAD).any()
    with torch.no_grad():
        pen = Pen(net, asked, net.look(asked, remember=True))
        answer = inputs.ids[:, -inputs.answer :]
        first = pen.read(answer[:, :3])
        torch.testing.assert_close(first, read.logits[:, 3], rtol=1e-4, atol=1e-4)
        for place in range(3, inputs.answer - 1):
            torch.testing.assert_close(pen.step(answer[:, place]), read.logits[:, place + 1], rtol=1e-4, atol=1e-4)


def test_an_answer_can_go_on_from_a_pass_that_something_else_used() -> None:
    net, given = made(), lesson(2)
    inputs = net.ask(given.images, given.instructions, given.arms)
    looked = net.look(inputs, remember=True)
    said = net.write(inputs, looked, given.arms)
    direct = net.draft(given.images, given.instructions, given.arms)
    assert said.codes.tolist() == direct.codes.tolist()
    assert said.subtasks == direct.subtasks


def test_an_answer_cannot_go_on_from_a_pass_that_was_not_remembered() -> None:
    net, given = made(), lesson(2)
    inputs = net.ask(given.images, given.instructions, given.arms)
    with pytest.raises(ValueError, match="remember=True"):
        net.write(inputs, net.look(inputs), given.arms)


def spelled(net: NtpNet, text: str, arms: tuple[bool, bool]) -> tuple[str, torch.Tensor | None]:
    return parse(net.qwen.vocabulary, net.qwen.vocabulary.encode(text), arms, CODES)


def acts(count: int, first: int = 0) -> str:
    return "".join(f"<ACT_{code}>" for code in range(first, first + count))


def test_the_right_arms_codes_are_read_before_the_left_ones() -> None:
    subtask, codes = spelled(made(), f" pick up{ACTIONS}{acts(16)}<|im_end|>", (True, True))
    assert subtask == "pick up"
    assert codes is not None
    assert codes.tolist() == [list(range(8, 16)), list(range(8))]


@pytest.mark.parametrize(
    ("arms", "text"),
    [
        ((False, True), f" pick up{ACTIONS}{acts(7)}<|im_end|>"),
        ((False, True), f" pick up{ACTIONS}{acts(9)}<|im_end|>"),
        ((False, True), f" pick up{ACTIONS}{acts(16)}<|im_end|>"),
        ((False, True), f" pick up{ACTIONS}{acts(4)} and {acts(4)}<|im_end|>"),
        ((False, True), f" pick up{ACTIONS}<ACT_PAD>{acts(8)}<|im_end|>"),
        ((False, True), f" pick up {acts(8)}<|im_end|>"),
        ((False, True), f" pick\nup{ACTIONS}{acts(8)}<|im_end|>"),
        ((False, True), " pick up the red cube"),
        ((False, True), ""),
        ((True, True), f" pick up{ACTIONS}{acts(8)}<ACT_PAD><|im_end|>"),
        ((True, True), f" pick up{ACTIONS}{acts(15)}<|im_end|>"),
        ((True, True), f" pick up{ACTIONS}{acts(15)}<ACT_PAD><|im_end|>"),
    ],
)
def test_any_other_answer_is_malformed(arms: tuple[bool, bool], text: str) -> None:
    assert spelled(made(), text, arms)[1] is None


def test_a_single_arms_answer_may_be_closed_by_the_pad_or_not() -> None:
    for closing in ("<ACT_PAD><|im_end|>", "<|im_end|>", ""):
        codes = spelled(made(), f" pick up{ACTIONS}{acts(8)}{closing}", (False, True))[1]
        assert codes is not None
        assert codes[1].tolist() == list(range(8))
        assert codes[0].tolist() == [MISSING] * CODES


def test_an_answer_that_was_not_constrained_says_that_it_has_no_form() -> None:
    net, given = made(), lesson(2)
    said = net.draft(given.images, given.instructions, given.arms, constrained=False)
    assert said.malformed.all()
    assert (said.codes == MISSING).all()


def test_a_text_that_does_not_end_is_ended() -> None:
    """After the longest text comes ``Action:``, though the model never wanted it."""
    net = made()
    words = net.qwen.vocabulary
    grammar = Grammar.of(words, len(words), CODES, torch.device("cpu"))
    scores = torch.zeros(1, len(words))
    scores[0, words.encode(" cube")[-1]] = 1.0
    ids = written(grammar, torch.tensor([[False, True]]), scores, lambda _ids: scores, most=5)
    text = words.decode(ids[0].tolist())
    assert text == " cube" * 5 + ACTIONS + "<ACT_0>" * CODES


def test_a_free_text_ends_where_it_says_or_where_it_must() -> None:
    scores = torch.eye(4)[[2, 3]]
    assert free(9, scores, lambda _ids: scores, most=3).tolist() == [[2, 2, 2], [3, 3, 3]]
    assert free(2, scores[:1], lambda _ids: scores[:1], most=3).tolist() == [[2]]


def test_it_is_rebuilt_from_its_facts_and_tensors() -> None:
    net, given = made(), lesson(2)
    again = NtpNet(TINY, CODES, ENTRIES, facts=net.facts)
    again.load_state_dict(net.state_dict())
    assert again.eval().draft(given.images, given.instructions, given.arms).codes.tolist() == (
        net.draft(given.images, given.instructions, given.arms).codes.tolist()
    )


def test_attribution_is_a_number_per_patch_and_nothing_else_is_changed() -> None:
    net, given = made(), lesson(2)
    weight = net.attribute(given)
    assert weight.shape == (2, 2, 4, 4)
    assert (weight > 0).any()
    assert all(parameter.grad is None for parameter in net.parameters())


def test_attribution_is_laid_out_as_the_picture_is() -> None:
    """Only patches that are not grey can count: grey is the zero of the model's numbers."""
    net, given = made(), lesson(1, views=1)
    for row, column in ((0, 3), (2, 1)):
        images = torch.full_like(given.images, 0).float() + 127.5
        images[..., 16 * row : 16 * (row + 1), 16 * column : 16 * (column + 1)] = 255
        weight = net.attribute(replace(given, images=images))[0, 0]
        assert weight.nonzero().tolist() == [[row, column]]


def test_presets_are_named() -> None:
    assert Ntp.preset("paper").training.steps == 150_000
    with pytest.raises(ValueError, match="no preset 'huge'"):
        Ntp.preset("huge")


def taught(net: NtpNet, given: Lesson, steps: int, lr: float) -> float:
    net.train()
    optimizer = torch.optim.AdamW([each for each in net.parameters() if each.requires_grad], lr)
    loss = torch.zeros(())
    for _ in range(steps):
        loss = torch.stack(list(net.losses(given).values())).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        optimizer.step()
    net.eval()
    return float(loss.detach())


@pytest.mark.slow
def test_eight_samples_are_learned_by_heart() -> None:
    """And the greedy answer is what was taught, whether or not the decoding is constrained."""
    net, given = made(replace(TINY, wrist_drop=0.0)), lesson(8)
    assert taught(net, given, steps=150, lr=3e-3) < 0.1
    for only_answers in (True, False):
        said = net.draft(given.images, given.instructions, given.arms, only_answers)
        assert not said.malformed.any()
        assert said.subtasks == given.subtasks
        assert (said.codes[given.arms] == given.codes[given.arms]).all()
