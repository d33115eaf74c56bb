"""Rectified flow: straight paths from noise to actions, the velocity along them, and the way back. CLAP Eq. 6.

``rho`` is 0 at noise and 1 at the action; openpi and lerobot count the other way round.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def path(actions: Tensor, noise: Tensor, rho: Tensor) -> Tensor:
    """``rho * a + (1 - rho) * eps``: where the path from noise to actions (B, ...) is at ``rho`` (B,)."""
    share = _alongside(rho, actions)
    return share * actions + (1 - share) * noise


def velocity(actions: Tensor, noise: Tensor) -> Tensor:
    """``a - eps``: how fast the path moves, the same everywhere on it. What the head learns to say."""
    return actions - noise


@dataclass(frozen=True)
class Times:
    """``rho = s (1 - beta)`` with ``beta ~ Beta(a, b)``: more often near noise than near the action.

    The other form in use, ``(s - beta) / s``, falls below zero.
    """

    a: float = 1.5
    b: float = 1.0
    s: float = 0.999

    def draw(self, count: int, device: torch.device | None = None) -> Tensor:
        """That many ``rho`` (count,), from torch's own generator."""
        one, other = (torch.tensor(each, device=device) for each in (self.a, self.b))
        return self.s * (1 - torch.distributions.Beta(one, other).sample((count,)))


def euler(field: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int) -> Tensor:
    """Follow ``field(a, rho)`` from noise (B, ...) at ``rho`` 0 to the action at 1 in equal steps.

    Raises:
        ValueError: there is not even one step.
    """
    if steps < 1:
        raise ValueError(f"a flow is followed in 1 step or more, not {steps}")
    actions = noise
    for step in range(steps):
        actions = actions + field(actions, noise.new_full((len(noise),), step / steps)) / steps
    return actions


def _alongside(rho: Tensor, actions: Tensor) -> Tensor:
    return rho.reshape(-1, *[1] * (actions.dim() - 1))
