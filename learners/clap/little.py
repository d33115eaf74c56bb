"""A small Qwen3-VL made on the spot, untrained, with a vocabulary read off what will be said."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from learners.backbones import sinusoids
from learners.clap.reading import Pictures, Vocabulary

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
GRID = 12
"""Places along a side of the picture that a model made here knows; between them they are interpolated."""


@dataclass(frozen=True)
class Sizes:
    """A Qwen3-VL made here. Heads have ``width / heads`` numbers each, a multiple of 16."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    key_heads: int = 2
    feedforward: int = 256
    patch: int = 8
    """Pixels; a token of the picture is made of 2 x 2 patches."""
    vision_width: int = 64
    vision_layers: int = 3
    vision_heads: int = 4
    vision_feedforward: int = 128
    pieces: int = 1024
    """Most entries of the vocabulary, without action tokens."""
    points: int = 0
    """Key points that each picture is shown as (`learners.clap.points`); with 0, as patches."""
    channels: int = 32
    """What each key point tells of what it sees."""
    foresee: int = 0
    """Numbers of an action code that key points foretell, and tell the model; with 0, they foretell nothing."""


def make_tiny(folder: Path, texts: Sequence[str], sizes: Sizes, seed: int = 0) -> None:
    """Save an untrained Qwen3-VL with tokenizer and processor to a folder, as published ones are."""
    import transformers
    from tokenizers import Tokenizer

    hf: Any = transformers
    words, seen = tokenizer_of(texts, sizes.pieces), eyes(sizes)
    torch.manual_seed(seed)
    fresh(sizes, words).save_pretrained(folder)
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(words), pad_token=SPECIAL[0], eos_token=SPECIAL[2]
    )
    bounds = {"shortest_edge": seen.least, "longest_edge": seen.most}
    each = {"patch_size": seen.patch, "temporal_patch_size": seen.frames, "merge_size": seen.merge, "size": bounds}
    both = {**each, "image_mean": list(seen.mean), "image_std": list(seen.std)}
    processor = hf.Qwen3VLProcessor(
        hf.Qwen2VLImageProcessor(**both), tokenizer, hf.Qwen3VLVideoProcessor(**both), chat_template=TEMPLATE
    )
    processor.save_pretrained(folder)


TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""How Qwen writes a conversation of text and pictures."""


def blank(config: dict[str, Any]) -> Any:
    """A model that awaits its weights."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    return Qwen3VLForConditionalGeneration(Qwen3VLConfig.from_dict(config))


@torch.no_grad()
def fresh(sizes: Sizes, words: str) -> Any:
    """An untrained model. Places in a picture are sines, so that it need not learn where is where."""
    model = blank(config(sizes, words))
    side, share = GRID, sizes.vision_width // 2
    axis = sinusoids(side, share)
    rows, columns = axis.repeat_interleave(side, 0), axis.repeat(side, 1)
    model.model.visual.pos_embed.weight.copy_(torch.cat([rows, columns], dim=1))
    return model


def eyes(sizes: Sizes) -> Pictures:
    """Pictures as a model of these sizes sees them: as they come, unless they are very large."""
    unit = (2 * sizes.patch) ** 2
    return Pictures(sizes.patch, 2, 2, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), unit, 4096 * unit, sizes.points)


def tokenizer_of(texts: Sequence[str], pieces: int) -> str:
    """A tokenizer's JSON whose pieces are the words of these texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=pieces,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())


def config(sizes: Sizes, words: str) -> dict[str, Any]:
    """What Qwen3-VL needs to know of a model of these sizes."""
    plain = Vocabulary(words, 0)
    head = sizes.width // sizes.heads
    turn = head // 8
    text = {
        "vocab_size": plain.first,
        "hidden_size": sizes.width,
        "intermediate_size": sizes.feedforward,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.key_heads,
        "head_dim": head,
        "initializer_range": sizes.width**-0.5,
        "max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e4,
            "mrope_section": [head // 2 - 2 * turn, turn, turn],
            "mrope_interleaved": True,
        },
    }
    vision = {
        "depth": sizes.vision_layers,
        "hidden_size": sizes.vision_width,
        "intermediate_size": sizes.vision_feedforward,
        "num_heads": sizes.vision_heads,
        "patch_size": sizes.patch,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": sizes.width,
        "num_position_embeddings": GRID**2,
        "initializer_range": sizes.vision_width**-0.5,
        "deepstack_visual_indexes": list(range(min(2, sizes.vision_layers - 1))),
    }
    return {
        "text_config": text,
        "vision_config": vision,
        "image_token_id": plain.image,
        "video_token_id": plain.id("<|video_pad|>"),
        "vision_start_token_id": plain.id("<|vision_start|>"),
        "vision_end_token_id": plain.id("<|vision_end|>"),
        "tie_word_embeddings": True,
    }
