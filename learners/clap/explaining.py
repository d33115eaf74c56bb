"""What the token policy means at a moment, and what it looks at: numbers for `learners.clap.drawing`."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from learners.clap.mixture import Lesson
from learners.clap.net import ClapNet
from learners.clap.prompt import KINDS
from learners.data import Windows
from learners.transforms import STEP


@dataclass(frozen=True)
class Explained:
    """One moment."""

    subtask: str
    codes: NDArray[np.int64]
    """(2, N): of the left and the right arm; -1 for one that is not there."""
    plan: NDArray[np.float64]
    """(H, 7 * arms): what the codes mean, as a `ToolView` has it."""
    tool: NDArray[np.float64]
    """(arms, 3): where the tools are, in metres."""
    closed: NDArray[np.bool_]
    """(arms, H + 1): whether each hand is more closed than open, now and then."""
    picture: NDArray[np.uint8]
    """(H, W, 3): what the head's camera saw."""
    weight: NDArray[np.float64]
    """(rows, columns): how much each patch of it counts for the codes, gradient times input."""


def explain(net: ClapNet, data: Windows, number: int) -> Explained:
    """Ask the token policy at the moment of this window."""
    batch = data.batch(np.array([number]))
    there = net.arms.cpu()
    said = net.ntp.draft(batch.images, batch.instructions, net.arms)
    plan = net.acted_out(said.codes, batch.state.to(net.ntp.device)).cpu().double().detach()
    lesson = Lesson(
        images=batch.images,
        arms=there[None],
        codes=said.codes.clamp_min(0).cpu(),
        of_robot=torch.ones(1, dtype=torch.bool),
        categories=[KINDS[bool(there[0]), bool(there[1])]],
        instructions=batch.instructions,
        subtasks=said.subtasks,
    )
    state, arms = batch.state[0, -1].double(), net.body.arms
    opening = torch.cat([state.unflatten(0, (arms, -1))[:, -1:], plan[0].unflatten(1, (arms, STEP))[..., -1].T], dim=1)
    schema = net.act.schema
    return Explained(
        said.subtasks[0],
        said.codes[0].cpu().numpy(),
        plan[0].numpy(),
        state[net.body.tools].reshape(arms, 3).numpy(),
        (opening < (schema.open + schema.closed) / 2).numpy(),
        batch.images[0, 0].permute(1, 2, 0).numpy(),
        net.ntp.attribute(lesson)[0, 0].cpu().double().numpy(),
    )
