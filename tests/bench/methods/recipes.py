"""Which methods meet, at which tasks, with which budget."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

import learners
from appliance.collect import LIMIT
from appliance.home import STARTER
from appliance.refusal import Refusal
from appliance.settings import changed
from ops.published import INSERTION, TRANSFER


class CannotCompare(Refusal):
    """There is no such recipe, task or method, or this machine is not made for it."""


@dataclass(frozen=True)
class Cell:
    """A task, and where a script shows it and policies try it."""

    station: str
    instruction: str
    limit: float = LIMIT
    """Seconds until a take ends anyway."""


CELLS = {
    "pick_place": Cell("franka-sim", STARTER.instruction),
    "transfer": Cell("aloha-sim", "hand the cube to the other arm"),
    "gym_transfer": Cell("gym-aloha-transfer", "hand the cube to the other arm"),
    "gym_insertion": Cell("gym-aloha-insertion", "put the peg into the socket"),
}
"""Every task by name. One whose station this version lacks is left out, and a line says so."""


@dataclass(frozen=True)
class Entry:
    """One line of the table: a method, or a method with a part changed."""

    name: str
    method: str
    settings: Mapping[str, str] = field(default_factory=dict)
    """As ``appliance train`` takes them."""
    of: str = ""
    """The entry that this one is an ablation of."""

    @property
    def offered(self) -> bool:
        """Whether the method has every part that is changed: one that is still to come is left out."""
        kind: Any = learners.method(self.method)
        there = {each.name for each in dataclasses.fields(kind)}
        return all(name.partition(".")[0] in there for name in self.settings)


def _without(method: str, parts: Mapping[str, Mapping[str, str]]) -> list[Entry]:
    return [Entry(f"{method}.{part}", method, settings, of=method) for part, settings in parts.items()]


ENTRIES = (
    Entry("random", "random"),
    Entry("nearest", "nearest"),
    Entry("lerobot.act", "lerobot.act"),
    Entry("lerobot.diffusion", "lerobot.diffusion"),
    Entry("ccol", "ccol"),
    *_without(
        "ccol",
        {
            "no-mcc": {"mcc": "false"},
            "no-csa": {"csa": "false"},
            "no-disc": {"disc_mode": "none"},
            "no-keyframe": {"keyframe": "false"},
            "rscl": {"rscl": "true"},
        },
    ),
    Entry("lada", "lada"),
    *_without(
        "lada",
        {
            "hard": {"contrast.kind": "hard"},
            "no-contrast": {"contrast.kind": "none"},
            "fixed": {"contrast.adaptive": "fixed"},
            "rscl": {"rscl": "true"},
        },
    ),
    Entry("clap", "clap"),
    *_without(
        "clap",
        {
            "insulated": {"insulation": "insulated"},
            "frozen": {"insulation": "frozen"},
            "no-matching": {"matching.alpha": "0"},
            "rscl": {"rscl": "true"},
        },
    ),
)
"""Methods, and the ablations of their papers. RS-CL is switched on where a method has it."""


@dataclass(frozen=True)
class Recipe:
    """A bench: everybody gets the same of everything."""

    says: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    """Names of entries; ``ccol*`` means all that begin so."""
    demos: int
    steps: int | None
    """Training steps of each, all stages together; None for the preset's."""
    batch: int | None
    trials: int
    seeds: tuple[int, ...]
    """Of training. The starts of the trials are the same for all."""
    preset: str = "small"
    image: int | None = None
    """Height and width of pictures; None for the preset's."""
    limit: float | None = None
    """Seconds until a trial ends anyway; None for the task's."""
    every_tick: bool = True
    """Whether methods that average overlapping plans are asked for one at every tick, as ACT's paper has it. Else, and
    for the others, as the preset says."""
    workers: int = 2
    """Processes that collect and try."""
    needs_gpu: bool = False

    def but(self, **wishes: Any) -> "Recipe":
        """The same, except for what a person asked for."""
        return dataclasses.replace(self, **{name: wish for name, wish in wishes.items() if wish is not None})

    def entries(self) -> list[Entry]:
        """Who takes part, in the order of the table.

        Raises:
            CannotCompare: a name means nobody.
        """
        for name in self.methods:
            if not any(fnmatch(entry.name, name) for entry in ENTRIES):
                known = ", ".join(entry.name for entry in ENTRIES)
                raise CannotCompare(f"there is no method {name!r} to compare; there are: {known}")
        return [entry for entry in ENTRIES if any(fnmatch(entry.name, name) for name in self.methods)]


RECIPES = {
    "few": Recipe(
        "CCoL beside LeRobot's ACT where demonstrations are few",
        *(("pick_place",), ("nearest", "lerobot.act", "ccol")),
        demos=40,
        steps=600,
        batch=64,
        trials=20,
        seeds=(0, 1, 2),
    ),
    "all": Recipe(
        "every method and ablation, once",
        *(("pick_place",), ("*",)),
        demos=40,
        steps=600,
        batch=64,
        trials=20,
        seeds=(0,),
    ),
    "quick": Recipe(
        "all tiny: minutes, and nothing learned",
        *(("pick_place",), ("random", "nearest", "lerobot.act", "ccol*")),
        demos=2,
        steps=10,
        batch=8,
        trials=2,
        seeds=(0,),
        preset="tiny",
        limit=4.0,
    ),
    "aloha": Recipe(
        "LeRobot's ACT and CCoL at the papers' sizes, on 50 scripted demonstrations of our own",
        *(("transfer", "gym_transfer", "gym_insertion"), ("lerobot.act", "ccol")),
        demos=50,
        steps=None,
        batch=None,
        trials=50,
        seeds=(0,),
        preset="paper",
        needs_gpu=True,
    ),
}

PAPERS = {"transfer": TRANSFER, "gym_transfer": TRANSFER, "gym_insertion": INSERTION}
"""What CCoL's paper prints of tasks like these; its ALOHA is gym-aloha's."""
PRINTED = {"lerobot.act": "ACT", "ccol": "CCoL"}
"""What that paper calls our entries."""


def printed(task: str, entry: str) -> float | None:
    """The success (0..1) with scripted demonstrations that the paper prints; None where it prints none."""
    rates = PAPERS.get(task, {}).get(PRINTED.get(entry, ""))
    return None if rates is None else rates[0] / 100


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        CannotCompare: there is none.
    """
    if name not in RECIPES:
        raise CannotCompare(f"there is no recipe {name!r}; there are: {', '.join(sorted(RECIPES))}")
    return RECIPES[name]


def possible(made: Recipe) -> None:
    """See to it that this machine can follow a recipe.

    Raises:
        CannotCompare: it needs a GPU and there is none, or it has a task or a method that is unknown.
    """
    import torch

    made.entries()
    if strange := [task for task in made.tasks if task not in CELLS]:
        raise CannotCompare(f"there is no task {strange[0]!r} to compare at; there are: {', '.join(CELLS)}")
    if made.needs_gpu and not torch.cuda.is_available():
        raise CannotCompare(
            "this recipe trains at the papers' sizes, 100,000 steps of each method, and needs a GPU; none is found "
            "here. Small sizes of the same methods at the same task: --recipe few --tasks transfer"
        )


def settings(entry: Entry, made: Recipe, seed: int) -> Any:
    """The learner of an entry with a recipe's budget: the same steps, windows, pictures and seed for all.

    Steps are those of all stages together that look at pictures, shared among them as the preset does.

    Raises:
        WrongSetting: the method lacks a field that its entry changes.
    """
    how: Any = learners.method(entry.method).preset(made.preset)
    if made.image is not None and hasattr(how, "image"):
        how = dataclasses.replace(how, image=made.image)
    if hasattr(how, "seed"):
        how = dataclasses.replace(how, seed=seed)
    parts = dict(_stages(how))
    whole = steps(how)
    for where, part in parts.items():
        given: dict[str, Any] = {"seed": seed, "tracker": "none"}
        if where[0] in BLIND:
            how = _put(how, where, dataclasses.replace(part, **given))
            continue
        if made.batch is not None:
            given["batch"] = made.batch
        if made.steps is not None:
            given["steps"] = max(1, round(made.steps * part.steps / whole))
            given["warmup"] = min(part.warmup, max(1, given["steps"] // 10))
        how = _put(how, where, dataclasses.replace(part, **given))
    return changed(how, entry.settings, entry.method)


def steps(how: Any) -> int:
    """Training steps of all stages that look at pictures."""
    return sum(part.steps for where, part in _stages(how) if where[0] not in BLIND)


def briefly(how: Any, number: int) -> Any:
    """The same learner, with so many steps in each stage and nothing held out."""
    for where, part in _stages(how):
        short = dataclasses.replace(part, steps=number, warmup=1, held_out=0.0, check_every=number, save_every=number)
        how = _put(how, where, short)
    return how


IDLE = frozenset({"adapt", "vd_vae"})
"""Stages that only go on from a parent, or need film of people."""
BLIND = frozenset({"act_vae"})
"""Parts whose stages look at no pictures. Their steps cost little, and are the preset's."""


def _stages(how: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], learners.Training]]:
    """Where a learner's settings say how a stage is trained, and what they say."""
    found = []
    for each in dataclasses.fields(how):
        value, where = getattr(how, each.name), (*path, each.name)
        if each.name in IDLE:
            continue
        if isinstance(value, learners.Training):
            found.append((where, value))
        elif dataclasses.is_dataclass(value):
            found += _stages(value, where)
    return found


def _put(how: Any, where: Sequence[str], value: Any) -> Any:
    first, *rest = where
    return dataclasses.replace(how, **{first: _put(getattr(how, first), rest, value) if rest else value})
