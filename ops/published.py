"""What papers report for the suites that are tried here: other data and other trials, to stand beside ours."""

import tomllib
from dataclasses import dataclass

NOTE = "as published: other demonstrations, other training and other trials than ours"
"""What these rows are labelled with, wherever they are shown."""


@dataclass(frozen=True)
class Published:
    """One method's success in a paper."""

    of: str
    """What was to be done."""
    method: str
    success: float
    """In percent."""
    trained: str
    """On which demonstrations."""
    source: str


CCOL_1 = "CCoL, table 1"
CCOL_3 = "CCoL, table 3"
LADA = "LaDA, LIBERO's table"

SCRIPTED, HUMAN = "50 scripted", "50 human"

TRANSFER = {"ACT": (86.0, 50.0), "AWE": (99.0, 71.0), "DIC": (95.9, 78.1), "CCoL": (99.0, 82.0)}
INSERTION = {"ACT": (32.0, 20.0), "AWE": (57.0, 30.0), "DIC": (83.2, 30.2), "CCoL": (87.0, 36.0)}
"""Success with scripted and with human demonstrations, in percent."""

KITCHEN = {"MPI, ViT-S": 64.4, "CCoL, ViT-S": 68.9, "CCoL, ViT-B, frozen": 65.9}

LIBERO = {
    "LaDA": (95.2, 99.2, 93.6, 86.4),
    "LaDA without its contrastive loss": (79.2, 82.8, 76.6, 63.4),
    "LaDA without adaptive weights": (93.6, 94.4, 87.2, 74.4),
}
"""Success in the suites below, in percent."""

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10")


def published(station: str) -> tuple[Published, ...]:
    """What is published of the suite that a station's file, given as text, builds; nothing of any other cell."""
    cell = tomllib.loads(station).get("cell", {})
    match cell.get("driver"):
        case "drivers.gymnasium.aloha:GymAloha":
            return _aloha(cell.get("task", "transfer"))
        case "drivers.gymnasium.kitchen:GymKitchen":
            what = "Kitchen, mean of single tasks"
            return tuple(Published(what, name, rate, "25 of the suite's", CCOL_3) for name, rate in KITCHEN.items())
        case "drivers.gymnasium.libero:GymLibero" if (suite := cell.get("suite_name", SUITES[0])) in SUITES:
            place, what = SUITES.index(suite), f"{suite}, mean of its tasks"
            return tuple(Published(what, name, rates[place], "the suite's", LADA) for name, rates in LIBERO.items())
    return ()


def _aloha(task: str) -> tuple[Published, ...]:
    what, rates = ("TransferCube", TRANSFER) if task == "transfer" else ("Insertion", INSERTION)
    return tuple(
        Published(what, name, rate, trained, CCOL_1)
        for place, trained in enumerate((SCRIPTED, HUMAN))
        for name, rate in ((name, each[place]) for name, each in rates.items())
    )
