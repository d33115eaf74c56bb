"""How long CLAP takes to decide: its two policies on the same prompt, and both together, beside what a machine must do.

With a GPU: Qwen3-VL-4B and a head of 1.5 B numbers in bfloat16, one picture of 224 x 224, one arm; the weights are
random, for how long it takes does not depend on them. CLAP (arXiv 2601.04061), Table VIII says for an H100: tokens
382 ms, flow 70.1 ms, 12.1 GB. Without one: the ``tiny`` sizes on the processor, which say nothing of the large ones.

The floor is what no program can undercut on this machine: to read every weight once from memory for each token that
is written, and to multiply each with the prompt once; memory and multiplication are measured here, too.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from learners.body import ONE_ARM
from learners.clap.act_vae import ActVae, ActVaeNet
from learners.clap.actions import Schema
from learners.clap.clap import Clap
from learners.clap.net import ClapNet
from learners.clap.ntp import NtpNet
from learners.clap.prompt import TEMPLATE

INSTRUCTION = "put the red cube on the blue pad"
ROUNDS, WARM = 15, 3

TEXT_4B: dict[str, Any] = {
    "vocab_size": 151_936,
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 262_144,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 5e6,
        "mrope_section": [24, 20, 20],
        "mrope_interleaved": True,
    },
}
VISION_4B: dict[str, Any] = {
    "depth": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_heads": 16,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "out_hidden_size": 2560,
    "num_position_embeddings": 2304,
    "deepstack_visual_indexes": [5, 11, 17],
}
"""Sizes of the published Qwen3-VL-4B-Instruct."""


def main() -> None:
    """Print milliseconds of each, their ratios and the floors."""
    large = torch.cuda.is_available()
    device = torch.device("cuda" if large else "cpu")
    torch.set_num_threads(1 if not large else 8)
    torch.manual_seed(0)
    net = build(device, large)
    size = 224 if large else net.how.image
    images = torch.randint(0, 256, (1, len(net.how.cameras), 3, size, size), dtype=torch.uint8, device=device)
    state = torch.zeros(1, net.how.history, ONE_ARM.width, device=device)
    state[..., 10] = state[..., 14] = 1.0

    def drive(name: Literal["rf", "ntp"]) -> Callable[[], Tensor]:
        def plan() -> Tensor:
            net.drive = name
            return net.steps(images, state, [INSTRUCTION])

        return plan

    def look() -> object:
        return net.ntp.look(net.ntp.ask(images, [INSTRUCTION], net.arms))

    with torch.inference_mode():
        spent = in_turns({"flow": drive("rf"), "tokens": drive("ntp"), "prompt": look}, device)
        inputs = net.ntp.ask(images, [INSTRUCTION], net.arms)
    prompt, language, head = inputs.ids.shape[1], weights(net.ntp.qwen.model.language_model), weights(net.head)
    bandwidth, speed = memory(device), multiply(device, net)
    codes, each = net.ntp.codes, bytes_of(net.ntp.qwen.model.language_model)
    once = max(2 * prompt * language / speed, each / bandwidth)
    floors = {
        "flow": once + net.how.head.steps * bytes_of(net.head) / bandwidth,
        "tokens": once + codes * each / bandwidth,
        "prompt": once,
    }
    where = torch.cuda.get_device_name() if large else "one thread of the processor, tiny sizes"
    say(f"CLAP on {where}: language model {language / 1e6:.1f} M, head {head / 1e6:.1f} M, prompt of {prompt} tokens")
    say(f"this machine reads {bandwidth / 1e9:.0f} GB/s and multiplies {speed / 1e12:.2f} TFLOP/s")
    for name, took in spent.items():
        say(f"{name:8s} {took * 1e3:8.1f} ms, floor {floors[name] * 1e3:8.2f} ms, ratio {took / floors[name]:.1f}")
    say(f"tokens against flow: ratio {spent['tokens'] / spent['flow']:.2f}")
    if large:
        say(f"most memory {torch.cuda.max_memory_allocated() / 1e9:.1f} GB (the paper: 12.1 GB)")
    else:
        say("no GPU here: what CLAP takes at real size is not measured by this run")


def build(device: torch.device, large: bool) -> ClapNet:
    """The policy with random weights."""
    how = Clap.preset("paper" if large else "tiny")
    how = replace(how, cameras=("front",), act_vae=replace(how.act_vae, hz=how.hz, k=how.k))
    schema = Schema(how.hz, how.k, (-0.1,) * 6, (0.1,) * 6, 0.08, 0.0)
    with device:
        act = ActVaeNet(ActVae.preset("paper") if large else how.act_vae, schema)
        facts = None
        if large:
            little = NtpNet(replace(how.ntp, vlm=replace(how.ntp.vlm, source="")), 8, 256, [INSTRUCTION]).facts
            facts = little | {"config": little["config"] | {"tie_word_embeddings": True}}
            facts["config"]["text_config"] = little["config"]["text_config"] | TEXT_4B
            facts["config"]["vision_config"] = little["config"]["vision_config"] | VISION_4B
            facts["pictures"] = little["pictures"] | {"patch": 16, "least": 1 << 10, "most": 1 << 24}
        ntp = NtpNet(how.ntp, act.how.tokens, act.how.entries, [*TEMPLATE, INSTRUCTION], facts)
        net = ClapNet(how, ONE_ARM, ntp, act)
    if large:
        net.head.to(torch.bfloat16)
    return net.to(device).eval()


def in_turns(works: dict[str, Callable[[], Any]], device: torch.device) -> dict[str, float]:
    """Seconds that each takes, the middle of several rounds in which all take their turn."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(WARM + ROUNDS):
        for name, work in works.items():
            wait(device)
            began = time.perf_counter()
            work()
            wait(device)
            if turn >= WARM:
                spent[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in spent.items()}


def memory(device: torch.device) -> float:
    """Bytes a second that are read from memory."""
    many = torch.ones(1 << (30 if device.type == "cuda" else 26), dtype=torch.float32, device=device)
    return many.nbytes / in_turns({"sum": many.sum}, device)["sum"]


def multiply(device: torch.device, net: ClapNet) -> float:
    """Multiplications and additions a second, in the numbers that the language model has."""
    side = 8192 if device.type == "cuda" else 1024
    one = torch.ones(side, side, device=device, dtype=next(net.ntp.parameters()).dtype)
    return 2 * side**3 / in_turns({"product": lambda: one @ one}, device)["product"]


def weights(module: torch.nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def bytes_of(module: torch.nn.Module) -> int:
    return sum(each.nbytes for each in module.parameters())


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
