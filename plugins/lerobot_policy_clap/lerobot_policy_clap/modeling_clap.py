"""CLAP's networks behind LeRobot's interface: three stages in one run."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from learners.body import Body
from learners.clap.act_vae import ActVaeNet, Rows
from learners.clap.mixture import Lesson
from learners.clap.net import ClapNet
from learners.clap.ntp import NtpNet
from learners.clap.post import Exercise, PostNet
from learners.clap.prompt import KINDS
from learners.lerobot.plugin import AsTheyAre, ChunkedPolicy
from lerobot_policy_clap.configuration_clap import ClapConfig


class ClapPolicy(ChunkedPolicy):
    """CLAP-RF for any dataset with pictures, a state and actions."""

    config_class = ClapConfig
    name = "clap"
    done: Tensor
    """Steps that were learned; they say which stage it is."""

    def __init__(self, config: ClapConfig, dataset_meta: Any = None, **more: Any) -> None:
        super().__init__(config, dataset_meta, **more)
        self.register_buffer("done", torch.zeros((), dtype=torch.long))
        how, (_, numbers) = config.how, self.widths
        body = Body(numbers - config.arms, config.arms)
        share = numbers // config.arms
        self.words = ActVaeNet(how.act_vae, Numbers(share), share)  # type: ignore[arg-type]  # it answers as a schema does
        ntp = NtpNet(how.ntp, how.act_vae.tokens, how.act_vae.entries, config.tasks)
        net = ClapNet(how, body, ntp, self.words, self.widths)
        net.set_submodule("scales", AsTheyAre(config.chunk_size, self.widths[1]))
        learning = [*(each for each in ntp.parameters() if each.requires_grad), *self.words.parameters()]
        self.model = PostNet(net, how.matching, how.insulation, how.backbone_pace)
        # It is stored, so that a run that goes on is held to the same.
        self.reference = self.model.reference
        # Stages before the last learn what the last leaves alone.
        for parameter in learning:
            parameter.requires_grad_(True)

    def get_optim_params(self) -> Any:
        """The head, the language model, and the vocabulary, whose codes have a pace of their own."""
        head, tokens = self.model.groups()
        others, codes = self.words.groups()
        lr = self.config.optimizer_lr * codes.pace
        return [
            {"params": list(head.parameters)},
            {"params": list(tokens.parameters)},
            {"params": list(others.parameters)},
            {"params": list(codes.parameters), "lr": lr, "weight_decay": codes.weight_decay},
        ]

    def update(self) -> None:
        """LeRobot calls this after every step of its optimizer."""
        step, (first, second) = int(self.done), self.config.ends
        if step < first:
            self.words.after(step)
        self.done += 1
        if step + 1 == second:
            self.reference.load_state_dict(self.model.policy.ntp.state_dict())

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        windows, (first, second) = self.windows(batch), self.config.ends
        rows, there = self.words.schema.rows(windows.plan)
        if self.done < first:
            return self.words.losses(Rows(rows[there]))
        codes = torch.zeros(len(rows), 2, self.words.how.tokens, dtype=torch.long, device=rows.device)
        codes[there] = self.words.tokens(rows[there])
        left, right = (bool(each) for each in self.model.policy.arms)
        lesson = Lesson(
            images=windows.images,
            arms=there,
            codes=codes,
            of_robot=torch.ones(len(rows), dtype=torch.bool, device=rows.device),
            categories=[KINDS[left, right]] * len(rows),
            instructions=windows.instructions,
            subtasks=windows.instructions,
            robot=windows,
        )
        if self.done < second:
            return self.model.policy.ntp.losses(lesson)
        return self.model.losses(Exercise(lesson, None))

    def steps(self, images: Tensor, state: Tensor, instructions: list[str]) -> Tensor:
        return self.model.policy.steps(images, state, instructions)


@dataclass(frozen=True)
class Numbers:
    """What words are of where nobody says what numbers mean: an arm's share of an action, as LeRobot scaled it.

    It answers as `learners.clap.actions.Schema` does.
    """

    width: int
    """Numbers of an arm."""

    @property
    def facts(self) -> dict[str, Any]:
        return {"schema": {"numbers": self.width}}

    @property
    def id(self) -> str:
        """The same for the same meaning, 16 hexadecimal digits."""
        return blake2b(f"numbers {self.width}".encode(), digest_size=8).hexdigest()

    def rows(self, plan: Tensor, _state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Chunks (B, k, width * arms) in the slots left and right: (B, 2, k, width), and who is there (B, 2)."""
        rows = plan.view(*plan.shape[:2], -1, self.width).transpose(1, 2)
        there = torch.ones(len(rows), 2, dtype=torch.bool, device=rows.device)
        if rows.shape[1] == 1:
            rows = torch.cat([torch.zeros_like(rows), rows], dim=1)
            there[:, 0] = False
        return rows, there

    def plan(self, rows: Tensor, arms: int, _state: Tensor | None = None) -> Tensor:
        """What `rows` was given."""
        return rows[:, -arms:].transpose(1, 2).flatten(-2)
