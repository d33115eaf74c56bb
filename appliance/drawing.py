"""A picture of what a policy's action tokens mean at one moment of an episode, and of what they look at."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import learners
from appliance import shared
from appliance.home import Home
from appliance.refusal import Refusal
from storage import Episode

LARGE = 240
"""Height of the pictures, in pixels."""


class CannotDraw(Refusal):
    """The policy says nothing in tokens, or the moment is not there. The message says what would do."""


def draw(home: Home, policy: str, episode: str, at: float, out: Path, camera: Path | None = None) -> str:
    """Draw what the policy would do ``at`` so many seconds of an episode; returns the subtask that it named.

    From left to right: what the head's camera saw, with a red arrow where the tool would go when the camera is known,
    what counted for the tokens, and the way seen from above. ``camera`` is a JSON file with a matrix of 3 rows and 4
    columns from metres in the robot's base to pixels of the picture as the policy sees it.

    Raises:
        CannotDraw: it is no CLAP policy, there is no such moment, or the camera's file is none.
        Unknown: there is no such policy or episode.
    """
    from learners.clap import drawing
    from learners.clap.explaining import explain
    from learners.clap.net import ClapNet

    with home.join() as catalog:
        row, found = catalog.policy(policy), catalog.episode(episode)
        listed = catalog.among([found.id])[found.id]
        standing = listed.standing
        instruction = catalog.task(standing.task).instruction
    shared.present(home, [listed], [row])
    try:
        loaded = learners.load(home.folder / row.path)
    except learners.BadCheckpoint as error:
        raise CannotDraw(f"policy {row.name}: {error}") from error
    if not isinstance(loaded.net, ClapNet):
        raise CannotDraw(f"{row.name} is a {row.method} policy, which says nothing in tokens; draw one of clap")
    try:
        data = learners.windows(loaded.how, [Episode(home.folder / standing.path)], [instruction])  # type: ignore[arg-type]  # a learner's settings
    except learners.NoData as error:
        raise CannotDraw(str(error)) from error
    number = round(at * data.hz)
    if not 0 <= number < len(data):
        raise CannotDraw(f"the episode has moments from 0 to {(len(data) - 1) / data.hz:.1f} s, not {at:g} s")
    seen = explain(loaded.net, data, number)
    tool = np.concatenate([seen.tool, np.zeros((len(seen.tool), 4))], axis=1).ravel()
    ways = drawing.paths(seen.plan, tool)
    shown, scale = _enlarged(seen.picture), LARGE / seen.picture.shape[0]
    if camera is not None:
        lens = np.diag([scale, scale, 1.0]) @ _matrix(camera)
        for way, closed in zip(ways, seen.closed, strict=True):
            shown = drawing.over(shown, way, lens, closed)
    glowing = drawing.heat(_enlarged(seen.picture), seen.weight)
    pictures = [shown, glowing, drawing.above(list(ways), list(seen.closed), LARGE)]
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(drawing.beside(pictures)).save(out)
    return seen.subtask


def _enlarged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    size = (round(width * LARGE / height), LARGE)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def _matrix(path: Path) -> NDArray[np.float64]:
    """A camera's matrix (3, 4).

    Raises:
        CannotDraw: the file holds none.
    """
    try:
        told: Any = json.loads(path.read_text())
        found = np.array(told, dtype="f8")
    except (OSError, ValueError) as error:
        raise CannotDraw(f"{path} holds no camera: {error}; give 3 rows of 4 numbers as JSON") from error
    if found.shape != (3, 4):
        raise CannotDraw(f"{path} has numbers of shape {found.shape}; a camera has 3 rows of 4")
    return found
