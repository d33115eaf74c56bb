"""What CLAP says of Knowledge Matching, on a toy: for every seed, and printed as a table."""

import sys
from dataclasses import dataclass, replace
from itertools import product
from uuid import UUID

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from learners import Footage, Training, Windows
from learners.body import ONE_ARM
from learners.clap.act_vae import ActVaeNet
from learners.clap.actions import Schema
from learners.clap.clap import Clap
from learners.clap.matching import Matching
from learners.clap.mixture import Mixture
from learners.clap.net import ClapNet
from learners.clap.ntp import NtpNet
from learners.clap.post import Exercises, PostNet, says_right
from learners.train import train
from storage.pictures import Unpacked
from tests.clap import settings

torch.set_num_threads(1)

COLOURS, PLACES = ("red", "blue", "green", "white"), ("bowl", "box", "pad")
SAID = tuple(f"put the {colour} cube on the {place}" for colour, place in product(COLOURS, PLACES))
SHOWN = (0, 4)
"""Which instructions robots are shown with: 2 of 12."""
EACH = 24
SEEDS = (0, 1, 2)
FIRST = Training(lr=3e-3, weight_decay=0.0, batch=16, steps=500, warmup=20, held_out=0.0, tracker="none", workers=0)
SECOND = replace(FIRST, lr=4e-3, steps=250)


def words(instructions: NDArray[np.intp]) -> NDArray[np.uint16]:
    """Codes (n, 2, 4) of the right arm: two say the colour, two the place."""
    codes = np.zeros((len(instructions), 2, 4), np.uint16)
    for row, number in zip(codes, instructions, strict=True):
        colour, place = divmod(number, len(PLACES))
        row[1] = (colour, 4 + colour, 8 + place, 12 + place)
    return codes


def pictures(count: int, seed: int) -> Unpacked:
    """Pictures that say nothing of the task."""
    return Unpacked(np.random.default_rng(seed).integers(0, 255, (count, 32, 32, 3)).astype("u1"))


def robots(how: Clap) -> Windows:
    """Windows of the instructions that robots are shown with; the way depends on colour and place."""
    of = np.repeat(SHOWN, EACH)
    count = len(of)
    goal = np.stack([of // 3 - 1.5, of % 3 - 1.0, (of // 3) * 0.5, of % 3, of * 0.1, -of * 0.1], axis=-1) * 0.1
    plan = np.linspace(1 / how.k, 1, how.k)[None, :, None] * np.concatenate([goal, goal[:, :1]], -1)[:, None]
    return Windows(
        frames=(pictures(count, 0),),
        frame=np.arange(count)[:, None],
        state=np.random.default_rng(1).normal(size=(count, 1, ONE_ARM.width)).astype("f4"),
        plan=plan.astype("f4"),
        left=np.full(count, how.k),
        key=np.zeros((count, 9), "f4"),
        episode=np.repeat(np.arange(len(SHOWN)), EACH),
        instructions=tuple(SAID[number] for number in SHOWN),
        hz=how.hz,
    )


def people(how: Clap) -> Footage:
    """Film of every instruction, labelled."""
    of = np.repeat(np.arange(len(SAID)), EACH)
    count = len(of)
    return Footage(
        frames=pictures(count, 2),
        frame=np.arange(count),
        later=np.arange(count),
        past_end=np.zeros(count, bool),
        moment=np.arange(count),
        episode=of,
        ids=tuple(UUID(int=number + 1) for number in range(len(SAID))),
        instructions=SAID,
        subtasks=SAID,
        arms=np.tile([False, True], (len(SAID), 1)),
        hz=how.hz,
        ahead=how.k / how.hz,
        codes=words(of),
    )


@dataclass(frozen=True)
class Left:
    """What a token policy knows, and the head beside it."""

    shown: float
    """Share of action tokens that are right for what the robot is shown with."""
    others: float
    """And for the other instructions, which only film shows."""
    missed: float = float("nan")
    """Squared error of flowed plans, as a share of their spread."""


WAYS = {
    "plain fine-tuning": Matching(alpha=0.0),
    "matching": Matching(alpha=0.05),
}
ANCHORED = Matching(alpha=0.05, anchor="human", anchors=16)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_matching_keeps_what_tokens_say_of_what_is_shown_where_plain_fine_tuning_loses_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At the same error of the flow (CLAP Tab. VI; methods, 3.2), for three references and three second stages.

    How much plain fine-tuning loses differs from seed to seed (it kept 75, 50 and 12 %); its mean is asserted. Of
    instructions that no robot is shown with, the claim says nothing: without anchors what becomes of them is an
    accident, with matching or without. They are in the table, and only what anchors keep is asserted, for the first
    seed.
    """
    how = settings()
    how = replace(how, cameras=("front",), sight=replace(how.sight, points=0), head=replace(how.head, draws=4))
    data, film = robots(how), people(how)
    mixture = Mixture(data, words(np.repeat(SHOWN, EACH)), film)
    others = np.flatnonzero(~np.isin(film.episode, SHOWN)) + len(data)
    shown, unseen = mixture.batch(np.arange(len(data))), mixture.batch(others)
    rows: dict[str, list[Left]] = {name: [] for name in ("reference", *WAYS, "with anchors too")}
    for seed in SEEDS:
        torch.manual_seed(seed)
        ntp = NtpNet(replace(how.ntp, training=replace(FIRST, seed=seed)), 4, 16, SAID)
        ntp.fit(mixture)
        rows["reference"].append(Left(says_right(ntp, shown), says_right(ntp, unseen)))
        ways = WAYS if seed else WAYS | {"with anchors too": ANCHORED}
        for name, matching in ways.items():
            policy = gone_on(how, mixture, ntp, matching, seed)
            missed = error(policy, data)
            rows[name].append(Left(says_right(policy.ntp, shown), says_right(policy.ntp, unseen), missed))
    with capsys.disabled():
        sys.stdout.write(table(rows))
    reference, plain, held, anchored = rows.values()
    assert min(min(each.shown, each.others) for each in reference) > 0.95
    for known, lost, kept in zip(reference, plain, held, strict=True):
        assert kept.shown >= 0.9 * known.shown
        assert kept.missed < lost.missed + 0.05
        assert max(kept.missed, lost.missed) < 0.3, "always the same plan misses by 1"
    assert np.mean([each.shown for each in plain]) < 0.8
    assert min(anchored[0].shown, anchored[0].others) >= 0.9


def gone_on(how: Clap, mixture: Mixture, known: NtpNet, matching: Matching, seed: int) -> ClapNet:
    """Go through the second stage from what the reference knows."""
    data = mixture.robot
    torch.manual_seed(seed + 1)
    ntp = NtpNet(how.ntp, 4, 16, SAID)
    ntp.load_state_dict(known.state_dict())
    act = ActVaeNet(replace(how.act_vae, hz=how.hz, k=how.k), Schema.fit(data)).eval()
    policy = ClapNet(how, data.body, ntp, act)
    policy.scales.fit(data)
    net = PostNet(policy, matching, "none", pace=1.0)
    train(net, Exercises(mixture, matching, 0.0, seed), replace(SECOND, seed=seed + 1))
    return policy.eval()


@torch.no_grad()
def error(policy: ClapNet, data: Windows) -> float:
    """Squared error of flowed plans, as a share of their spread."""
    batch = data.batch(np.arange(len(data)))
    torch.manual_seed(2)
    plans = policy.steps(batch.images, batch.state, batch.instructions)
    return float((plans - batch.plan).square().mean() / (batch.plan - batch.plan.mean(0)).square().mean())


def table(rows: dict[str, list[Left]]) -> str:
    """What is left, seed by seed."""
    lines = [f"\n{'second stage':22}{'tokens, shown':>24}{'tokens, others':>24}{'error of plans':>24}"]
    for name, found in rows.items():
        cells = ([f"{each.shown:.0%}" for each in found], [f"{each.others:.0%}" for each in found])
        missed = [f"{each.missed:.3f}" for each in found if each.missed == each.missed]
        lines.append(f"{name:22}" + "".join(f"{' '.join(cell):>24}" for cell in (*cells, missed)))
    return "\n".join(lines) + "\n"
