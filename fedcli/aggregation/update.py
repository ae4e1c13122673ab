"""What is aggregated: each site's update as a file, and the sections of numbers in it."""

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

    from fedcli.tensors import Layout, Tensor


class UpdateError(TrustError):
    """Some updates cannot be used; the others can.

    Attributes:
        reasons: Why, by site.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(reasons.values()))
        self.reasons = dict(reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One site's update.

    Attributes:
        site: The site's name.
        path: The file of its delta: canonical safetensors of F32 and I64 tensors, with the layout of the global model.
        weight: n_k, below 2**29, so that its product with a float32 is exact in float64.
        sha256: The digest that the file must have, unless it is a verified private copy.
        most_counted: How far an integer buffer may grow, which then never shrinks either; None bounds no buffers at all.
    """

    site: str
    path: Path
    weight: int = 1
    sha256: str | None = None
    most_counted: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The tensors of one dtype, which a canonical file holds one after another: a flat array.

    Attributes:
        dtype: Of the elements.
        begin: Position of the first element in the file, in bytes.
        count: Number of elements.
        tensors: The tensors, in the order of the file.
    """

    dtype: np.dtype[Any]
    begin: int
    count: int
    tensors: tuple[Tensor, ...]


def sections(layout: Layout) -> tuple[Section | None, Section | None]:
    """Return the section of I64 and the section of F32; None where a layout has no such elements.

    Raises:
        TensorError: It has a tensor of another dtype.
    """
    if other := next((tensor for tensor in layout.tensors if tensor.dtype not in {"F32", "I64"}), None):
        msg = f"tensor {other.name}: {other.dtype} cannot be aggregated, expected F32 or I64"
        raise TensorError(msg)
    return _section(layout, "I64"), _section(layout, "F32")


def _section(layout: Layout, name: str) -> Section | None:
    members = tuple(tensor for tensor in layout.tensors if tensor.dtype == name)
    if not members or members[0].begin == members[-1].end:
        return None
    dtype = np.dtype(tensors.NUMPY_DTYPES[name])
    count = (members[-1].end - members[0].begin) // dtype.itemsize
    return Section(dtype=dtype, begin=len(layout.header) + members[0].begin, count=count, tensors=members)
