"""A latent state that flows: the neural ODE of CCoL's motion continuity component."""

from typing import Literal

import torch
from torch import Tensor, nn
from torchdiffeq import odeint

Solver = Literal["dopri5", "rk4"]


class Flow(nn.Module):
    """``dz/dt = f(z, t)``: a small tanh network on state and time, nearly still before training. CCoL Eq. 6."""

    def __init__(self, latent: int, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Linear(latent + 1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, latent)
        )
        last = self.inner[-1]
        if isinstance(last, nn.Linear):
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Rate of change (B, latent) of ``z`` (B, latent) at the scalar time ``t``."""
        return self.inner(torch.cat([z, t.expand(len(z), 1).to(z)], dim=-1))


def trajectory(flow: nn.Module, start: Tensor, horizon: float, points: int, solver: Solver) -> tuple[Tensor, Tensor]:
    """Follow the flow from ``start`` (B, latent): states (points, B, latent) and their times (points,).

    ``rk4`` takes four fixed steps between neighbouring points; ``dopri5`` adapts to rtol 1e-3, atol 1e-4.
    """
    times = torch.linspace(0.0, horizon, points, dtype=start.dtype, device=start.device)
    if solver == "rk4":
        return odeint(flow, start, times, method="rk4", options={"step_size": horizon / (4 * (points - 1))}), times
    return odeint(flow, start, times, method="dopri5", rtol=1e-3, atol=1e-4), times


def discrepancy(flow: nn.Module, states: Tensor, times: Tensor) -> Tensor:
    """``sum_i dt |(z[i+1] - z[i]) / dt - f(z[i], t[i])|^2``, mean over the batch: the ``fd`` reading of CCoL Eq. 13.

    Zero for a constant flow and proportional to ``dt^2`` for a smooth one: a penalty on curvature.
    """
    total = states.new_zeros(states.shape[1])
    for i in range(len(times) - 1):
        dt = times[i + 1] - times[i]
        slope = (states[i + 1] - states[i]) / dt
        total = total + dt * (slope - flow(times[i], states[i])).square().sum(-1)
    return total.mean()


def encoder_discrepancy(flow: nn.Module, before: Tensor, after: Tensor, apart: float) -> Tensor:
    """``|(mu[t+d] - mu[t]) / d - f(mu[t], 0)|^2``: the encoder's own motion against the flow (``encoder`` reading)."""
    return ((after - before) / apart - flow(before.new_zeros(()), before)).square().sum(-1).mean()


def curvature(plan: Tensor) -> Tensor:
    """Mean squared second difference of a plan (B, k, d): zero for a straight line (``action`` reading)."""
    return (plan[:, 2:] - 2 * plan[:, 1:-1] + plan[:, :-2]).square().mean()
