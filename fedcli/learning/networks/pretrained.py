"""Files of trained weights, from which a federation may start: torchvision's for ImageNet, or a model of an earlier federation.

Nothing is downloaded: the file is named by the coordinator, or is in torchvision's cache. A `.pth` file is read without running
any code in it, and the bytes that are read are those that were hashed.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from fedcli.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)$")
"""torchvision's DenseNet files use the layer names of its first version: `norm.1` is `norm1`."""
_AUXILIARY = re.compile(r"^(aux[12]|AuxLogits)\.")
"""Second heads for training on ImageNet, which fedcli's networks do not have."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pretrained:
    """The weights in a file.

    Attributes:
        path: The file.
        tensors: Weights by torchvision's names, or by those of fedcli's networks.
        sha256: Digest of the file.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    sha256: str


def cached(name: str) -> Path:
    """Return the file of a network's ImageNet weights in torchvision's cache.

    Raises:
        ConfigurationError: The file is missing.
    """
    from torchvision.models import get_model_weights  # noqa: PLC0415 - see `classifiers.names`

    file: str = get_model_weights(name).DEFAULT.url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not path.is_file():
        msg = f"the plan starts from ImageNet weights of {name}, and {path} does not exist"
        raise ConfigurationError(msg, hint="copy torchvision's file there, or name it: fedcli init --weights FILE")
    return path


def read(path: Path) -> Pretrained:
    """Read a `.pth` or `.safetensors` file of weights.

    Raises:
        ConfigurationError: It cannot be read, holds anything but tensors by name, or does not have the SHA-256 in its name, as
            torchvision's files do.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        msg = f"{path}: the weights cannot be read: {error}"
        raise ConfigurationError(msg) from error
    digest = hashlib.sha256(data).hexdigest()
    promised = re.search(r"-([0-9a-f]{8,64})\.pth$", path.name)
    if promised and not digest.startswith(promised[1]):
        msg = f"{path}: SHA-256 {digest[:12]}, expected {promised[1]} from its name"
        raise ConfigurationError(msg, hint="the file is damaged or was changed; download it again")
    try:
        if path.suffix == ".safetensors":
            content = load_safetensors(data)
        else:  # anything but tensors and plain containers is refused
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        msg = f"{path}: no weights that can be read safely: {str(error).splitlines()[0] if str(error) else error!r}"
        raise ConfigurationError(msg, hint="expected a .pth or .safetensors file of tensors by name") from error
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        msg = f"{path}: something other than tensors by name"
        raise ConfigurationError(msg, hint="expected only a state_dict, as in torchvision's files")
    tensors = {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in content.items() if not _AUXILIARY.match(key)}
    return Pretrained(path=path, tensors=tensors, sha256=digest)
