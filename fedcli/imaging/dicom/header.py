"""A file's header (PS3.10): its attributes, its encoding, and where the pixel data begin; the pixels are not read."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np
import pydicom
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fedcli.imaging.rejection import Reason, RejectedError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

MAX_INFLATED_BYTES = 1 << 28

_HEAD_BYTES = 1024
_PIXEL_DATA = 0x7FE00010
_PIXEL_TAGS = {0x7FE00008, 0x7FE00009, _PIXEL_DATA}
_UNDEFINED_LENGTH = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Header:
    """Everything before the pixels.

    Attributes:
        dataset: The attributes.
        syntax: Transfer Syntax UID.
        stream: Holds the pixel data: the file itself, or its inflated content.
        start: Offset of their value in the stream.
        length: Its length in bytes; None where the pixels are encapsulated.
        words: Whether the Value Representation is OW, or UN in its place, whose bytes are swapped in pairs in big endian.
    """

    dataset: Dataset
    syntax: UID
    stream: BinaryIO
    start: int
    length: int | None
    words: bool

    @property
    def big(self) -> bool:
        """Whether the bytes of a number are in big endian order."""
        return self.syntax == ExplicitVRBigEndian


def header_of(file: BinaryIO) -> Header:
    """Read a file's header; the file must stay open for the pixels.

    Raises:
        RejectedError: The file is not DICOM, inflates beyond the limit, or has no pixel data.
    """
    head = file.read(_HEAD_BYTES)
    part10 = head[128:132] == b"DICM"
    # Without a preamble, a data set begins with a tag of group 0002 or 0008, in either byte order.
    if not part10 and head[:2] not in {b"\x02\x00", b"\x08\x00", b"\x00\x08"}:
        raise RejectedError(Reason.NOT_DICOM)
    if part10 and DeflatedExplicitVRLittleEndian.encode() in head:
        stream: BinaryIO = _inflated(file)
        dataset = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag in _PIXEL_TAGS)  # noqa: FBT003
        return _located(dataset, DeflatedExplicitVRLittleEndian, stream)
    file.seek(0)
    dataset = pydicom.dcmread(file, force=not part10, stop_before_pixels=True)
    return _located(dataset, _syntax(dataset), file)


def _syntax(dataset: Dataset) -> UID:
    if stated := dataset.file_meta.get("TransferSyntaxUID"):
        return UID(stated)
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _inflated(file: BinaryIO) -> BinaryIO:
    """Inflate a deflated data set piece by piece, up to the limit.

    File Meta Information Group Length (0002,0000), the first element after the preamble, says where it begins.
    """
    file.seek(140)
    file.seek(144 + int.from_bytes(file.read(4), "little"))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = BytesIO()
    try:
        while block := inflater.unconsumed_tail or file.read(1 << 20):
            inflated.write(inflater.decompress(block, 1 << 24))
            if inflated.tell() > MAX_INFLATED_BYTES:
                raise RejectedError(Reason.TOO_LARGE)
    except zlib.error as error:
        raise RejectedError(Reason.DAMAGED) from error
    if not inflater.eof:
        raise RejectedError(Reason.TRUNCATED)
    inflated.seek(0)
    return inflated


def _located(dataset: Dataset, syntax: UID, stream: BinaryIO) -> Header:
    """Read the element of the pixel data (PS3.5 section 7.1) up to its value; the stream is at its tag."""
    big = syntax == ExplicitVRBigEndian
    order: Literal["big", "little"] = "big" if big else "little"
    head = stream.read(8)
    tag = int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order)
    if tag != _PIXEL_DATA:
        raise RejectedError(Reason.NO_PIXELS)
    representation = head[4:6]
    explicit = representation in {b"OB", b"OW", b"UN"}
    length = int.from_bytes(stream.read(4) if explicit else head[4:8], order)
    return Header(
        dataset=dataset,
        syntax=syntax,
        stream=stream,
        start=stream.tell(),
        length=None if length == _UNDEFINED_LENGTH else length,
        words=representation in {b"OW", b"UN"},
    )


def items_of_frame(dataset: Dataset, frame: int, sequence: str) -> list[Dataset]:
    """Return a sequence's items that apply to a frame, counted from 0: the frame's own first, then those shared by all frames."""
    own = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())[frame : frame + 1]
    groups = own + list(dataset.get("SharedFunctionalGroupsSequence") or ())
    return [item for group in groups for item in group.get(sequence) or ()]


def number_of(value: object) -> float:
    """Return a number of an attribute of VR DS, US or SS: the first value of several; NaN where the text is not a number."""
    first = value[0] if isinstance(value, (list, MultiValue)) and value else value
    try:
        return float(first)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def table_of(item: Dataset, *, big: bool) -> tuple[int, int, NDArray[np.int64]]:
    """Return a lookup table's first mapped value, bits per entry and entries, from LUT Descriptor and LUT Data.

    Entries of 8 bits have 8 or 16 bits allocated; the length tells which (PS3.3 C.11.1.1.1, C.11.2.1.1).

    Args:
        item: Of a Modality LUT Sequence or VOI LUT Sequence.
        big: Whether the file's numbers are in big endian order.

    Raises:
        ValueError: The table has fewer entries than it says.
    """
    count, first, bits = (int(value) for value in item.LUTDescriptor)
    count = count or 1 << 16
    data = item.LUTData
    if isinstance(data, bytes):
        data = np.frombuffer(data, "u1" if len(data) < 2 * count else ">u2" if big else "<u2")
    entries = np.asarray(data, np.int64).reshape(-1)[:count]
    if len(entries) < count:
        msg = "fewer entries than the descriptor says"
        raise ValueError(msg)
    return first, bits, entries
