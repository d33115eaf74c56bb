"""CCoL: continuous and co-attentive behaviour cloning from vision, language and proprioception (arXiv 2511.14396).

Notable:
- Motion continuity (MCC): past states -> CVAE -> a latent that flows along a neural ODE; its points become tokens.
- Co-attention (CSA): words attend to what is seen and felt, and the other way round; both fused by a sum (Eq. 8, 9).
- Position attention (Eq. 10) spreads the fused tokens over time; learned queries decode a chunk of ``k`` targets.
- The loss is L1 on the chunk + KL + E_disc, in three readings (`Discrepancy`). Each component has its switch.
- Ours, and off in the ``paper`` preset: a key-point encoder that a CPU can train; ``keyframe``, a second output that
  says where the hand will next open or close, which the decoder is told; ``residual``, which lets tokens past the
  co-attention unmixed.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learners.backbones import FinePoints, Pretrained, PretrainedText, Words, is_name, mean_word, sinusoids, stretch
from learners.body import Body
from learners.checkpoint import Stored
from learners.data import Batch, Windows
from learners.keyframe import KeyFrames
from learners.ode import Flow, Solver, curvature, discrepancy, encoder_discrepancy, trajectory
from learners.policy import ChunkPolicy, Scales, go_on
from learners.rscl import Regulariser, RsCl, in_turn, reported
from learners.senses import Senses
from learners.train import Tell, Training, silent, train
from learners.transforms import VIEWS, View

PAPER = Training(optimizer="adamw", lr=1e-5, weight_decay=1e-4, batch=8, steps=100_000)
"""The recipe of AWE, which the paper says it follows."""

PICTURES = 64
"""Of each camera, off which colours are measured."""

Discrepancy = Literal["fd", "encoder", "action", "none"]
"""Readings of E_disc: of the latent's flow against its own points, of the encoder's motion against the flow, or of the
bends of what is planned (Eq. 2). ``small`` has the last: plans there bend half as much, with the same error (LOG.md).
"""


@dataclass(frozen=True)
class CCoL:
    """The settings are the fields. ``CCoL.preset("small")`` trains on two CPU cores in minutes."""

    action: Literal["joint", "tool"] = "joint"
    cameras: tuple[str, ...] = ("front", "wrist")
    image: int = 224
    hz: float = 50.0
    k: int = 50
    """Steps of a chunk."""
    history: int = 8
    """Past states the latent is encoded from (T_r)."""
    spacing: float = 0.02
    """Seconds between them."""

    vision: str = "google/vit-base-patch16-224-in21k"
    """A vision transformer's name or folder; empty for the key-point encoder made here."""
    freeze_vision: bool = False
    points: int = 24
    """Key points per camera."""
    channels: int = 32
    text: str = "FacebookAI/roberta-base"
    """A language encoder's name or folder; empty for a vocabulary of the instructions' own words."""
    freeze_text: bool = True

    width: int = 512
    heads: int = 8
    feedforward: int = 3200
    encoder: Literal["transformer", "tcn"] = "transformer"
    encoder_layers: int = 4
    decoder_layers: int = 1
    dropout: float = 0.1
    latent: int = 32
    posterior: Literal["proprio", "act"] = "proprio"
    """What the latent is encoded from: past states, or (as ACT) the expert's actions, and zero at run time."""

    flow_width: int = 128
    ode_points: int = 2
    ode_horizon: float = 2.0
    ode_solver: Solver = "dopri5"
    disc_mode: Discrepancy = "fd"
    disc_weight: float = 1.0
    kl_weight: float = 10.0

    mcc: bool = True
    """Without: the newest state is one plain token."""
    csa: bool = True
    """Without: tokens plus the mean word."""
    fuse: Literal["concat", "hadamard"] = "concat"
    literal_attention: bool = False
    """Eq. 8 as printed: no value and output projections."""
    residual: bool = False
    keyframe: bool = False
    keyframe_weight: float = 1.0
    rscl: RsCl | None = None
    """Hold what is seen to how the robot stands; ``{}`` switches it on as published, ``rscl.beta`` changes a field."""

    state_noise: float = 0.0
    """Spread of noise on normalised states, so that small errors are seen in training."""
    brightness: float = 0.0
    """Spread of one random gain per picture."""
    training: Training = PAPER
    ensemble: float | None = 0.01
    """Decay of temporal ensembling (ACT's m); none follows the newest plan alone."""
    replan: float = 0.02
    """Seconds of a plan that are followed before the next is asked for."""

    def __post_init__(self) -> None:
        if not self.cameras:
            raise ValueError("CCoL plans by what is seen; give it a camera")
        if self.ode_points < 2:
            raise ValueError(f"a flow of {self.ode_points} points goes nowhere; ode_points is at least 2")
        if self.mcc and self.posterior == "act" and self.disc_mode == "encoder":
            raise ValueError('disc_mode "encoder" compares encoded states; with posterior "act" nothing encodes them')

    @classmethod
    def preset(cls, name: str) -> Self:
        """``tiny`` for tests, ``small`` for two CPU cores, ``paper`` for the published sizes.

        Raises:
            ValueError: there is no such preset.
        """
        if name == "paper":
            return cls()
        small = cls(
            action="tool",
            image=96,
            hz=10.0,
            k=16,
            history=4,
            spacing=0.05,
            vision="",
            points=16,
            channels=16,
            text="",
            width=128,
            heads=4,
            feedforward=128,
            encoder_layers=1,
            dropout=0.0,
            latent=16,
            flow_width=64,
            ode_solver="rk4",
            disc_mode="action",
            kl_weight=1e-3,
            residual=True,
            keyframe=True,
            state_noise=0.03,
            brightness=0.1,
            training=Training(optimizer="adamw", lr=2e-3, weight_decay=1e-4, batch=64, steps=1500, ema=0.99),
            replan=0.2,
        )
        if name == "small":
            return small
        if name == "tiny":
            tiny = Training(optimizer="adamw", lr=2e-3, weight_decay=1e-4, batch=16, steps=30, ema=0.9)
            return replace(
                small, image=32, k=10, points=8, channels=8, width=32, feedforward=64, latent=8, training=tiny
            )
        raise ValueError(f"no preset {name!r}; there are tiny, small and paper")

    @property
    def senses(self) -> Senses:
        # One state more than the latent is encoded from, for the reading that compares neighbouring moments.
        return Senses(self.cameras, self.image, self.history + 1, self.spacing)

    @property
    def view(self) -> View:
        return VIEWS[self.action]

    def fit(
        self, data: Windows, run: Path | None = None, tell: Tell = silent, parent: ChunkPolicy | None = None
    ) -> ChunkPolicy:
        """Learn from windows cut with this learner's own senses, view, rate and ``k``.

        A ``parent`` gives its weights, scales and vocabulary to start from.

        Raises:
            CannotGoOn: the parent is not a CCoL policy of the same sizes for the same robot.
        """
        torch.manual_seed(self.training.seed)
        if parent is None:
            net = Net(self, data.body.facts | {"vocabulary": Words.vocabulary(list(data.instructions))})
            net.scales.fit(data)
            net.measure(data.batch(data.sample(PICTURES)).images)
        else:
            net = Net(self, parent.facts)
            go_on(net, parent, data.body)
        if net.rscl is not None:
            net.rscl.begin(data)
        measured = train(net, data, self.training, run, tell)
        if net.rscl is not None:
            _, held_out = data.split(self.training.held_out, self.training.seed)
            measured |= reported(net, net.rscl, data, held_out, lambda batch: (net.look(batch.images)[1], None))
        return ChunkPolicy("ccol", self, net, net.facts, measured)

    def restore(self, stored: Stored) -> ChunkPolicy:
        """The policy that was saved with these settings."""
        net = Net(self, stored.facts)
        net.load_state_dict(stored.tensors)
        return ChunkPolicy("ccol", self, net.eval(), stored.facts)


class Net(nn.Module):
    """CCoL's network; it computes its own training losses."""

    def __init__(self, how: CCoL, facts: dict[str, Any], widths: tuple[int, int] | None = None) -> None:
        """Build from settings, vocabulary and robot, and the facts of pre-trained parts when it was built before.

        ``widths`` are numbers per state and per step of a plan, where they are not those of a robot of ours.
        """
        super().__init__()
        self.how = how
        self.facts = dict(facts)
        self.body = Body.said(facts)
        h = how.width
        body, d = widths or (self.body.width, how.view.of(self.body).width)
        self.scales = Scales(self.body, how.k, d)
        self.vision: Any = FinePoints(len(how.cameras), how.points, how.channels)
        if "vision" in facts or is_name(how.vision):
            self.vision = Pretrained(facts.get("vision", how.vision), how.freeze_vision)
            self.facts["vision"] = self.vision.facts
        self.text: Any = Words(tuple(facts["vocabulary"]), h, how.heads)
        if "text" in facts or is_name(how.text):
            self.text = PretrainedText(facts.get("text", how.text), how.freeze_text)
            self.facts["text"] = self.text.facts
        self.from_seen = nn.Linear(self.vision.width, h)
        self.from_word = nn.Linear(self.text.width, h)
        self.latent = Latent(how, body, d)
        self.attention = CoAttention(h, how.heads, how.literal_attention)
        self.coherence = PositionAttention(h, how.heads)
        self.drop = nn.Dropout(how.dropout)
        self.norm = nn.LayerNorm(h)
        self.queries = nn.Parameter(torch.randn(how.k, h) * 0.02)
        layer = nn.TransformerDecoderLayer(
            h, how.heads, how.feedforward, how.dropout, batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, how.decoder_layers, nn.LayerNorm(h))
        self.head = nn.Sequential(nn.Linear(h, h), nn.SiLU(), nn.Linear(h, d))
        if how.keyframe:
            self.key = KeyFrames(self.vision.summary_width + self.text.width, 256, self.body)
            self.from_key = nn.Sequential(nn.Linear(self.key.hint_width + body, h), nn.SiLU(), nn.Linear(h, h))
        self.rscl = (
            None if how.rscl is None else Regulariser(how.rscl, h, self.body, len(how.cameras), how.training.steps)
        )

    @property
    def notes(self) -> dict[str, float]:
        """What RS-CL notes."""
        return {} if self.rscl is None else self.rscl.notes

    def after(self, step: int) -> None:
        """The pull of RS-CL falls with the steps."""
        if self.rscl is not None:
            self.rscl.after(step)

    def measure(self, images: Tensor) -> None:
        """Measure colours of pixels 0..255 (B, V, 3, H, W), if eyes made here have not; before anything is learned."""
        if isinstance(self.vision, FinePoints) and not self.vision.fitted:
            self.vision.fit(images / 127.5 - 1)

    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What the encoder makes of pixels 0..255 (B, V, 3, H, W), and the same as tokens (B, N, h)."""
        seen = self.vision(self._pixels(images))
        return seen, F.relu(self.from_seen(seen))

    def forward(
        self, images: Tensor, state: Tensor, instructions: list[str], plan: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Normalised ``plan`` (B, k, d) from pixels 0..255 (B, V, 3, H, W) and raw states (B, history + 1, body).

        With it comes what the losses need: the posterior's ``mu`` and ``log_var`` (and ``mu_before``, one state
        earlier), ``states`` and ``times`` of the flow, the normalised ``key`` frame, and for RS-CL the tokens of what
        was ``seen``. ``plan`` is the expert's, in training, for ``posterior="act"``.
        """
        how = self.how
        felt = self.scales.do("state", state)
        if self.training and how.state_noise:
            felt = felt + how.state_noise * torch.randn_like(felt)
        seen, x = self.look(images)
        words, real = self._read(instructions)
        out = self.latent(felt, plan)
        z = F.relu(out["tokens"])
        if self.rscl is not None:
            out["seen"], x = x, self.rscl.shown(x)
        x = torch.cat([x, z], dim=1) if how.fuse == "concat" else x * z.mean(1, keepdim=True)
        spoken = F.relu(self.from_word(words))
        if how.csa:
            fused = self.attention(x, stretch(spoken, real, x.shape[1]))
            fused = fused + x if how.residual else fused
        else:
            fused = x + mean_word(spoken, real)
        memory = self.norm(fused + self.drop(self.coherence(fused)))
        queries = self.queries.expand(len(x), -1, -1)
        if how.keyframe:
            noticed = torch.cat([self.vision.summary(seen), mean_word(words, real)[:, 0].expand(len(x), -1)], dim=-1)
            out["key"] = self.key(noticed, felt[:, -1], state[:, -1], self.scales)
            hint = torch.cat([self.key.hint(out["key"], state[:, -1], self.scales), felt[:, -1]], dim=-1)
            queries = queries + self.from_key(hint)[:, None]
        out["plan"] = self.head(self.decoder(queries, memory))
        return out

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of CCoL Eq. 14, weighted; their sum is minimised."""
        how = self.how
        target = self.scales.do("plan", batch.plan)
        out = self(batch.images, batch.state, batch.instructions, target if self.training else None)
        counts = ~batch.past_end
        terms = {"recon": ((out["plan"] - target).abs().mean(-1) * counts).sum() / counts.sum().clamp_min(1)}
        if how.mcc:
            terms["kl"] = how.kl_weight * divergence(out["mu"], out["log_var"])
            match how.disc_mode:
                case "fd":
                    terms["disc"] = how.disc_weight * discrepancy(self.latent.flow, out["states"], out["times"])
                case "encoder":
                    flow, before = self.latent.flow, out["mu_before"]
                    terms["disc"] = how.disc_weight * encoder_discrepancy(flow, before, out["mu"], how.spacing)
                case "action":
                    terms["disc"] = how.disc_weight * self._bends(out["plan"])
                case "none":
                    pass
        if how.keyframe:
            terms["key"] = how.keyframe_weight * self.key.losses(out["key"], batch.key, self.scales)
        if self.rscl is not None and self.training:
            tokens = out["seen"]
            camera = in_turn(tokens.shape[1], len(how.cameras), tokens.device)
            terms["rscl"] = self.rscl(tokens, camera, batch.state)
        return terms

    def steps(self, images: Tensor, state: Tensor, instructions: list[str]) -> Tensor:
        """The chunk (B, k, d) in the view's units."""
        plan: Tensor = self(images, state, instructions)["plan"]
        return self.scales.undo("plan", plan)

    def _read(self, instructions: list[str]) -> tuple[Tensor, Tensor]:
        """Words (B, L, h) and which are real; a batch that says one thing is read once, and B is 1."""
        once = list(dict.fromkeys(instructions))
        words, real = self.text(once)
        if len(once) == 1:
            return words, real
        which = torch.tensor([once.index(text) for text in instructions], device=words.device)
        return words[which], real[which]

    def _bends(self, plan: Tensor) -> Tensor:
        """Curvature of where the arms are sent: a straight line in the view's own units has none.

        Each number counts in its mean spread over a chunk. Hands are left out: they open and close at once.
        """
        moved = self.scales.undo("plan", plan) / self.scales.get_buffer("plan_scale").mean(0)
        return curvature(moved.unflatten(-1, (self.body.arms, -1))[..., :-1])

    def _pixels(self, images: Tensor) -> Tensor:
        """Colours as -1..1, in one piece of memory that is worked on in place: nothing in a step is larger.

        A camera's pictures lie together, with the colours of a pixel side by side, as convolutions want them.
        """
        by_camera = images.movedim(2, -1).transpose(0, 1)
        pixels = torch.empty(by_camera.shape, device=images.device).copy_(by_camera).sub_(127.5)
        gain = torch.full((*by_camera.shape[:2], 1, 1, 1), 1 / 127.5, device=images.device)
        if self.training and self.how.brightness:
            gain = gain * (1 + self.how.brightness * torch.randn_like(gain))
        return pixels.mul_(gain).transpose(0, 1).movedim(-1, 2)


class Latent(nn.Module):
    """Motion continuity: past states (or expert actions) to a latent that flows; its points as tokens. Eq. 4 to 6."""

    def __init__(self, how: CCoL, body: int, d: int) -> None:
        super().__init__()
        self.how = how
        h = how.width
        self.from_state = nn.Linear(body, h)
        if not how.mcc:
            return
        self.from_action = nn.Linear(d, h) if how.posterior == "act" else None
        length = 1 + (how.k if how.posterior == "act" else how.history - 1)
        self.read = Tcn(h) if how.encoder == "tcn" else Reader(h, how, length)
        self.moments = nn.Linear(h, 2 * how.latent)
        self.flow = Flow(how.latent, how.flow_width)
        self.to_token = nn.Linear(how.latent, h)

    def forward(self, felt: Tensor, plan: Tensor | None) -> dict[str, Tensor]:
        """``tokens`` (B, n, h) from normalised states (B, history + 1, body) and, with ``act``, actions (B, k, d)."""
        how = self.how
        if not how.mcc:
            return {"tokens": self.from_state(felt[:, -1:])}
        if self.from_action is not None:
            out = self._from_actions(felt, plan)
        else:
            mu, log_var = self._posterior(self.from_state(felt[:, 1:]))
            out = {"mu": mu, "log_var": log_var}
            if how.disc_mode == "encoder":
                out["mu_before"] = self._posterior(self.from_state(felt[:, :-1]))[0]
        start = out["mu"]
        if self.training:
            start = start + (0.5 * out["log_var"]).exp() * torch.randn_like(start)
        states, times = trajectory(self.flow, start, how.ode_horizon, how.ode_points, how.ode_solver)
        tokens = self.to_token(states.transpose(0, 1))
        if self.from_action is not None:
            # The latent is zero at run time, so the states must enter by themselves.
            tokens = torch.cat([tokens, self.from_state(felt[:, -1:])], dim=1)
        return out | {"states": states, "times": times, "tokens": tokens}

    def _posterior(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = self.moments(self.read(sequence)).chunk(2, dim=-1)
        return mu, log_var.clamp(-10, 10)

    def _from_actions(self, felt: Tensor, plan: Tensor | None) -> dict[str, Tensor]:
        if plan is None or self.from_action is None:
            nothing = felt.new_zeros(len(felt), self.how.latent)
            return {"mu": nothing, "log_var": nothing}
        sequence = torch.cat([self.from_state(felt[:, -1:]), self.from_action(plan)], dim=1)
        mu, log_var = self._posterior(sequence)
        return {"mu": mu, "log_var": log_var}


class Reader(nn.Module):
    """A transformer's [CLS] output over a sequence (B, T, h) with sinusoidal positions: (B, h)."""

    def __init__(self, h: int, how: CCoL, length: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(h, how.heads, how.feedforward, how.dropout, batch_first=True)
        self.body = nn.TransformerEncoder(layer, how.encoder_layers, enable_nested_tensor=False)
        self.cls = nn.Parameter(torch.randn(1, 1, h) * 0.02)
        self.register_buffer("places", sinusoids(length + 1, h), persistent=False)

    def forward(self, sequence: Tensor) -> Tensor:
        whole = torch.cat([self.cls.expand(len(sequence), -1, -1), sequence], dim=1)
        read: Tensor = self.body(whole + self.get_buffer("places")[: whole.shape[1]])
        return read[:, 0]


class Tcn(nn.Module):
    """Two dilated causal convolutions over a sequence (B, T, h); the last output (B, h)."""

    def __init__(self, h: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv1d(h, h, 3, dilation=d) for d in (1, 2))

    def forward(self, sequence: Tensor) -> Tensor:
        x = sequence.mT
        for convolution, reach in zip(self.convolutions, (2, 4), strict=True):
            x = x + F.silu(convolution(F.pad(x, (reach, 0))))
        return x[..., -1]


class CoAttention(nn.Module):
    """Words attend to what is seen and felt, and that attends to words; the sum of both. Eq. 8 and 9."""

    def __init__(self, h: int, heads: int, literal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.ask = nn.ModuleList(nn.Linear(h, h) for _ in range(2))
        self.answer = nn.ModuleList(nn.Linear(h, h) for _ in range(2))
        self.value = nn.ModuleList(nn.Identity() if literal else nn.Linear(h, h) for _ in range(2))
        self.out = nn.ModuleList(nn.Identity() if literal else nn.Linear(h, h) for _ in range(2))

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        """Both (B, N, h), or words (1, N, h) that are the same for all; returns (B, N, h)."""
        return self._attend(0, words, x) + self._attend(1, x, words)

    def weights(self, way: int, queries: Tensor, keys: Tensor) -> Tensor:
        """Attention (B, heads, N, N) of words on tokens (``way`` 0) or of tokens on words (1); rows sum to one."""
        q = self.ask[way](queries).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k = self.answer[way](keys).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)

    def _attend(self, way: int, queries: Tensor, keys: Tensor) -> Tensor:
        values = self.value[way](keys).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed: Tensor = self.out[way]((self.weights(way, queries, keys) @ values).transpose(1, 2).flatten(2))
        return mixed


class PositionAttention(nn.Module):
    """Smooth tokens with attention that knows only their positions. Eq. 10."""

    def __init__(self, h: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ask, self.answer = nn.Linear(h, h), nn.Linear(h, h)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, h) to (B, N, h)."""
        places = sinusoids(tokens.shape[1], tokens.shape[2]).to(tokens)
        q = self.ask(places).unflatten(-1, (self.heads, -1)).transpose(0, 1)
        k = self.answer(places).unflatten(-1, (self.heads, -1)).transpose(0, 1)
        weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
        return (weights @ tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)).transpose(1, 2).flatten(2)


def divergence(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL of N(mu, e^log_var) from N(0, 1), summed over the latent, mean over the batch."""
    return -0.5 * (1 + log_var - mu.square() - log_var.exp()).sum(-1).mean()
