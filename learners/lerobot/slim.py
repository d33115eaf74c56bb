"""Give LeRobot's ResNet fewer channels, so that peers of one size can be compared, and put them back for LeRobot.

LeRobot builds no ResNet smaller than ResNet-18, 11 M parameters. What one with a share of the channels computes, a
ResNet-18 whose other channels are all zero computes too, to the last digits: `widened` makes that one, and LeRobot
loads it as its own.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torchvision.ops.misc import FrozenBatchNorm2d

READERS = ("encoder_img_feat_input_proj", "nets")
"""Layers that read a ResNet's last feature map: of ACT, and of the diffusion policy's key points."""


def slim(policy: nn.Module, times: int) -> None:
    """Replace the layers of every ResNet in ``policy`` by ones with so many times fewer channels, drawn anew.

    Raises:
        ValueError: its channels are normalised in groups that cannot be divided so.
    """
    if times == 1:
        return
    for name, module in list(policy.named_modules()):
        path = name.split(".")
        if "backbone" in path:
            thin = _thin(module, times)
        elif path[-1] in READERS and isinstance(module, nn.Conv2d):
            thin = nn.Conv2d(module.in_channels // times, module.out_channels, module.kernel_size)  # type: ignore[arg-type]  # a pair
        else:
            continue
        if thin is not None:
            policy.set_submodule(name, thin)


def _thin(module: nn.Module, times: int) -> nn.Module | None:
    if isinstance(module, nn.Conv2d):
        colours = 3
        seen = module.in_channels if module.in_channels == colours else module.in_channels // times
        how = {"stride": module.stride, "padding": module.padding, "bias": module.bias is not None}
        thin = nn.Conv2d(seen, module.out_channels // times, module.kernel_size, **how)  # type: ignore[arg-type]  # pairs
        nn.init.kaiming_normal_(thin.weight, mode="fan_out", nonlinearity="relu")
        return thin
    if isinstance(module, FrozenBatchNorm2d):
        return FrozenBatchNorm2d(len(module.weight) // times)
    if isinstance(module, nn.BatchNorm2d):
        return nn.BatchNorm2d(module.num_features // times)
    if isinstance(module, nn.GroupNorm):
        if module.num_groups % times:
            raise ValueError(
                f"a ResNet's {module.num_channels} channels are normalised in {module.num_groups} groups, and {times} "
                f"times fewer channels would not be whole groups; narrow may be 1, 2 or 4 here"
            )
        return nn.GroupNorm(module.num_groups // times, module.num_channels // times)
    return None


def widened(thin: dict[str, Tensor], whole: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a slim policy, as one with every channel has them; ``whole`` are any weights of such a one.

    A channel that is added hears nothing and says nothing: its norms are as they were made.
    """
    made = {}
    for name, weight in whole.items():
        mine = thin[name]
        if mine.shape == weight.shape:
            made[name] = mine
            continue
        wide = torch.zeros_like(weight) if weight.ndim > 1 else weight.clone()
        wide[tuple(slice(0, size) for size in mine.shape)] = mine
        made[name] = wide
    return made


@torch.no_grad()
def settle(backbones: Iterable[nn.Module], images: Tensor) -> None:
    """Set norms that do not learn by what they see of these pictures (N, 3, H, W), as a trained ResNet has them set.

    LeRobot's ACT freezes them; untrained, they would pass on features of several times their usual size.
    """

    def look(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        norm.get_buffer("running_mean").copy_(given[0].mean((0, 2, 3)))
        norm.get_buffer("running_var").copy_(given[0].var((0, 2, 3)))

    for backbone in backbones:
        norms = [module for module in backbone.modules() if isinstance(module, FrozenBatchNorm2d)]
        hooks = [norm.register_forward_pre_hook(look) for norm in norms]
        try:
            if hooks:
                backbone(images)
        finally:
            for hook in hooks:
                hook.remove()
