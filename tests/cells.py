"""Robots and people at the twin's table: demonstrations and film of one home, and what hands truly did."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from appliance.home import Home
from appliance.train import demonstrations
from collectors.synthetic_human import AGENT
from drivers.twin.human.anatomy import POINTS
from learners import Senses, Windows
from learners.clap.actions import Schema
from learners.footage import Footage
from learners.transforms import ToolView
from storage import Episode, Wanted
from storage.pictures import Pictures, Pixels, cached

OPEN = 0.08
"""How far the robot's fingers are apart when they hold nothing, in metres."""


def robots(home: Home, tasks: Sequence[str], hz: float, k: int, image: int) -> Windows:
    """Demonstrations of these tasks, as the camera in front sees them."""
    episodes, said = list[Episode](), list[str]()
    with home.join() as catalog:
        for task in tasks:
            shown = demonstrations(catalog, task)
            episodes += [Episode(home.folder / one.standing.path, one.keep) for one in shown]
            said += [catalog.task(task).instruction] * len(shown)
    senses = Senses(("front",), image, 1, 0.0, ahead=k / hz)
    return Windows.of(episodes, said, senses, ToolView(), hz, k, pixels=unpacked(home))


def people(home: Home, task: str, hz: float, k: int, image: int) -> tuple[list[Episode], Footage]:
    """Film of a task, as a robot with one arm learns from it."""
    with home.join() as catalog:
        shown = catalog.find(Wanted(task=task, agent=AGENT))
    episodes = [Episode(home.folder / one.standing.path) for one in shown]
    said = [str(each.attributes["instruction"]) for each in episodes]
    film = Footage.of(episodes, said, image=image, hz=hz, ahead=k / hz, pixels=unpacked(home))
    return episodes, film.within(np.array([False, True]))


def done_by_hand(episodes: Sequence[Episode], film: Footage, schema: Schema) -> Tensor:
    """What each hand truly did (moments, H, 7), as a robot's arm would: only the twin knows, and nobody learns from it.

    The tool is between thumb and index finger, and is open unless something is held.
    """
    rows = torch.zeros(len(film), schema.steps, 7)
    tips = [POINTS.index(f"{finger}_tip") for finger in ("thumb", "index")]
    for number, episode in enumerate(episodes):
        some = np.flatnonzero(film.episode == number)
        true = episode.rows("truth")
        at = film.moment[some][:, None] + np.arange(schema.steps + 1) * round(1e9 / schema.hz)
        row = np.searchsorted(true["t"], at, side="right") - 1
        tool = np.concatenate([true["points"][:, tips].mean(axis=1), true["wrist"][:, 3:]], axis=1)
        opening = np.where(true["held"], 0.0, OPEN)
        targets = {"tool_target": tool[row[:, 1:]], "width_target": opening[row[:, 1:]]}
        plan = torch.from_numpy(ToolView().encode(targets, {"tool": tool[row[:, 0]]})).float()
        rows[some] = schema.rows(plan)[0][:, 1]
    return rows


def unpacked(home: Home) -> Callable[[str, Pictures], Pixels]:
    """Keeps pictures of a home as plain pixels."""

    def keep(camera: str, pictures: Pictures) -> Pixels:
        return cached(home.folder / "unpacked", camera, pictures)

    return keep
