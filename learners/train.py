"""The only training loop. It runs on Accelerate: one CPU, one GPU, or many machines, unchanged.

A run resumes where it was stopped: weights, averages, optimizer and step lie in safetensors beside a JSON note, and
the order of windows is a function of seed and step. The learning rate warms up, then falls as a cosine.
"""

import copy
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, load_file, save_file
from torch import Tensor, nn

from learners.data import Examples, Movable
from learners.loading import fetched, loader
from learners.together import Together, together

type Tell = Callable[[int, int, float], None]
"""Called with steps done, steps in all, and the running loss."""


def silent(_done: int, _of: int, _loss: float) -> None:
    """Tell nobody."""


def following(before: int, of: int, tell: Tell) -> Tell:
    """Tell of steps that follow others, as so many of all."""
    return lambda done, _of, loss: tell(before + done, of, loss)


class StoppedElsewhere(Exception):
    """Another of the processes that fit a network together was stopped. Progress is stored."""


class Diverged(Exception):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class Training:
    """How a network is fitted."""

    steps: int = 3000
    batch: int = 96
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    warmup: int = 100
    steady: float = 0.0
    """Share of the steps before the learning rate begins to fall."""
    least: float = 0.0
    """Share of the learning rate that is left at the end; with 1 it does not fall."""
    clip: float = 1.0
    """Largest gradient norm."""
    ema: float = 0.0
    """Decay of the average of weights that becomes the policy; zero keeps the last weights."""
    precision: Literal["no", "bf16"] = "no"
    held_out: float = 0.1
    """Share of episodes never trained on, whose loss is reported."""
    check_every: int = 500
    save_every: int = 500
    seed: int = 0
    workers: int = 2
    """Threads that prepare batches ahead: pictures that are not kept unpacked are unpacked there."""
    tracker: Literal["tensorboard", "none"] = "tensorboard"


@dataclass(frozen=True)
class Group:
    """Parameters that learn at a pace of their own."""

    parameters: Sequence[nn.Parameter]
    pace: float = 1.0
    """Their learning rate, as a share of `Training.lr`."""
    weight_decay: float | None = None
    """As `Training` has it when it is None."""


@runtime_checkable
class Grouped(Protocol):
    """A network whose parameters do not all learn at one pace."""

    def groups(self) -> Sequence[Group]:
        """Every parameter that learns, in exactly one of them."""
        ...


@runtime_checkable
class Following(Protocol):
    """A network that has something to put right after every step of the optimizer: an average, a code nobody uses."""

    def after(self, step: int) -> None:
        """``step`` is counted from 0."""
        ...


@runtime_checkable
class Noting(Protocol):
    """A network that notes more of its last losses than the terms: what nobody minimises and a person wants to see."""

    @property
    def notes(self) -> Mapping[str, float]: ...


def train(
    net: nn.Module, data: Examples[Any], how: Training, run: Path | None = None, tell: Tell = silent
) -> dict[str, float]:
    """Fit ``net`` in place and leave it in evaluation mode; returns its last losses.

    ``net.losses(batch)`` gives named terms, whose sum is minimised. It may be `Grouped`, `Following` and
    `Noting`.

    With a ``run`` folder, progress is stored there every ``save_every`` steps and a second call resumes it.
    Whatever ``tell`` raises ends it; progress is stored at that step first.

    Processes that are `together` share every batch, so that each step shows the same windows however many they are.
    What a network makes of several windows at once, such as a contrast between them, it makes of its process's share.
    Each process tells; the main one alone stores, and its ``run`` counts.

    Raises:
        Diverged: the loss became NaN or infinite.
        StoppedElsewhere: ``tell`` raised in another process that takes part.
        ValueError: the folder holds a run with other settings, or a batch is too small to be shared.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    # It remembers the precision of the run before in this process, and refuses another. Who else takes part is kept.
    AcceleratorState._reset_state()  # ruff: ignore[private-member-access] - it has no other way
    tracked = how.tracker != "none" and run is not None
    # Buffers follow what each process sees; a network that counts in them adds the counts up itself.
    alike = DistributedDataParallelKwargs(broadcast_buffers=False, find_unused_parameters=True)
    accelerator = Accelerator(
        mixed_precision=how.precision,
        log_with=how.tracker if tracked else None,
        project_dir=run if tracked else None,
        kwargs_handlers=[alike],
    )
    ranks = together()
    if tracked:
        accelerator.init_trackers("log")
    net.to(accelerator.device)
    groups = net.groups() if isinstance(net, Grouped) else [Group([p for p in net.parameters() if p.requires_grad])]
    parameters = [parameter for group in groups for parameter in group.parameters]
    optimizer = _optimizer(groups, how)
    average = copy.deepcopy(net) if how.ema else None
    progress = _Progress(run, how, net, average, optimizer, parameters)
    first, told = progress.resume(ranks)
    smooth = told.get("loss", math.nan)
    learn, check = data.split(how.held_out, how.seed)
    counts = ranks.part(min(how.batch, len(learn)))
    module, optimizer = accelerator.prepare(_Losses(net), optimizer)
    net.train()
    batches = loader(
        data,
        how.batch,
        how.seed,
        how.workers,
        learn=learn,
        first=first,
        steps=how.steps,
        share=slice(ranks.index, None, ranks.of),
        pin=accelerator.device.type == "cuda",
    )
    for step, batch in enumerate(batches, first):
        for group, said in zip(optimizer.param_groups, groups, strict=True):
            group["lr"] = how.lr * said.pace * schedule(step, how)
        ranks.draw(how.seed, step)
        with accelerator.autocast():
            terms = module(batch.to(accelerator.device))
        loss = torch.stack(list(terms.values())).sum() * counts
        optimizer.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(parameters, how.clip)
        optimizer.step()
        if isinstance(net, Following):
            net.after(step)
        if average is not None:
            _follow(average, net, min(how.ema, (1 + step) / (10 + step)))
        value = ranks.mean(float(loss.detach()))
        if not math.isfinite(value):
            raise Diverged(f"the loss is {value} at step {step}; try a lower lr than {how.lr}")
        smooth = value if math.isnan(smooth) else 0.98 * smooth + 0.02 * value
        done = step + 1
        told = {name: float(term.detach()) for name, term in terms.items()} | {"loss": smooth}
        if isinstance(net, Noting):
            told |= net.notes
        if done % how.check_every == 0 or done == how.steps:
            if len(check) and ranks.main:
                told["held_out"] = held_out_loss(average or net, data, check, how)
            accelerator.log(told, step=done)
        answered = _answered(tell, done, how.steps, smooth)
        stop = ranks.anyone(answered is not None)
        if ranks.main and (stop or done % how.save_every == 0 or done == how.steps):
            progress.save(done, told)
        if stop:
            _close(accelerator.trackers)
            raise answered or StoppedElsewhere("another process that takes part was stopped")
    _close(accelerator.trackers)
    if average is not None:
        net.load_state_dict(average.state_dict())
    net.eval()
    return told


def schedule(step: int, how: Training) -> float:
    """Share of the learning rate at a step: linear warm-up, and half a cosine from when it is no longer steady."""
    fallen = max(0.0, step / how.steps - how.steady) / max(1 - how.steady, 1e-9)
    left = how.least + (1 - how.least) * 0.5 * (1 + math.cos(math.pi * fallen))
    return min(1.0, (step + 1) / max(1, how.warmup)) * left


@torch.no_grad()
def held_out_loss(
    net: nn.Module, data: Examples[Any], check: NDArray[np.intp], how: Training, most: int = 1024
) -> float:
    """Mean loss on windows of episodes never trained on, evenly spaced, at most ``most`` of them."""
    was = net.training
    net.eval()
    device = next(net.parameters()).device
    some = check[np.linspace(0, len(check) - 1, min(most, len(check))).astype(int)]
    losses: Any = net
    values = []
    parts = [some[start : start + how.batch] for start in range(0, len(some), how.batch)]
    for batch in fetched(data, parts, how.workers):
        terms = losses.losses(batch.to(device))
        values.append(float(sum(terms.values())))
    net.train(was)
    return float(np.average(values, weights=[len(part) for part in parts]))


def _answered(tell: Tell, done: int, of: int, loss: float) -> BaseException | None:
    """Tell, and return what whoever hears of it raises: it is raised again once progress is stored."""
    try:
        tell(done, of, loss)
    except BaseException as answer:  # ruff: ignore[blind-except] - whatever it is, it is raised again
        return answer
    return None


def _close(trackers: Sequence[Any]) -> None:
    """End the logs; who takes part goes on, for another stage may follow."""
    for tracker in trackers:
        tracker.finish()


class _Losses(nn.Module):
    """The network called for its losses, so that Accelerate may wrap the call."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net: Any = net

    def forward(self, batch: Movable) -> dict[str, Tensor]:
        return dict(self.net.losses(batch))


def _optimizer(groups: Sequence[Group], how: Training) -> torch.optim.Optimizer:
    decays = (how.weight_decay if group.weight_decay is None else group.weight_decay for group in groups)
    apart: list[dict[str, Any]] = [
        {"params": list(group.parameters), "weight_decay": decay} for group, decay in zip(groups, decays, strict=True)
    ]
    return (
        torch.optim.SGD(apart, how.lr, momentum=how.momentum)
        if how.optimizer == "sgd"
        else torch.optim.AdamW(apart, how.lr)
    )


@torch.no_grad()
def _follow(average: nn.Module, net: nn.Module, decay: float) -> None:
    kept = [t for t in average.state_dict().values() if t.is_floating_point()]
    new = [t for t in net.state_dict().values() if t.is_floating_point()]
    torch._foreach_lerp_(kept, new, 1 - decay)


@dataclass
class _Progress:
    """A run's folder: everything a second process needs to go on."""

    run: Path | None
    how: Training
    net: nn.Module
    average: nn.Module | None
    optimizer: torch.optim.Optimizer
    parameters: list[nn.Parameter]

    def save(self, done: int, told: Mapping[str, float]) -> None:
        """Write tensors, then the note that names them; a crash between leaves the older pair whole."""
        if self.run is None:
            return
        self.run.mkdir(parents=True, exist_ok=True)
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for i, parameter in enumerate(self.parameters):
            for name, value in self.optimizer.state[parameter].items():
                if value is not None:
                    tensors[f"optimizer.{i}.{name}"] = torch.as_tensor(value)
        tensors["generator"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["cuda"] = torch.cuda.get_rng_state()
        name = f"step-{done}.safetensors"
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, self.run / name)
        with (self.run / name).open("rb") as file:
            os.fsync(file.fileno())  # before the note that names it is there to stay
        note = self.run / "last.json.part"
        note.write_text(json.dumps({"done": done, "told": told, "tensors": name, "how": self._settings()}, indent=1))
        with note.open() as file:
            os.fsync(file.fileno())
        note.rename(self.run / "last.json")
        for old in self.run.glob("step-*.safetensors"):
            if old.name != name:
                old.unlink()

    def _settings(self) -> dict[str, Any]:
        """What makes this run what it is; how many workers help does not."""
        return {name: value for name, value in asdict(self.how).items() if name != "workers"}

    def resume(self, ranks: Together) -> tuple[int, dict[str, float]]:
        """Go back to where the run stopped; returns the steps already done, and the losses of the last of them."""
        run = self.run
        note = None if run is None else ranks.told(lambda: _read(run / "last.json"))
        if run is None or note is None:
            return 0, {}
        if note["how"] != self._settings():
            raise ValueError(f"{self.run} holds a run with other settings; choose another folder to begin anew")
        stored = run / note["tensors"]
        tensors = load_file(stored) if ranks.of == 1 else load(ranks.handed(stored.read_bytes))
        self.net.load_state_dict(_under("net.", tensors))
        if self.average is not None:
            self.average.load_state_dict(_under("average.", tensors))
        for i, parameter in enumerate(self.parameters):
            moments = _under(f"optimizer.{i}.", tensors)
            # AdamW counts its steps on the CPU; everything else lies where its parameter does.
            self.optimizer.state[parameter].update(
                {name: value if name == "step" else value.to(parameter.device) for name, value in moments.items()}
            )
        torch.set_rng_state(tensors["generator"])
        if torch.cuda.is_available() and "cuda" in tensors:
            torch.cuda.set_rng_state(tensors["cuda"])
        return int(note["done"]), dict(note.get("told", {}))


def _read(note: Path) -> Any:
    return json.loads(note.read_text()) if note.exists() else None


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
