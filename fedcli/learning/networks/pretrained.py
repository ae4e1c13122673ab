"""Files of ImageNet weights, from which a coordinator may begin a federation.

Nothing is downloaded: the file is named, or lies where torchvision keeps what it has downloaded before. A `.pth` file is read
without running any code in it; the bytes that are read are the bytes that were hashed.
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
"""torchvision's DenseNet files name layers as its first version did: `norm.1` is `norm1`."""
_AUXILIARY = re.compile(r"^(aux[12]|AuxLogits)\.")
"""Second heads for training on ImageNet; fedcli's networks have none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pretrained:
    """The weights of a file, in torchvision's names.

    Attributes:
        tensors: Name to weights.
        sha256: Digest of the file.
    """

    tensors: Mapping[str, Tensor]
    sha256: str


def cached(name: str) -> Path:
    """Return the file of a network's ImageNet weights in torchvision's own cache.

    Raises:
        ConfigurationError: It is not there.
    """
    from torchvision.models import get_model_weights  # noqa: PLC0415 - see `classifiers.names`

    file: str = get_model_weights(name).DEFAULT.url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not path.is_file():
        msg = f"the plan begins from ImageNet weights of {name}, and {path} is not there"
        raise ConfigurationError(msg, hint="bring torchvision's file there, or name it: fedcli init --weights FILE")
    return path


def read(path: Path) -> Pretrained:
    """Read a `.pth` or `.safetensors` file of weights.

    Raises:
        ConfigurationError: It cannot be read, holds anything but tensors by name, or is not the file that its name promises
            (torchvision's end in the first digits of their SHA-256).
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        msg = f"{path}: the weights cannot be read: {error}"
        raise ConfigurationError(msg) from error
    digest = hashlib.sha256(data).hexdigest()
    promised = re.search(r"-([0-9a-f]{8,64})\.pth$", path.name)
    if promised and not digest.startswith(promised[1]):
        msg = f"{path}: SHA-256 {digest[:12]}, expected {promised[1]} as its name says"
        raise ConfigurationError(msg, hint="the file is damaged or was changed; bring it anew")
    try:
        found = load_safetensors(data) if path.suffix == ".safetensors" else _unpickled(data)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        msg = f"{path}: holds no weights that can be read safely: {str(error).splitlines()[0] if str(error) else error!r}"
        raise ConfigurationError(msg, hint="expected a .pth or .safetensors file of tensors by name") from error
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        msg = f"{path}: holds something else than tensors by name"
        raise ConfigurationError(msg, hint="expected the state_dict alone, as torchvision's files are")
    tensors = {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in found.items() if not _AUXILIARY.match(key)}
    return Pretrained(tensors=tensors, sha256=digest)


def _unpickled(data: bytes) -> object:
    """Return what torch.save wrote; anything but tensors and plain containers is refused."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
