"""A vision-language model of SmolVLM's kind, tiny and untrained, in a folder as its makers write theirs."""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

WORDS = [*map(chr, range(33, 127)), "<unk>", "<pad>", "<end_of_utterance>"]
SPECIAL = {
    "fake_image_token": "<fake_token_around_image>",
    "image_token": "<image>",
    "global_image_token": "<global-img>",
}


def tiny_smolvlm(folder: Path) -> Path:
    """Write model and processor; its words are single letters."""
    kinds: Any = transformers
    letters = sorted({*pre_tokenizers.ByteLevel.alphabet(), *WORDS})
    made = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, [], unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    tokenizer = kinds.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<end_of_utterance>",
        extra_special_tokens={**SPECIAL, "end_of_utterance_token": "<end_of_utterance>"},
    )
    kinds.SmolVLMProcessor(
        kinds.SmolVLMImageProcessor(size={"longest_edge": 32}, max_image_size={"longest_edge": 32}),
        tokenizer,
        kinds.SmolVLMVideoProcessor(size={"longest_edge": 32}),
        image_seq_len=4,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    kinds.SmolVLMForConditionalGeneration(
        kinds.SmolVLMConfig(
            image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
            pad_token_id=tokenizer.pad_token_id,
            scale_factor=2,
            tie_word_embeddings=False,
            vision_config={
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 32,
                "patch_size": 8,
            },
            text_config={
                "model_type": "llama",
                "vocab_size": len(tokenizer),
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "head_dim": 16,
                "pad_token_id": tokenizer.pad_token_id,
            },
        )
    ).save_pretrained(folder)
    return folder
