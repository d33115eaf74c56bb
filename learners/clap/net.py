"""CLAP's policy: one pass over the prompt, then either words that are acted out (NTP) or a flow (RF)."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from learners.body import Body
from learners.clap.act_vae import ActVaeNet
from learners.clap.head import Dit, Heard, Pair, early
from learners.clap.ntp import Looked, NtpNet
from learners.clap.sight import Eyes, Seen
from learners.clap.vocabulary import Vocabulary
from learners.data import Batch, Windows
from learners.policy import Scales
from learners.rscl import Regulariser
from learners.transforms import STEP, ToolView, slots

if TYPE_CHECKING:
    from learners.clap.clap import Clap


class Part(Protocol):
    """What a policy keeps in a folder of its own, to go on from."""

    def save(self, folder: Path, /) -> None: ...


class ClapNet(nn.Module):
    """Token policy, head, and the scales of what they are told; `drive` says which of the two drives."""

    def __init__(
        self, how: "Clap", body: Body, ntp: NtpNet, act: ActVaeNet, widths: tuple[int, int] | None = None
    ) -> None:
        """``widths`` are numbers per state and per step of a plan, where they are not those of a robot of ours."""
        super().__init__()
        self.how, self.body, self.drive = how, body, how.drive
        self.ntp = ntp
        felt, self.width = widths or (body.width, ToolView().of(body).width)
        self.scales = Scales(body, how.k, self.width)
        depth, model = ntp.qwen.layers, ntp.qwen.config["text_config"]
        self.blocks = how.head.blocks or early(depth)
        if max(self.blocks) >= depth:
            raise ValueError(f"the head reads block {max(self.blocks)}; the language model has {depth}, counted from 0")
        heard: int | tuple[int, int] = ntp.qwen.width
        if how.head.condition == "kv":
            heard = (int(model["num_key_value_heads"]), int(model["head_dim"]))
        there = torch.from_numpy(slots(np.zeros((1, STEP * body.arms)))[1])
        flowing = there.repeat_interleave(STEP) if widths is None else torch.ones(self.width, dtype=torch.bool)
        self.register_buffer("there", there, persistent=False)
        self.register_buffer("active", flowing, persistent=False)
        self.head = Dit(how.head, len(self.blocks), heard, how.history * felt, how.k, len(flowing))
        self.eyes: Eyes | None = None
        if how.sight.points:
            self.eyes = Eyes(how.sight, len(how.cameras), None if widths else body, felt, how.head.width)
        self.rscl: Regulariser | None = None
        if how.rscl is not None:
            self.rscl = Regulariser(how.rscl, ntp.qwen.width, body, len(how.cameras), how.training.steps)
        # Apart from its own modules, so that they are neither trained nor stored with it.
        self._artefacts: dict[str, Part] = {"act_vae": act.eval().requires_grad_(False)}
        self._act = (act,)

    @property
    def act(self) -> ActVaeNet:
        """The vocabulary that the tokens are of, where the network is."""
        return self._act[0].to(self.ntp.device)

    @property
    def arms(self) -> Tensor:
        """(2,) bool: whether there is a left and a right arm."""
        return self.get_buffer("there")

    @property
    def artefacts(self) -> Mapping[str, Part]:
        """What it was made with, each by the name of its folder."""
        return self._artefacts

    def keep(self, name: str, part: Part) -> None:
        """Store this with the policy, to go on from."""
        self._artefacts[name] = part

    @property
    def facts(self) -> dict[str, Any]:
        """What the settings do not say and is needed to build it again."""
        return {**self.body.facts, **Vocabulary.of(self._act[0]).facts, "ntp": self.ntp.facts}

    def steps(self, images: Tensor, state: Tensor, instructions: list[str]) -> Tensor:
        """The chunk (B, k, 7 * arms) in the view's units, by whichever drives."""
        inputs = self.ntp.ask(images, instructions, self.arms)
        by_tokens = self.drive == "ntp"
        looked = self.ntp.look(inputs, remember=by_tokens or self.how.head.condition == "kv")
        if by_tokens:
            arms = self.arms.expand(len(images), 2)
            said = self.ntp.write(inputs, looked, arms)
            return self.acted_out(said.codes, state)
        felt, seen = self.notice(images, state)
        read, mask = self.read(self.heard(looked), looked.mask, seen)
        flowed = self.head.draw(self.get_buffer("active"), felt.flatten(1), read, mask, _hint(seen))
        return self.plan(flowed, state)

    def acted_out(self, codes: Tensor, state: Tensor) -> Tensor:
        """The chunk (B, k, 7 * arms) that codes (B, 2, N) of each arm mean."""
        act, arms = self.act, self.arms
        rows = torch.zeros(len(codes), 2, self.how.k, act.numbers, device=codes.device)
        rows[:, arms] = act.decode(codes[:, arms].flatten(0, 1)).unflatten(0, (len(codes), -1)).to(rows)
        return act.schema.plan(rows, self.body.arms, state)

    def actions(self, plan: Tensor, state: Tensor) -> Tensor:
        """What the flow is of (B, k, 14): chunks (B, k, 7 * arms), scaled, each arm's in its place."""
        if self.how.per_step:
            scaled = self.scales.do("plan", plan)
            return F.pad(scaled, (len(self.get_buffer("active")) - self.width, 0))
        rows, _ = self.act.schema.rows(plan, state)
        return rows.transpose(1, 2).flatten(2)

    def plan(self, actions: Tensor, state: Tensor) -> Tensor:
        """Undo `actions`."""
        if self.how.per_step:
            return self.scales.undo("plan", actions[..., -self.width :])
        return self.act.schema.plan(actions.unflatten(2, (2, STEP)).transpose(1, 2), self.body.arms, state)

    def notice(self, images: Tensor, state: Tensor) -> tuple[Tensor, Seen | None]:
        """States (B, history, width), normalised, and what the head's own eyes see."""
        felt = self.scales.do("state", state)
        if self.training and self.how.sight.state_noise:
            felt = felt + self.how.sight.state_noise * torch.randn_like(felt)
        if self.eyes is None:
            return felt, None
        seen: Seen = self.eyes(images, felt[:, -1], state[:, -1], self.scales)
        return felt, seen

    def heard(self, looked: Looked) -> list[Heard]:
        """What the chosen blocks of the language model say, in the head's kind of numbers."""
        kind = self.head.registers.dtype
        if self.how.head.condition == "hidden":
            return [looked.hidden[block].to(kind) for block in self.blocks]
        layers = [looked.cache.layers[block] for block in self.blocks]
        return [(layer.keys.to(kind), layer.values.to(kind)) for layer in layers]

    def summed_up(self, looked: Looked) -> Tensor:
        """What RS-CL sums up (B, L, h): the last block that the head reads."""
        return looked.hidden[self.blocks[-1]].to(self.scales.get_buffer("plan_mean").dtype)

    def read(self, heard: list[Heard], prompt: Tensor, seen: Seen | None) -> tuple[list[Pair], Tensor]:
        """Keys and values of the head's blocks, and which of them (B, L) are real."""
        if self.rscl is not None and isinstance(heard[-1], Tensor):
            heard = [*heard[:-1], self.rscl.shown(heard[-1], prompt)]
        if seen is None:
            return self.head.read(heard), prompt
        more = prompt.new_ones(len(prompt), seen.tokens.shape[1])
        return self.head.read(heard, seen.tokens), torch.cat([prompt, more], dim=1)

    def flow(self, batch: Batch, heard: list[Heard], prompt: Tensor) -> dict[str, Tensor]:
        """Eq. 6 on robot windows, and what the head's own eyes have to say."""
        felt, seen = self.notice(batch.images, batch.state)
        read, mask = self.read(heard, prompt, seen)
        counts = (~batch.past_end)[..., None] * self.get_buffer("active")
        wanted = self.actions(batch.plan, batch.state)
        terms = {"flow": self.head.loss(wanted, counts.float(), felt.flatten(1), read, mask, _hint(seen))}
        if self.eyes is not None and seen is not None:
            terms |= self.eyes.losses(seen, batch.key, self.scales)
        return terms


def spoken(act: ActVaeNet, data: Windows, at_once: int = 1024) -> NDArray[np.uint16]:
    """Codes (windows, 2, N) of what was done; those of an arm that is not there are 0."""
    device = next(act.parameters()).device
    found = np.zeros((len(data), 2, act.how.tokens), np.uint16)
    for first in range(0, len(data), at_once):
        some = np.arange(first, min(first + at_once, len(data)))
        rows, there = act.schema.rows(torch.from_numpy(data.plan[some]), torch.from_numpy(data.state[some]))
        part = np.zeros((len(some), 2, act.how.tokens), np.uint16)
        part[there.numpy()] = act.tokens(rows[there].to(device)).cpu().numpy()
        found[some] = part
    return found


def _hint(seen: Seen | None) -> Tensor | None:
    return None if seen is None else seen.hint
