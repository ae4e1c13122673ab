"""Size and end of a compressed frame (ITU-T T.81 annex B, T.87 annex C, T.800 annex A), checked before it is decoded.

A codec allocates as much memory as the codestream demands, and some codecs silently fill in a missing end.
"""

from __future__ import annotations

import struct

_END = b"\xff\xd9"
"""The end marker of all these formats; an item of odd length is padded after it."""
_END_BYTES = 32
_J2K = b"\xff\x4f\xff\x51"
_JPEG = b"\xff\xd8"
# Start of frame: SOF0 to SOF15 except DHT, JPG and DAC, and SOF55 of JPEG-LS.
_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


def is_complete(encoded: bytes) -> bool:
    """Tell whether the codestream reaches its end marker."""
    return _END in encoded[-_END_BYTES:]


def size_of(encoded: bytes) -> tuple[int, int] | None:
    """Return rows and columns, or None where the beginning of the codestream is not as expected."""
    try:
        if encoded.startswith(_J2K):
            right, bottom, left, top = struct.unpack_from(">4I", encoded, 8)
            return bottom - top, right - left
        return _size_of_jpeg(encoded) if encoded.startswith(_JPEG) else None
    except (struct.error, IndexError):
        return None


def _size_of_jpeg(encoded: bytes) -> tuple[int, int] | None:
    position = 2
    while encoded[position] == 0xFF:  # noqa: PLR2004 - the first byte of every marker
        kind = encoded[position + 1]
        if kind in _START_OF_FRAME:
            rows, columns = struct.unpack_from(">2H", encoded, position + 5)
            return rows, columns
        # Any number of fill bytes may precede a marker.
        position += 1 if kind == 0xFF else 2 + int.from_bytes(encoded[position + 2 : position + 4], "big")  # noqa: PLR2004
    return None
