"""How well a few words say what a task's demonstrations do, before anything large is trained on such words."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import learners
from appliance import shared
from appliance.home import Home
from appliance.settings import WrongSetting, changed
from appliance.train import CannotTrain, demonstrations
from learners.clap.act_vae import ActVae
from learners.clap.rate import Point, curve
from learners.train import Diverged
from ops import plots
from storage import Episode
from storage.reading import reading


def settings(preset: str, given: Mapping[str, str]) -> ActVae:
    """Make the settings of a vocabulary from a preset, with some fields changed to what a person typed.

    Raises:
        WrongSetting: there is no such preset or field, or the field cannot have that value.
    """
    try:
        made = ActVae.preset(preset)
    except ValueError as error:
        raise WrongSetting(str(error)) from error
    return changed(made, given, "the vocabulary")


def vocabularies(
    home: Home,
    task: str,
    how: ActVae,
    tokens: Sequence[int],
    entries: Sequence[int],
    tell: Callable[[str, int, int, float], None],
    prepare: Callable[[str, int, int], None] = lambda _what, _done, _of: None,
) -> list[Point]:
    """Learn vocabularies of several sizes from the task's demonstrations, and measure what each keeps.

    Raises:
        CannotTrain: the task has no successful demonstration, or the loss became infinite.
        Unknown: there is no such task.
    """
    with home.join() as catalog, ExitStack() as held:
        there = {one.row.id for one in demonstrations(catalog, task)}
        held.enter_context(reading(home.folder, f"measuring vocabularies of {task}", there))
        shown = [one for one in demonstrations(catalog, task) if one.row.id in there]
        shared.present(home, shown)
        try:
            data = learners.Windows.of(
                [Episode(home.folder / one.standing.path, one.keep) for one in shown],
                [catalog.task(task).instruction] * len(shown),
                how.senses,
                how.view,
                how.hz,
                how.k,
                lambda done, of: prepare("reading episodes", done, of),
            )
            # Targets are in memory from here on; nobody has to leave the episodes where they are.
            held.close()
            return curve(how, data, tokens, entries, tell)
        except (learners.NoData, Diverged) as error:
            raise CannotTrain(f"vocabulary: {error}") from error


def draw(points: Sequence[Point], file: Path) -> None:
    """Draw PSNR against rate, a line for each number of entries."""
    sizes = sorted({point.entries for point in points})
    lines = {
        f"{size} entries": [(p.rate, p.psnr, f"{p.tokens} codes") for p in points if p.entries == size]
        for size in sizes
    }
    plots.rates(lines, plots.LIGHT, file)
