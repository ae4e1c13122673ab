"""torchvision's image classifiers, adapted to grey mammograms and the plan's classes.

A classifier for three colours would take a grey image as three equal ones. Its first convolution, the stem, is replaced by one
with a single channel, whose weights are the sums over the three: the same function, at a third of the work. ImageNet weights
expect each colour minus its mean, divided by its deviation. The division goes into the stem's weights, the subtraction into those
of a second channel that is 1 everywhere: unlike a bias, it leaves the padding around the image at the 0 that they expect.
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
"""Their weights expect 0.5 for every mean and deviation; torchvision converts inside the network, which needs three channels."""


class CentredStem(nn.Conv2d):
    """A first convolution over a grey image and a channel of ones."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of (B, 1, H, W)."""
        return super().forward(torch.cat((images, torch.ones_like(images)), dim=1))


def names() -> tuple[str, ...]:
    """Return the classifiers that this version of torchvision has, sorted."""
    from torchvision import models  # noqa: PLC0415 - torchvision takes seconds to import, and not every network needs it

    return tuple(models.list_models(module=models))


def build(name: str, num_classes: int, *, centred: bool, pretrained: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Return a classifier of one-channel images, (B, 1, H, W) in [0, 1].

    Args:
        name: One of `names`.
        num_classes: Outputs of its head.
        centred: Whether the stem is a `CentredStem`, as ImageNet weights need.
        pretrained: ImageNet weights by torchvision's names, for three colours and 1000 classes. The head, and without them all
            weights, are drawn from torch's global generator.

    Raises:
        ConfigurationError: The pretrained weights belong to another network.
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

    # A second output in training would be a second loss, which the paper does not have.
    options = {"aux_logits": False, "init_weights": True, "transform_input": False} if name in _OWN_CENTRE else {}
    return cast("nn.Module", get_model(name, weights=None, num_classes=num_classes, **options))


def _centre(name: str) -> tuple[Tensor, Tensor]:
    """Return the mean and deviation of each colour, (3,) each, that a classifier's ImageNet weights expect."""
    from torchvision.models import get_model_weights  # noqa: PLC0415 - see `names`

    if name in _OWN_CENTRE:
        return torch.full((_COLOURS,), 0.5), torch.full((_COLOURS,), 0.5)
    preset = get_model_weights(name).DEFAULT.transforms()
    return torch.tensor(preset.mean), torch.tensor(preset.std)


def _grey(stem: nn.Conv2d, means: Tensor | None, deviations: Tensor | None) -> nn.Conv2d:
    """Return a stem whose output for a grey image is that of the given stem for three equal colours."""
    kind, weight = nn.Conv2d, stem.weight.detach().double().sum(dim=1, keepdim=True)
    if means is not None and deviations is not None:
        weights = stem.weight.detach().double() / deviations.to(stem.weight.device).double().view(1, -1, 1, 1)
        offsets = -(weights * means.to(stem.weight.device).double().view(1, -1, 1, 1))
        kind, weight = CentredStem, torch.cat((weights.sum(dim=1, keepdim=True), offsets.sum(dim=1, keepdim=True)), dim=1)
    with torch.device("meta"):  # no memory or random numbers for weights that are replaced
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
    """Copy pretrained weights into all layers but the head, the last layer, which has one output per class."""
    own = network.state_dict()
    counters = {key for key in own if key.endswith(".num_batches_tracked")}  # older files lack them
    faults = sorted(own.keys() - counters - pretrained.keys()) + sorted(pretrained.keys() - own.keys())
    other = {key for key in own.keys() & pretrained.keys() if own[key].shape != pretrained[key].shape}
    head = {key for key in other if pretrained[key].shape == (_IMAGENET_CLASSES, *own[key].shape[1:])}
    faults += sorted(other - head)
    if faults or len({key.rpartition(".")[0] for key in head}) != 1:
        which = f"{faults[0]} is missing, unexpected, or of another shape" if faults else "there is no head for 1000 classes"
        msg = f"these are not the ImageNet weights of {name}: {which}"
        raise ConfigurationError(
            msg, hint='network.name in the plan must be the network of the file; a model of fedcli needs network.weights = "file"'
        )
    network.load_state_dict({key: value for key, value in pretrained.items() if key not in head}, strict=False)
