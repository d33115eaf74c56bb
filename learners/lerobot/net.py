"""A LeRobot policy as our training loop and our `ChunkPolicy` want it: losses of a batch, chunks of what is seen."""

import copy
import dataclasses
import difflib
import importlib
import importlib.util
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from learners.body import Body
from learners.checkpoint import BadCheckpoint
from learners.data import Batch, Windows
from learners.lerobot.statistics import ACTION, PADDED, STATE, TASK, picture, tensors
from learners.transforms import View

OURS = {
    "chunk_size": "k",
    "horizon": "k",
    "n_action_steps": "k",
    "n_obs_steps": "a window shows one moment",
    "input_features": "cameras and image",
    "output_features": "action",
    "device": "it is where the training is",
    "use_amp": "precision",
    "pretrained_path": "pretrained",
    "temporal_ensemble_coeff": "ensemble",
    "push_to_hub": "nothing is pushed",
}
"""Fields of LeRobot's configurations that our settings decide, and by which name."""
LENGTHS = {"act": ("chunk_size",), "diffusion": ("horizon",), "smolvla": ("chunk_size",)}
"""What each kind of policy calls the length of a chunk."""


class Settings(Protocol):
    """What of a learner's settings the network is made from."""

    @property
    def kind(self) -> str: ...
    @property
    def cameras(self) -> tuple[str, ...]: ...
    @property
    def image(self) -> int: ...
    @property
    def k(self) -> int: ...
    @property
    def view(self) -> View: ...
    @property
    def config(self) -> dict[str, Any]: ...
    @property
    def narrow(self) -> int: ...
    @property
    def pretrained(self) -> str: ...
    @property
    def state_noise(self) -> float: ...
    @property
    def brightness(self) -> float: ...


def demand() -> None:
    """See to it that LeRobot is there; loading it takes seconds, so nobody does before it is needed.

    Raises:
        ValueError: it is not.
    """
    if importlib.util.find_spec("lerobot") is None:
        raise ValueError("LeRobot is not installed; type: pip install 'appliance[lerobot]'")


def configuration(how: Settings, body: Body) -> Any:
    """LeRobot's own configuration of this policy for this robot.

    Raises:
        ValueError: there is no such field, it cannot have that value, or our settings decide it.
    """
    demand()
    import draccus
    from lerobot.configs import PreTrainedConfig

    # Loading them is what registers them.
    importlib.import_module("lerobot.policies")
    if taken := sorted(how.config.keys() & OURS.keys()):
        raise ValueError(f"config has {taken[0]}, which is decided elsewhere: {OURS[taken[0]]}")
    kind = PreTrainedConfig.get_choice_class(how.kind)
    there = [field.name for field in dataclasses.fields(kind) if field.init and field.name not in OURS]
    if unknown := sorted(how.config.keys() - set(there)):
        near = difflib.get_close_matches(unknown[0], there) or [f"the fields of its {kind.__name__}"]
        raise ValueError(f"LeRobot's {how.kind} has no {', '.join(unknown)}; it has {', '.join(near)}")
    size = {"type": "VISUAL", "shape": [3, how.image, how.image]}
    given = {
        **how.config,
        **dict.fromkeys(LENGTHS[how.kind], how.k),
        "n_action_steps": how.k,
        "n_obs_steps": 1,
        "device": "cpu",
        "push_to_hub": False,
        "input_features": {
            STATE: {"type": "STATE", "shape": [body.width]},
            **{picture(camera): size for camera in how.cameras},
        },
        "output_features": {ACTION: {"type": "ACTION", "shape": [how.view.of(body).width]}},
    }
    try:
        return draccus.decode(kind, given)
    except (draccus.utils.DraccusException, NotImplementedError) as error:
        why = "" if error.__cause__ is None else f" ({error.__cause__})"
        raise ValueError(f"LeRobot refuses this config of its {how.kind}: {error}{why}") from error


class PeerNet(nn.Module):
    """LeRobot's policy between its own processors; it computes its own training loss."""

    def __init__(self, how: Settings, facts: dict[str, Any]) -> None:
        """Build from settings, and from the robot and the ``statistics`` in the facts.

        Raises:
            BadCheckpoint: LeRobot, or a model of others that the policy is made from, is not at hand.
            ValueError: LeRobot refuses the settings.
        """
        super().__init__()
        self.how = how
        self.facts = dict(facts)
        self.config = configuration(how, Body.said(facts))
        self.policy = self._made()
        from learners.lerobot.slim import slim

        slim(self.policy, how.narrow)
        self._processors: dict[str, tuple[Any, Any]] = {}
        self._random = np.random.default_rng(0)

    def _made(self) -> Any:
        from lerobot.policies.factory import get_policy_class

        try:
            return get_policy_class(self.how.kind)(copy.deepcopy(self.config))
        except OSError as error:
            name = getattr(self.config, "vlm_model_name", "")
            raise BadCheckpoint(
                f"it is made from {name}, which is not at hand; fetch it once where there is a network "
                f"(hf download {name}), or give its folder: --config.vlm_model_name FOLDER"
            ) from error

    def begin(self, data: Windows) -> None:
        """Start from LeRobot's weights when some are asked for, and set norms that never learn by these pictures.

        Raises:
            BadCheckpoint: there are no such weights, or they are of other sizes.
        """
        if self.how.pretrained:
            self._start_from(self.how.pretrained)
        elif not getattr(self.config, "pretrained_backbone_weights", None):
            from learners.lerobot.slim import settle

            batch = self.before(self._seen(data.batch(data.sample(64))))
            seen = torch.cat([batch[key] for key in self.config.image_features])
            settle([each for name, each in self.policy.named_modules() if name.endswith("backbone")], seen)

    def _start_from(self, folder: str) -> None:
        try:
            found = type(self.policy).from_pretrained(folder, config=copy.deepcopy(self.config), strict=True)
            self.policy.load_state_dict(found.state_dict())
        except (OSError, RuntimeError) as error:
            raise BadCheckpoint(f"no weights to start from in {folder!r}: {str(error)[:300]}") from error

    @property
    def device(self) -> torch.device:
        return next(self.policy.parameters()).device

    @property
    def processors(self) -> tuple[Any, Any]:
        """LeRobot's own, made by its factory from the statistics of our windows, for where the weights are."""
        where = str(self.device)
        if where not in self._processors:
            from lerobot.policies.factory import make_pre_post_processors

            config = copy.deepcopy(self.config)
            config.device = where
            stats = tensors(self.facts["statistics"])
            self._processors[where] = make_pre_post_processors(config, dataset_stats=stats)
        return self._processors[where]

    def before(self, seen: dict[str, Any]) -> dict[str, Any]:
        """What LeRobot's policy is given."""
        given: dict[str, Any] = self.processors[0](seen)
        return given

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """LeRobot's own loss, whole, as ``imitation``."""
        loss, _ = self.policy(self.before(self._seen(batch) | {ACTION: batch.plan, PADDED: batch.past_end}))
        return {"imitation": loss}

    def steps(self, images: Tensor, state: Tensor, instructions: list[str]) -> Tensor:
        """The chunk (B, k, d) in the view's units; noise is drawn in an order that is always the same."""
        given = self.before(self.observation(images, state, instructions))
        noise = self.noise(len(images))
        said = self.policy.predict_action_chunk(given, **({} if noise is None else {"noise": noise.to(self.device)}))
        plan: Tensor = self.processors[1](said)
        return plan

    def noise(self, count: int) -> Tensor | None:
        """What a policy that makes its plan of noise makes so many of; none otherwise."""
        if self.how.kind == "act":
            return None
        width = getattr(self.config, "max_action_dim", self.config.action_feature.shape[0])
        return torch.from_numpy(self._random.standard_normal((count, self.how.k, width), "f4"))

    def observation(self, images: Tensor, state: Tensor, instructions: list[str]) -> dict[str, Any]:
        """Pixels 0..255 (B, V, 3, H, W) and states (B, history, body) as LeRobot's datasets give them."""
        pixels = images.float() / 255
        felt = state[:, -1] if self.how.kind == "act" else state[:, -1:]
        shown = {picture(camera): pixels[:, number] for number, camera in enumerate(self.how.cameras)}
        return {STATE: felt, **shown, TASK: list(instructions)}

    def _seen(self, batch: Batch) -> dict[str, Any]:
        """An observation, in training disturbed as our own methods disturb theirs."""
        seen = self.observation(batch.images, batch.state, batch.instructions)
        if self.training and self.how.state_noise:
            spread = torch.tensor(self.facts["statistics"][STATE]["std"], device=batch.state.device)
            seen[STATE] = seen[STATE] + self.how.state_noise * spread * torch.randn_like(seen[STATE])
        if self.training and self.how.brightness:
            for camera in self.how.cameras:
                key = picture(camera)
                gain = torch.randn(len(seen[key]), 1, 1, 1, device=seen[key].device)
                seen[key] = 0.5 + (seen[key] - 0.5) * (1 + self.how.brightness * gain)
        return seen

    @property
    def artefacts(self) -> dict[str, "PeerNet"]:
        """What `ChunkPolicy.save` writes beside the weights."""
        return {"lerobot": self}

    def save(self, folder: Path) -> None:
        """Write what LeRobot itself loads: its policy with all its channels, and both processors."""
        from learners.lerobot.slim import widened

        kept = {name: tensor.detach().cpu() for name, tensor in self.policy.state_dict().items()}
        whole = self._made()
        whole.load_state_dict(widened(kept, whole.state_dict()))
        # Whoever loads it chooses where it runs.
        whole.config.device = None
        whole.save_pretrained(folder)
        for processor in self.processors:
            processor.save_pretrained(folder)
