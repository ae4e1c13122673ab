"""torchvision's image classifiers, fitted to grey mammograms and the plan's classes.

A classifier made for three colours sees a grey image as three equal ones. So its first convolution, the stem, becomes one of a
single channel whose weights are the sums over the three: the function is the same, at a third of the work. ImageNet weights
expect each colour less its mean, over its deviation: the division goes into the stem's weights, and what is subtracted into a
second channel that is 1 all over the image. So the padding around it stays the 0 that it is to them, which no bias could do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from fedcli.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

_COLOURS = 3
_IMAGENET_CLASSES = 1000
_OWN_CENTRE = frozenset({"googlenet", "inception_v3"})
"""Their weights want 0.5 for every mean and deviation; torchvision converts inside the network, which needs three channels."""


class CentredStem(nn.Conv2d):
    """A first convolution over a grey image and, beside it, a channel of ones."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of (B, 1, H, W)."""
        return super().forward(torch.cat((images, torch.ones_like(images)), dim=1))


def names() -> tuple[str, ...]:
    """Return the classifiers that this version of torchvision has, sorted."""
    from torchvision import models  # noqa: PLC0415 - torchvision takes seconds, and not every network needs it

    return tuple(models.list_models(module=models))


def build(name: str, num_classes: int, *, centred: bool, pretrained: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Return a classifier of one-channel images, (B, 1, H, W) in [0, 1].

    Args:
        name: One of `names`.
        num_classes: Outputs of its head.
        centred: Whether the stem is made for ImageNet weights; the module's tensors are then others.
        pretrained: ImageNet weights in torchvision's own names, for three colours and 1000 classes; the head stays fresh. None
            leaves all fresh, drawn from torch's global generator.

    Raises:
        ConfigurationError: The pretrained weights are another network's.
    """
    network = _coloured(name, num_classes)
    if pretrained is not None:
        _load(network, name, pretrained)
    means, deviations = _centre(name) if centred else (None, None)
    path, stem = next(
        (path, module)
        for path, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.in_channels == _COLOURS
    )
    parent, _, leaf = path.rpartition(".")
    setattr(network.get_submodule(parent), leaf, _grey(stem, means, deviations))
    return network


def _coloured(name: str, num_classes: int) -> nn.Module:
    """Return torchvision's own network."""
    from torchvision.models import get_model  # noqa: PLC0415 - see `names`

    # A second output in training would be a second loss, which the paper has not.
    options = {"aux_logits": False, "init_weights": True, "transform_input": False} if name in _OWN_CENTRE else {}
    return cast("nn.Module", get_model(name, weights=None, num_classes=num_classes, **options))


def _centre(name: str) -> tuple[Tensor, Tensor]:
    """Return the mean and the deviation of each colour that a classifier's ImageNet weights expect, (3,) each."""
    from torchvision.models import get_model_weights  # noqa: PLC0415 - see `names`

    if name in _OWN_CENTRE:
        return torch.full((_COLOURS,), 0.5), torch.full((_COLOURS,), 0.5)
    preset = get_model_weights(name).DEFAULT.transforms()
    return torch.tensor(preset.mean), torch.tensor(preset.std)


def _grey(stem: nn.Conv2d, means: Tensor | None, deviations: Tensor | None) -> nn.Conv2d:
    """Return the stem that gives for a grey image what the given one gives for three equal colours."""
    kind, weight = nn.Conv2d, stem.weight.detach().double().sum(dim=1, keepdim=True)
    if means is not None and deviations is not None:
        weights = stem.weight.detach().double() / deviations.to(stem.weight.device).double().view(1, -1, 1, 1)
        offsets = -(weights * means.to(stem.weight.device).double().view(1, -1, 1, 1))
        kind, weight = CentredStem, torch.cat((weights.sum(dim=1, keepdim=True), offsets.sum(dim=1, keepdim=True)), dim=1)
    with torch.device("meta"):  # its own first weights would be drawn for nothing
        grey = kind(
            weight.shape[1],
            stem.out_channels,
            cast("tuple[int, int]", stem.kernel_size),
            stride=cast("tuple[int, int]", stem.stride),
            padding=cast("tuple[int, int]", stem.padding),
            dilation=cast("tuple[int, int]", stem.dilation),
            bias=stem.bias is not None,
        )
    grey.weight = nn.Parameter(weight.to(stem.weight.dtype))
    grey.bias = stem.bias
    return grey


def _load(network: nn.Module, name: str, pretrained: Mapping[str, Tensor]) -> None:
    """Copy pretrained weights into all but the head: the last layer, which has an output a class."""
    own = network.state_dict()
    counters = {key for key in own if key.endswith(".num_batches_tracked")}  # older files lack them
    faults = sorted(own.keys() - counters - pretrained.keys()) + sorted(pretrained.keys() - own.keys())
    other = {key for key in own.keys() & pretrained.keys() if own[key].shape != pretrained[key].shape}
    head = {key for key in other if pretrained[key].shape == (_IMAGENET_CLASSES, *own[key].shape[1:])}
    faults += sorted(other - head)
    if faults or len({key.rpartition(".")[0] for key in head}) != 1:
        which = f"{faults[0]} is missing, has another shape, or does not belong there" if faults else "it has no head of theirs"
        msg = f"these are not the ImageNet weights of {name}: {which}"
        raise ConfigurationError(msg, hint="the plan's network.name must be the network that the file was made for")
    network.load_state_dict({key: value for key, value in pretrained.items() if key not in head}, strict=False)
