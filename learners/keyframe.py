"""Where each hand will next open or close, told from what is seen. Ours, in none of the papers.

Shown the state, a network learns where a demonstration is going from how the arm moves there, instead of from the thing
that it is sent for; on the robot it then goes on to wherever it happens to be going (de Haan et al. 2019, causal
confusion). So of the state nothing is learned from but whether a hand is open, and the rest enters as geometry: a place
is told once in the room, once from the hand, for cameras that ride on it, and what is seen says which to believe.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learners.body import Body
from learners.data import KEY
from learners.policy import Scales

REACH = 0.1
"""Metres that a hand is from its key frame, more or less: the unit in which that is told."""
KNEE = 0.1
"""Spreads at which the loss turns from square to straight: it pulls as hard on the last centimetres as before."""
ROOM = 0.5
"""Weight of the place told in the room by itself; near a thing it learns nothing of what the hand tells better."""


@dataclass(frozen=True)
class Foretold:
    """Key frames of some samples, normalised (B, arms * 9)."""

    key: Tensor
    room: Tensor
    """The same without what is told from the hand."""


class KeyFrames(nn.Module):
    """What is seen (B, ``seen``) to key frames."""

    def __init__(self, seen: int, hidden: int, body: Body) -> None:
        super().__init__()
        self.body = body
        self.read = nn.Sequential(
            nn.Linear(seen + body.arms, hidden), nn.SiLU(), nn.Linear(hidden, (KEY + 3 + 3) * body.arms)
        )

    def forward(self, seen: Tensor, felt: Tensor, state: Tensor, scales: Scales) -> Foretold:
        """``felt`` is the newest state (B, body) normalised, ``state`` the same as it is."""
        told = (
            self.read(torch.cat([seen, felt[:, self.body.hands]], dim=-1)).to(state).unflatten(-1, (self.body.arms, -1))
        )
        room, way, share = told.split([KEY, 3, 3], dim=-1)
        room = room.flatten(1)
        place, axes = scales.undo("key", room).unflatten(-1, (-1, KEY)).split([3, 6], dim=-1)
        tool = state[:, self.body.tools].unflatten(-1, (-1, 3))
        near = tool + REACH * torch.einsum("baij,baj->bai", self._turn(state), way)
        key = torch.cat([torch.lerp(near, place, share.sigmoid()), axes], dim=-1)
        return Foretold(scales.do("key", key.flatten(1)), room)

    def losses(self, said: Foretold, key: Tensor, scales: Scales) -> Tensor:
        """How far off they are, of the true ones (B, arms * 9)."""
        true = scales.do("key", key)
        room = F.smooth_l1_loss(_places(said.room), _places(true), beta=KNEE)
        return F.smooth_l1_loss(said.key, true, beta=KNEE) + ROOM * room

    def hint(self, said: Foretold, state: Tensor, scales: Scales) -> Tensor:
        """What a plan is told, and may not bend: key frames, and the way (decimetres) there from each tool."""
        key = said.key.detach()
        there = _places(scales.undo("key", key)).flatten(1)
        return torch.cat([key, 10 * (there - state[:, self.body.tools])], dim=-1)

    @property
    def hint_width(self) -> int:
        return (KEY + 3) * self.body.arms

    def _turn(self, state: Tensor) -> Tensor:
        """How each tool is turned (B, arms, 3, 3), off the two axes that a state has of it."""
        first, second = state[:, self.body.axes].unflatten(-1, (-1, 2, 3)).unbind(-2)
        return torch.stack([first, second, torch.cross(first, second, dim=-1)], dim=-1)


def _places(keys: Tensor) -> Tensor:
    """Where each arm's key frame is (B, arms, 3)."""
    return keys.unflatten(-1, (-1, KEY))[..., :3]
