"""Alignment makes what is seen speak the words of what is done; without it, it does not (CLAP section 3.3)."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from appliance.collect import Sitting, collect, starts
from appliance.home import Home
from appliance.imagine import Dream, dream
from learners.clap.act_vae import ActVae, ActVaeNet
from learners.clap.agreement import Agreement, agreement
from learners.clap.labels import label
from learners.clap.vd_vae import VdVae, VdVaeNet
from learners.footage import Footage
from storage import Episode
from tests.cells import done_by_hand, people, robots

torch.set_num_threads(1)

TASK, HZ, K, IMAGE = "pick_place", 10.0, 10, 64
DEMONSTRATIONS, FILMS = 100, 12


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Robot demonstrations by the scripted operator, and film that was made up, both in the twin."""
    folder = tmp_path_factory.mktemp("home")
    made = Home(folder, str(folder / "catalog.db"))
    with made.open(print):
        chosen = starts(made, TASK, "franka-sim", DEMONSTRATIONS, seed=0)
    assert collect(Sitting(made, TASK, "franka-sim", "test", chosen), 2, lambda _took: None)
    assert dream(Dream(made, TASK, "test", tuple(range(FILMS)), height=120, hz=10.0), 2, lambda _dreamt: None)
    return made


def of_film(
    vd: VdVaeNet, act: ActVaeNet, episodes: list[Episode], film: Footage, numbers: NDArray[np.intp]
) -> Agreement:
    """Words seen in film beside those of the hand's true motion, which only the twin knows and nobody learns from."""
    words = label(film, vd)
    seen = np.concatenate([words[name] for name in film.ids])[numbers, 1].astype(np.int64)
    done = act.tokens(done_by_hand(episodes, film, act.schema)[numbers])
    return Agreement.of(torch.from_numpy(seen), done, act.codes.entries)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_alignment_makes_what_is_seen_speak_the_words_of_what_is_done(home: Home, tmp_path: Path) -> None:
    """On scenes never learned from, robot pictures agree with robot actions at five times chance; unaligned, not twice.

    How far film agrees with the hand's true motion is printed, and nothing is claimed of it.
    """
    data, (episodes, film) = robots(home, [TASK], HZ, K, IMAGE), people(home, TASK, HZ, K, IMAGE)
    tiny = ActVae.preset("tiny")
    how = replace(tiny, hz=HZ, k=K, training=replace(tiny.training, steps=500, batch=96, workers=0))
    act = how.fit(data)
    small = VdVae.preset("small")
    training = replace(small.training, steps=600, workers=0, check_every=10_000, tracker="none")
    _, held = data.split(training.held_out, training.seed)
    _, watched = film.split(training.held_out, training.seed)
    found = {}
    for contrast in (0.0, 0.1):
        asked = replace(small, lights=2, contrast=contrast, training=training)
        vd = asked.fit(data, film, act, cache=tmp_path / "seen")
        found[contrast] = agreement(vd, act, data, held), of_film(vd, act, episodes, film, watched)
    said = [f"{'lambda_con':>10} {'robot':>7} {'chance':>7} {'times':>6} {'apart':>6} | {'film':>7} {'chance':>7}"]
    for contrast, (robot, human) in found.items():
        said.append(
            f"{contrast:10.1f} {robot.share:7.3f} {robot.chance:7.3f} {robot.times_chance:6.1f} {robot.apart:6.2f}"
            f" | {human.share:7.3f} {human.chance:7.3f}"
        )
    sys.stdout.write("\n".join(["", *said, ""]))
    aligned, apart = found[0.1][0], found[0.0][0]
    assert aligned.times_chance >= 5
    assert apart.times_chance < 2
    assert aligned.apart < 0.6
    assert apart.apart > aligned.apart
