"""A model's tensors as one run of 64-bit words, in pieces of a MiB.

Word i belongs to element i of the model's file: tensors in the order of the canonical file, those of I64 before those of F32.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fedcli import tensors
from fedcli.errors import TrustError
from fedcli.tensors import TensorError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fedcli.tensors import Layout

MASKED = "masked_sum"
"""The name of the one tensor of a masked update."""
_LONGEST = 1 << 17
"""Words of a piece, at most."""


class ByteStream(Protocol):
    """What bytes are read from: a file, or what decrypts or hashes one."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes: so many, or fewer at the end."""


class StreamLengthError(TrustError):
    """A stream is shorter or longer than its layout.

    Attributes:
        owner: Whose it is.
    """

    def __init__(self, owner: str, message: str) -> None:
        super().__init__(message)
        self.owner = owner


@dataclass(frozen=True, slots=True, kw_only=True)
class WordPiece:
    """Elements of one dtype that follow one another.

    Attributes:
        dtype: Of the elements in the model's file: float32 or int64.
        begin: Position of the first element, in bytes from the start of the data.
        count: Number of elements.
    """

    dtype: np.dtype[Any]
    begin: int
    count: int

    def read(self, stream: ByteStream, owner: str) -> NDArray[Any]:
        """Return the elements, which are next in a stream.

        Raises:
            StreamLengthError: The stream ends before.
        """
        return read_array(stream, self.dtype, self.count, owner)


def read_array(stream: ByteStream, dtype: np.dtype[Any], count: int, owner: str) -> NDArray[Any]:
    """Return the next numbers of a stream.

    Raises:
        StreamLengthError: The stream ends before.
    """
    data = stream.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise StreamLengthError(owner, f"{owner}: {count * dtype.itemsize - len(data)} bytes are missing at the end")
    return np.frombuffer(data, dtype)


def require_end(stream: ByteStream, owner: str) -> None:
    """Refuse a stream that goes on.

    Raises:
        StreamLengthError: It does.
    """
    if stream.read(1):
        raise StreamLengthError(owner, f"{owner}: there are bytes after the last number")


def pieces(layout: Layout) -> Iterator[WordPiece]:
    """Yield the pieces of a model's tensors, in the order of its file.

    Raises:
        TensorError: It has a tensor of another dtype than F32 and I64.
    """
    for dtype_name, members in groupby(layout.tensors, key=lambda tensor: tensor.dtype):
        run = tuple(members)
        if dtype_name not in {"F32", "I64"}:
            msg = f"tensor {run[0].name}: {dtype_name} cannot be masked, expected F32 or I64"
            raise TensorError(msg)
        dtype = np.dtype(tensors.NUMPY_DTYPES[dtype_name])
        for begin in range(run[0].begin, run[-1].end, _LONGEST * dtype.itemsize):
            count = min(_LONGEST, (run[-1].end - begin) // dtype.itemsize)
            yield WordPiece(dtype=dtype, begin=begin, count=count)


def masked_layout(layout: Layout) -> Layout:
    """Return the layout of a masked update of a model: one I64 tensor, which says nothing about the model but its size."""
    return tensors.layout([(MASKED, "I64", (sum(piece.count for piece in pieces(layout)),))])


def tensor_at(layout: Layout, piece: WordPiece, index: int) -> str:
    """Return the name of the tensor that an element of a piece belongs to."""
    position = piece.begin + index * piece.dtype.itemsize
    return next(tensor.name for tensor in layout.tensors if tensor.begin <= position < tensor.end)
