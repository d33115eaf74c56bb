"""LaDA's network: what is seen, as words change it, embedded where the words for motions are; and what it moves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learners.body import Body
from learners.clap.sight import Eyes, Seen
from learners.data import Batch
from learners.lada.clip import Adapter, Film, Towers
from learners.lada.losses import Balance, Contrasts
from learners.lada.primitives import COUNTS, Primitives
from learners.lada.words import examples
from learners.policy import Scales
from learners.rscl import Regulariser, in_turn
from learners.tensors import Tensors

if TYPE_CHECKING:
    from learners.lada.lada import LaDA


@dataclass(frozen=True)
class Lesson(Tensors):
    """Some windows and what their motions are called."""

    windows: Batch
    classes: Tensor
    """(B, arms, 3)."""
    said: list[str]
    """The same in words, and how far."""


@dataclass(frozen=True)
class Embedded:
    """Where some samples lie in the space of words."""

    action: Tensor
    """(B, e): A of the paper."""
    seen: Seen | None
    """What key points saw, where those are the eyes."""
    tokens: Tensor
    """(B, N, w): what was seen, as words change it."""


class Net(nn.Module):
    """CLIP, FiLM, an adapter, heads that name the primitive, and a head that moves."""

    def __init__(
        self, how: "LaDA", facts: dict[str, Any], texts: Sequence[str] = (), widths: tuple[int, int] | None = None
    ) -> None:
        """Build from settings, robot and labeller; ``texts`` is what is said, for towers made here.

        ``widths`` are numbers per state and per step of a plan, where they are not those of a robot of ours.
        """
        super().__init__()
        self.how, self.body = how, Body.said(facts)
        self.primitives = Primitives.said(facts)
        felt, d = widths or (self.body.width, how.view.of(self.body).width)
        self.scales = Scales(self.body, how.k, d)
        sharp = how.sight.points > 0
        self.towers = Towers(how.clip, [*texts, *examples()], facts.get("clip"), blind=sharp)
        views = len(how.cameras)
        width = how.width if sharp else self.towers.width
        self.eyes = Eyes(how.sight, views, None if widths else self.body, felt, width) if sharp else None
        self.film = Film(self.towers.width, width)
        noticed = width * (views * how.sight.points + 1) if sharp else width * views
        self.adapter = Adapter(noticed + (felt if how.feels else 0), how.hidden, self.towers.width)
        self.heads = nn.ModuleList(nn.Linear(self.towers.width, self.body.arms * count) for count in COUNTS)
        self.act = nn.Sequential(
            nn.Linear(self.towers.width, how.hidden), nn.SiLU(), nn.Linear(how.hidden, how.hidden), nn.SiLU()
        )
        self.to_plan = nn.Linear(how.hidden, how.k * d)
        self.rscl: Regulariser | None = None
        if how.rscl is not None:
            self.rscl = Regulariser(how.rscl, width, self.body, views, how.training.steps)

    @property
    def facts(self) -> dict[str, Any]:
        """What the settings do not say and is needed to build it again."""
        return {**self.body.facts, **self.primitives.facts, "clip": self.towers.facts}

    def embed(self, images: Tensor, state: Tensor, instructions: Sequence[str]) -> Embedded:
        """Pixels (B, V, 3, H, W), 0..255, and raw states (B, history, body)."""
        how = self.how
        felt = self.scales.do("state", state[:, -1])
        if self.training and how.sight.state_noise:
            felt = felt + how.sight.state_noise * torch.randn_like(felt)
        said = self.towers.say(instructions)
        seen: Seen | None = None
        if self.eyes is None:
            tokens, noticed = self.film(self.towers.look(images), said), []
        else:
            seen = self.eyes(images, felt, state[:, -1], self.scales)
            tokens, noticed = self.film(seen.tokens, said), [seen.hint]
        if how.feels:
            noticed.append(felt)
        shown = tokens if self.rscl is None else self.rscl.shown(tokens)
        return Embedded(self.adapter(torch.cat([shown.flatten(1), *noticed], dim=-1)), seen, tokens)

    def named(self, action: Tensor) -> list[Tensor]:
        """Scores (B, arms, classes) of translation, rotation and hand."""
        return [head(action).unflatten(-1, (self.body.arms, -1)) for head in self.heads]

    def imitation(self, action: Tensor, classes: Tensor) -> Tensor:
        """Sum of the three cross-entropies, mean over samples and arms."""
        terms = [
            F.cross_entropy(scores.flatten(0, 1), classes[..., kind].flatten())
            for kind, scores in enumerate(self.named(action))
        ]
        return torch.stack(terms).sum()

    @property
    def moving(self) -> list[nn.Module]:
        """What is for the second stage alone."""
        if self.rscl is None:
            return [self.act, self.to_plan]
        held = self.rscl.projector if self.rscl.how.layout == "published" else self.rscl
        return [self.act, self.to_plan, held]

    def moved(self, action: Tensor) -> Tensor:
        """Normalised chunks (B, k, d)."""
        return self.to_plan(self.act(action)).unflatten(-1, (self.how.k, -1))

    def steps(self, images: Tensor, state: Tensor, instructions: list[str]) -> Tensor:
        """The chunk (B, k, d) in the view's units."""
        return self.scales.undo("plan", self.moved(self.embed(images, state, instructions).action))

    @torch.inference_mode()
    def explain(self, images: Tensor, state: Tensor, instructions: list[str]) -> list[str]:
        """What it takes its own motion to be, in words."""
        scores = self.named(self.embed(images, state, instructions).action)
        codes = torch.stack([each.argmax(-1) for each in scores], dim=-1)
        return self.primitives.words(codes.cpu().numpy(), magnitude=False)

    def seeing(self, embedded: Embedded, batch: Batch) -> dict[str, Tensor]:
        """What key points have to say, where those are the eyes."""
        if self.eyes is None or embedded.seen is None:
            return {}
        return self.eyes.losses(embedded.seen, batch.key, self.scales)


class Speaker:
    """The words for motions as the text tower had them before anything was learned: looked up, never learned.

    It is no module: a network that has one neither trains nor stores it.
    """

    def __init__(self, towers: Towers, centre: bool) -> None:
        """Copy the words' half; with ``centre``, what all sentences have in common is taken away."""
        self.towers = towers.spoken()
        self._centre = centre
        self._common: Tensor | None = None
        self._known: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(self, texts: Sequence[str], like: Tensor) -> Tensor:
        """Embeddings (B, e) of texts, where ``like`` is."""
        if new := sorted(set(texts) - self._known.keys()):
            self.towers.to(like.device)
            said = self.towers.say(new)
            if self._centre:
                if self._common is None:
                    self._common = self.towers.say(examples()).mean(0)
                said = said - self._common
            self._known |= dict(zip(new, said, strict=True))
        return torch.stack([self._known[text] for text in texts]).to(like)

    def __deepcopy__(self, _memory: dict[int, Any]) -> "Speaker":
        """It never changes, so everybody may share it."""
        return self


class Pretraining(nn.Module):
    """The first stage: embed motions where their words are, and name them."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net
        # The head that moves learns in the second stage.
        for part in net.moving:
            part.requires_grad_(False)
        how = net.how.contrast
        self.contrasts, self.balance = Contrasts(how), Balance(how)
        self.speaker = Speaker(net.towers, net.how.centre)
        self.notes: dict[str, float] = {}

    def losses(self, lesson: Lesson) -> dict[str, Tensor]:
        """``w_CL L_CL + w_IL L_IL``, and what the eyes learn beside it."""
        net, batch = self.net, lesson.windows
        embedded = net.embed(batch.images, batch.state, batch.instructions)
        imitation = net.imitation(embedded.action, lesson.classes)
        terms = net.seeing(embedded, batch)
        if net.how.contrast.kind == "none":
            return terms | {"imitation": imitation}
        contrasted = self.contrasts(embedded.action, self.speaker(lesson.said, embedded.action), lesson.classes)
        share, rest = self.balance(imitation, contrasted)
        if self.training:
            self.notes = {
                "imitation_loss": float(imitation.detach()),
                "contrast_loss": float(contrasted.loss.detach()),
                "contrast_excess": float(contrasted.excess.detach()),
                "imitation_weight": float(share),
            }
        return terms | {"imitation": share * imitation, "contrast": rest * contrasted.loss}


class Finetuning(nn.Module):
    """The second stage: move, by L1. The heads that name go on beside it, and change nothing of the embedding."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net
        for part in net.moving:
            part.requires_grad_(True)

    @property
    def notes(self) -> dict[str, float]:
        """What RS-CL notes."""
        return {} if self.net.rscl is None else self.net.rscl.notes

    def after(self, step: int) -> None:
        """The pull of RS-CL falls with the steps."""
        if self.net.rscl is not None:
            self.net.rscl.after(step)

    def losses(self, lesson: Lesson) -> dict[str, Tensor]:
        net, batch = self.net, lesson.windows
        embedded = net.embed(batch.images, batch.state, batch.instructions)
        missed = (net.moved(embedded.action) - net.scales.do("plan", batch.plan)).abs().mean(-1)
        counts = ~batch.past_end
        held: dict[str, Tensor] = {}
        if net.rscl is not None and self.training:
            camera = in_turn(embedded.tokens.shape[1], len(net.how.cameras), embedded.tokens.device)
            held["rscl"] = net.rscl(embedded.tokens, camera, batch.state)
        return {
            **held,
            "action": (missed * counts).sum() / counts.sum().clamp_min(1),
            "named": net.imitation(embedded.action.detach(), lesson.classes),
            **net.seeing(embedded, batch),
        }
