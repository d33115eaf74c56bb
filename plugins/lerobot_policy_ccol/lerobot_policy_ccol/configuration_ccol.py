"""CCoL's settings in LeRobot's words."""

from dataclasses import dataclass, field

from lerobot.configs import NormalizationMode, PreTrainedConfig
from lerobot.optim import AdamWConfig

from learners.ccol import CCoL


@PreTrainedConfig.register_subclass("ccol")
@dataclass
class CCoLConfig(PreTrainedConfig):  # type: ignore[misc]  # LeRobot's own bases are not typed here
    """Fields named as in `learners.ccol.CCoL` mean the same; the defaults are those of its preset ``small``.

    Key frames are not learned here: a dataset of LeRobot does not say which number opens a hand.
    """

    n_obs_steps: int = 5
    """Past states, the newest last; the latent is encoded from all but the first."""
    stride: int = 1
    """Frames from one of them to the next."""
    chunk_size: int = 16
    n_action_steps: int = 8

    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: {
            "VISUAL": NormalizationMode.IDENTITY,
            "STATE": NormalizationMode.MEAN_STD,
            "ACTION": NormalizationMode.MEAN_STD,
        }
    )
    vocabulary: list[str] = field(default_factory=list)
    """The words of the dataset's tasks; found when training begins."""

    image: int = 96
    """Height and width that pictures are brought to."""
    vision: str = ""
    freeze_vision: bool = False
    points: int = 16
    channels: int = 32
    text: str = ""
    freeze_text: bool = True
    width: int = 128
    heads: int = 4
    feedforward: int = 128
    encoder: str = "transformer"
    encoder_layers: int = 1
    decoder_layers: int = 1
    dropout: float = 0.0
    latent: int = 16
    posterior: str = "proprio"
    flow_width: int = 64
    ode_points: int = 2
    ode_horizon: float = 2.0
    ode_solver: str = "rk4"
    disc_mode: str = "fd"
    disc_weight: float = 0.01
    kl_weight: float = 1e-3
    mcc: bool = True
    csa: bool = True
    fuse: str = "concat"
    literal_attention: bool = False
    residual: bool = True
    state_noise: float = 0.03
    brightness: float = 0.1

    optimizer_lr: float = 1e-3
    optimizer_weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_action_steps > self.chunk_size:
            raise ValueError(f"of a chunk of {self.chunk_size} steps, {self.n_action_steps} cannot be followed")
        if self.n_obs_steps < 2:
            raise ValueError("n_obs_steps is at least 2: a latent is encoded from past states, and one comes before")

    @property
    def how(self) -> CCoL:
        """The same as our own settings."""
        from pydantic import TypeAdapter

        ours = {name: getattr(self, name) for name in CCoL.__dataclass_fields__ if hasattr(self, name)}
        cameras = tuple(self.image_features)
        made: CCoL = TypeAdapter(CCoL).validate_python(
            ours | {"cameras": cameras, "k": self.chunk_size, "history": self.n_obs_steps - 1, "keyframe": False}
        )
        return made

    @property
    def observation_delta_indices(self) -> list[int]:
        return [-self.stride * back for back in range(self.n_obs_steps - 1, -1, -1)]

    @property
    def action_delta_indices(self) -> list[int]:
        return list(range(self.chunk_size))

    @property
    def reward_delta_indices(self) -> None:
        return None

    def get_optimizer_preset(self) -> AdamWConfig:
        return AdamWConfig(lr=self.optimizer_lr, weight_decay=self.optimizer_weight_decay, grad_clip_norm=1.0)

    def get_scheduler_preset(self) -> None:
        return None

    def validate_features(self) -> None:
        """See to it that there is something to look at, to feel and to do.

        Raises:
            ValueError: there is not.
        """
        if not self.image_features or self.robot_state_feature is None or self.action_feature is None:
            raise ValueError("CCoL needs a picture, observation.state and action among a dataset's features")
