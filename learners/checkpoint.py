"""A policy on disk: what it is in JSON, what it weighs in safetensors. Never pickle."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

FACTS, WEIGHTS = "policy.json", "weights.safetensors"
FORMAT = 1


class BadCheckpoint(Exception):
    """A folder does not hold a policy this version can read. The message says why."""


@dataclass(frozen=True)
class Stored:
    """A policy as it lies on disk."""

    method: str
    settings: dict[str, Any]
    facts: dict[str, Any]
    """What is needed beside the settings: a vocabulary, an instruction list."""
    tensors: dict[str, Tensor]
    folder: Path = Path()
    """Where it lies, with artefacts of its own beside it."""


def write(folder: Path, method: str, settings: Any, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Store a policy; the folder has it whole or not at all, because the facts are written last."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"format": FORMAT, "method": method, "settings": dataclasses.asdict(settings), "facts": facts}
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS)
    unfinished = folder / f"{FACTS}.part"
    with unfinished.open("w") as file:
        json.dump(whole, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(folder / FACTS)


def read(folder: Path) -> Stored:
    """Read a policy's folder.

    Raises:
        BadCheckpoint: there is none, it is damaged, or it is of another format.
    """
    for name in (FACTS, WEIGHTS):
        if not (folder / name).is_file():
            raise BadCheckpoint(f"{folder} holds no policy: {name} is missing")
    try:
        whole = json.loads((folder / FACTS).read_text())
        if whole["format"] != FORMAT:
            raise BadCheckpoint(f"{folder} is in format {whole['format']}; this version reads {FORMAT}")
        return Stored(whole["method"], whole["settings"], whole["facts"], load_file(folder / WEIGHTS), folder)
    except ValueError as error:
        raise BadCheckpoint(f"{folder}: {FACTS} is damaged: {error}") from error
    except KeyError as error:
        raise BadCheckpoint(f"{folder}: {FACTS} lacks {error}") from error
    except SafetensorError as error:
        raise BadCheckpoint(f"{folder}: {WEIGHTS} is damaged: {error}") from error
