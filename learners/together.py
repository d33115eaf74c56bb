"""Processes that fit one network together, here and on other machines, and what they have to agree on.

`accelerate launch` starts them, `joined` lets them meet. The main one decides, writes and speaks; the others follow. A
process alone is the main one, and agrees with itself.
"""

import json
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

PIECE = 1 << 28
"""Bytes that are handed out in one go."""


@dataclass(frozen=True)
class Together:
    """Who this process is among those that fit a network together."""

    index: int = 0
    of: int = 1
    device: str = "cpu"
    """Where numbers lie that processes exchange."""

    @property
    def main(self) -> bool:
        return self.index == 0

    def part(self, number: int) -> float:
        """What the mean over this process's share of so many windows counts, so that a mean over all is their mean.

        Raises:
            ValueError: there are fewer windows than processes.
        """
        if number < self.of:
            raise ValueError(f"a batch of {number} windows cannot be shared among {self.of} processes; let fewer help")
        return len(range(self.index, number, self.of)) * self.of / number

    def mean(self, value: float) -> float:
        """The mean of what each has."""
        return self._sum(value) / self.of

    def anyone(self, wants: bool) -> bool:
        """Whether one of them does."""
        return self._sum(float(wants)) > 0

    def told(self, value: Callable[[], Any]) -> Any:
        """What the main one makes of it, as JSON has it; the others do not try."""
        if self.of == 1:
            return value()
        return json.loads(self.handed(lambda: json.dumps(value()).encode()))

    def handed(self, content: Callable[[], bytes]) -> bytes:
        """The bytes that the main one has; the others need not have them."""
        if self.of == 1:
            return content()
        whole = content() if self.main else b""
        size = int(self._heard(np.array([len(whole)], "<i8"))[0])
        kept = np.frombuffer(whole, "u1") if self.main else np.empty(size, "u1")
        pieces = [self._heard(kept[first : first + PIECE]) for first in range(0, size, PIECE)]
        return b"".join(piece.tobytes() for piece in pieces)

    def share(self, folder: Path) -> None:
        """Let every machine have the files that the main one has in this folder; what is there is not written again."""
        if self.of == 1:
            return
        names = self.told(lambda: sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()))
        for name in names:
            path = folder / name
            content = self.handed(path.read_bytes)
            if not path.exists() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                part = path.with_name(f"{path.name}.{self.index}.part")
                part.write_bytes(content)
                part.rename(path)

    def draw(self, seed: int, step: int) -> None:
        """Let what is drawn in this step be of the seed, the step and the process, wherever the run began."""
        if self.of > 1:
            torch.manual_seed(int(np.random.default_rng((seed, step, self.index)).integers(2**62)))

    def _sum(self, value: float) -> float:
        if self.of == 1:
            return value
        each = torch.tensor([value], dtype=torch.float32, device=self.device)
        torch.distributed.all_reduce(each)
        return float(each)

    def _heard(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        tensor = torch.from_numpy(values.copy()).to(self.device)
        torch.distributed.broadcast(tensor, 0)
        return tensor.cpu().numpy()


def together() -> Together:
    """Who this process is among those that it has joined; alone when there are none."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return Together()
    gpu = torch.distributed.get_backend() == "nccl"
    device = f"cuda:{torch.cuda.current_device()}" if gpu else "cpu"
    return Together(torch.distributed.get_rank(), torch.distributed.get_world_size(), device)


@contextmanager
def joined() -> Generator[Together]:
    """Meet the processes that were started with this one, if there are any, and part with them at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from accelerate import PartialState

        # Unless told so, it takes a machine without a GPU for one that is not shared.
        PartialState(cpu=not torch.cuda.is_available())
    yield together()  # ruff: ignore[fallible-context-manager] - who failed waits for nobody; the others end with it
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
