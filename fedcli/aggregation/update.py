"""What is aggregated: each site's update as a file, and its numbers as flat runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli import tensors
from fedcli.errors import TrustError
from fedcli.tensors import TensorError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fedcli.tensors import Layout


class UpdateError(TrustError):
    """Updates cannot be used; the others can.

    Attributes:
        reasons: Why, by site.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(reasons.values()))
        self.reasons = dict(reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One site's share.

    Attributes:
        site: Its name.
        path: The file of its delta: canonical safetensors of F32 and I64 tensors, the layout being that of the global model.
        weight: n_k, below 2**29, so that its product with a float32 is exact in float64.
        sha256: The digest that the file must have, where it is not a verified private copy.
    """

    site: str
    path: Path
    weight: int = 1
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Neighbouring tensors of one dtype: the numbers of a file from byte `begin`, `count` of them."""

    dtype: np.dtype[Any]
    begin: int
    count: int


def runs(found: Layout) -> tuple[Run | None, Run | None]:
    """Return a layout's run of I64 and its run of F32, None where it has none.

    Raises:
        TensorError: It has a tensor of another dtype.
    """
    if other := next((tensor for tensor in found.tensors if tensor.dtype not in {"F32", "I64"}), None):
        msg = f"tensor {other.name}: {other.dtype} cannot be aggregated, expected F32 or I64"
        raise TensorError(msg)
    return _run(found, "I64"), _run(found, "F32")


def _run(found: Layout, dtype: str) -> Run | None:
    members = [tensor for tensor in found.tensors if tensor.dtype == dtype]
    if not members or members[0].begin == members[-1].end:
        return None
    kind = np.dtype(tensors.NUMPY_DTYPES[dtype])
    size = members[-1].end - members[0].begin
    return Run(dtype=kind, begin=len(found.header) + members[0].begin, count=size // kind.itemsize)
