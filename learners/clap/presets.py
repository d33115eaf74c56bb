"""How big CLAP is: ``tiny`` for tests, ``small`` for two CPU cores, ``paper`` and ``release`` as published."""

from dataclasses import replace
from typing import Any

from learners.clap.act_vae import ActVae
from learners.clap.head import Head
from learners.clap.matching import Matching
from learners.clap.ntp import Ntp
from learners.clap.sight import Sight
from learners.clap.vd_vae import VdVae
from learners.train import Training

RELEASE_BLOCKS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24)
"""Of 36, that the release's head reads for LIBERO."""


def fields(name: str) -> dict[str, Any]:
    """The settings of `learners.clap.clap.Clap`.

    Raises:
        ValueError: there is no such preset.
    """
    made = {"tiny": _tiny, "small": _small, "paper": _paper, "release": _release}
    if name not in made:
        raise ValueError(f"no preset {name!r}; there are {', '.join(made)}")
    parts = {"act_vae": ActVae.preset(name), "vd_vae": VdVae.preset(name), "ntp": Ntp.preset(name)}
    return parts | made[name]()


def _paper() -> dict[str, Any]:
    first = Training(lr=2e-5, weight_decay=1e-2, warmup=1000, batch=128, steps=10_000, least=1.0, precision="bf16")
    second = Training(lr=1e-4, weight_decay=1e-2, warmup=1000, batch=128, steps=30_000, precision="bf16")
    return {"adapt": first, "adapt_passes": 3.0, "training": second}


def _release() -> dict[str, Any]:
    paper = _paper()
    second = replace(paper["training"], warmup=5000, steps=80_000, least=0.01)
    head = Head(blocks=RELEASE_BLOCKS, self_attention="none")
    held = Matching(direction="reference_policy", positions="action")
    return paper | {"training": second, "head": head, "matching": held, "backbone_pace": 0.1}


def _small() -> dict[str, Any]:
    first = Training(lr=1e-3, weight_decay=1e-2, warmup=50, batch=32, steps=300)
    second = Training(lr=2e-3, weight_decay=1e-4, warmup=100, batch=32, steps=1500, ema=0.99)
    return {
        "image": 96,
        "hz": 10.0,
        "k": 16,
        "head": Head(width=128, heads=4, blocks=(0, 1), registers=8, dropout=0.0, draws=4),
        "sight": Sight(points=16, state_noise=0.03, brightness=0.1),
        "per_step": True,
        "keep_head": True,
        "backbone_pace": 0.1,
        "adapt": first,
        "training": second,
        "ensemble": 0.01,
        "replan": 0.2,
    }


def _tiny() -> dict[str, Any]:
    quick = Training(lr=2e-3, weight_decay=1e-4, warmup=5, batch=8, steps=20)
    return _small() | {
        "image": 32,
        "head": Head(width=32, heads=4, registers=2, dropout=0.0, draws=2),
        "sight": Sight(points=8, channels=8, hidden=32),
        "adapt": quick,
        "training": quick,
    }
