"""The second stage of post-training: the head learns its flow while the token policy is held to what it knew.

CLAP, Algorithm 4: the reference is the token policy as the first stage left it. It never changes; the flow and the
matching see windows of robots only, and film reaches the policy through the reference alone.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from learners.clap.matching import Matching, accuracy, matched
from learners.clap.mixture import Lesson, Mixture
from learners.clap.net import ClapNet
from learners.clap.ntp import Looked, NtpNet, token_losses
from learners.clap.prompt import ACTION
from learners.data import NoData
from learners.tensors import Tensors
from learners.train import Group

Insulation = Literal["none", "insulated", "frozen"]
"""Whether the flow's gradient reaches the language model: yes and with matching (the paper); not, and it goes on
learning its tokens (pi-0.5); or it learns nothing more (the ablation "KI")."""


@dataclass(frozen=True)
class Exercise(Tensors):
    """A batch of the second stage."""

    robot: Lesson
    """What the flow is learned from: windows of robots."""
    anchors: Lesson | None
    """Further contexts on which the token policy is held."""


@dataclass(frozen=True)
class Exercises:
    """Robot windows, with contexts of the first stage beside them when there are to be some."""

    mixture: Mixture
    how: Matching
    held_out: float
    seed: int
    pool: NDArray[np.intp] = field(init=False)
    """Numbers of what the anchors are drawn from."""

    def __post_init__(self) -> None:
        """Refuse anchors that are not there.

        Raises:
            NoData: film was asked for.
        """
        pool, _ = self.mixture.split(self.held_out, self.seed)
        object.__setattr__(self, "pool", pool[pool >= len(self)] if self.how.anchor == "human" else pool)
        if self.how.anchor == "human" and not len(self.pool):
            raise NoData(
                'anchor "human" needs film of people among what is learned from (ntp.film above 0); bring some '
                'in, or use "replay" or "none"'
            )

    def __len__(self) -> int:
        return len(self.mixture.robot)

    def batch(self, index: NDArray[np.intp]) -> Exercise:
        robot = self.mixture.batch(index)
        if self.how.anchor == "none" or not self.how.alpha:
            return Exercise(robot, None)
        drawn = np.random.default_rng([self.seed, *index.tolist()]).choice(self.pool, self.how.anchors)
        return Exercise(robot, self.mixture.batch(drawn))

    def split(self, held_out: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Robot windows alone."""
        return self.mixture.robot.split(held_out, seed)


class PostNet(nn.Module):
    """The policy with its reference: Eq. 6 and 7 in one pass over prompt and answer."""

    def __init__(self, policy: ClapNet, how: Matching, insulation: Insulation, pace: float) -> None:
        """Copy the policy's tokens as the reference.

        Args:
            policy: what is learned.
            how: how its tokens are held.
            insulation: whether the flow reaches the language model.
            pace: its learning rate as a share of the head's.
        """
        super().__init__()
        self.policy, self.how, self.insulation, self.pace = policy, how, insulation, pace
        # Pictures of the wrist may be left out while tokens are learned; the head needs them, and sees all as they are.
        policy.ntp.how = replace(policy.ntp.how, wrist_drop=0.0, light=None)
        # In a tuple it is no part of this network: neither trained nor stored with it.
        self._reference = (copy.deepcopy(policy.ntp).eval().requires_grad_(False),)
        if insulation == "frozen":
            policy.ntp.requires_grad_(False)

    @property
    def reference(self) -> NtpNet:
        """The token policy as it was, where this network is."""
        return self._reference[0].to(self.policy.ntp.device)

    def train(self, mode: bool = True) -> "PostNet":
        """A frozen language model stays as it is at run time."""
        super().train(mode)
        self.policy.ntp.train(mode and self.insulation != "frozen")
        return self

    def groups(self) -> Sequence[Group]:
        theirs = {id(parameter) for parameter in self.policy.ntp.parameters()}
        head = [p for p in self.policy.parameters() if id(p) not in theirs and p.requires_grad]
        tokens = [p for p in self.policy.ntp.parameters() if p.requires_grad]
        return (Group(head), Group(tokens, self.pace)) if tokens else (Group(head),)

    @property
    def notes(self) -> dict[str, float]:
        """What RS-CL notes."""
        return {} if self.policy.rscl is None else self.policy.rscl.notes

    def after(self, step: int) -> None:
        """The pull of RS-CL falls with the steps."""
        if self.policy.rscl is not None:
            self.policy.rscl.after(step)

    def losses(self, batch: Exercise) -> dict[str, Tensor]:
        """Eq. 6 + alpha Eq. 7, or what the ablations have instead."""
        policy, lesson = self.policy, batch.robot
        if lesson.robot is None:
            raise NoData("the second stage learns from windows of robots, and this batch has none")
        inputs = policy.ntp.inputs(lesson)
        with torch.set_grad_enabled(self.insulation != "frozen" and torch.is_grad_enabled()):
            looked = policy.ntp.look(inputs, remember=policy.how.head.condition == "kv")
        heard = policy.heard(looked)
        if self.insulation != "none":
            heard = [
                each.detach() if isinstance(each, Tensor) else (each[0].detach(), each[1].detach()) for each in heard
            ]
        terms = policy.flow(lesson.robot, heard, looked.mask)
        if policy.rscl is not None and self.training:
            tokens = policy.summed_up(looked)
            tokens = tokens if self.insulation == "none" else tokens.detach()
            terms["rscl"] = policy.rscl(tokens, inputs.picture, lesson.robot.state, real=looked.mask)
        if self.insulation == "insulated":
            terms |= token_losses(looked)
        elif self.insulation == "none" and self.how.alpha:
            with torch.no_grad():
                known = self.reference.look(inputs)
            terms["matching"] = self.how.alpha * self._matched(looked, known)
            if batch.anchors is not None:
                inputs = policy.ntp.inputs(batch.anchors)
                with torch.no_grad():
                    known = self.reference.look(inputs)
                terms["anchors"] = self.how.alpha * self._matched(policy.ntp.look(inputs), known)
        return terms

    def _matched(self, looked: Looked, known: Looked) -> Tensor:
        return matched(self.how, looked.logits, known.logits, looked.labels, looked.part == ACTION)


@torch.no_grad()
def says_right(ntp: NtpNet, lesson: Lesson) -> float:
    """Share of a lesson's action tokens that the token policy gets right under teacher forcing."""
    was = ntp.training
    looked = ntp.eval().look(ntp.inputs(lesson))
    ntp.train(was)
    return float(accuracy(looked.logits, looked.labels, looked.part == ACTION))
