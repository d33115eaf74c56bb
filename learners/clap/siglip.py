"""Pull what belongs together and push the rest apart, every pair by itself: CLAP Eq. 3, as SigLIP does.

The paper writes ``sigmoid((s - b) / tau)``, the release ``sigmoid(exp(theta) * s + bias)``. They are one loss, with
``1 / tau = exp(theta)`` and ``b = -bias * tau``; `Siglip` learns ``theta`` and ``bias``.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Siglip(nn.Module):
    """The loss with its temperature and bias, which are learned. Begins at tau = 0.1 and b = 1."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(math.log(10.0)))
        self.bias = nn.Parameter(torch.tensor(-10.0))

    def forward(self, ours: Tensor, theirs: Tensor, words: Tensor | None = None) -> Tensor:
        """Sum over pairs, divided by the number of rows, of latents (R, ...) and what each belongs to (R, ...).

        ``words`` (R, N) are what the rows say in tokens. Two rows that say the same are no wrong pair: they are left
        out.
        """
        return released(cosine(ours, theirs), self.theta, self.bias, None if words is None else alike(words))


def cosine(ours: Tensor, theirs: Tensor) -> Tensor:
    """How alike each of ``ours`` (R, ...) is to each of ``theirs`` (R, ...): (R, R). A row's numbers count as one."""
    return F.normalize(ours.flatten(1), dim=-1) @ F.normalize(theirs.flatten(1), dim=-1).T


def alike(words: Tensor) -> Tensor:
    """Which pairs (R, R) of different rows (R, N) say the same."""
    same = (words[:, None] == words[None]).all(-1)
    return same & ~torch.eye(len(words), dtype=torch.bool, device=words.device)


def released(similar: Tensor, theta: Tensor, bias: Tensor, ignored: Tensor | None = None) -> Tensor:
    """The release's form: ``softplus(-y (exp(theta) s + bias))`` summed over pairs (R, R), over R."""
    sign = 2 * torch.eye(len(similar), dtype=similar.dtype, device=similar.device) - 1
    each = F.softplus(-sign * (theta.exp() * similar + bias))
    if ignored is not None:
        each = each.masked_fill(ignored, 0.0)
    return each.sum() / max(1, len(similar))


def printed(similar: Tensor, tau: Tensor, b: Tensor) -> Tensor:
    """The paper's form: ``-log sigmoid((s_p - b) / tau) - sum_j log(1 - sigmoid((s_j - b) / tau))``, mean over rows."""
    logit = (similar - b) / tau
    own = torch.eye(len(similar), dtype=torch.bool, device=similar.device)
    return -(F.logsigmoid(logit)[own].sum() + F.logsigmoid(-logit)[~own].sum()) / max(1, len(similar))
