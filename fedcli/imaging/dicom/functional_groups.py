"""The functional groups of an image with several frames (PS3.3 C.7.6.16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def items_of_frame(dataset: Dataset, frame: int, sequence: str) -> list[Dataset]:
    """Return a sequence's items that apply to a frame, counted from 0: the frame's own first, then those shared by all frames."""
    own = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())[frame : frame + 1]
    groups = own + list(dataset.get("SharedFunctionalGroupsSequence") or ())
    return [item for group in groups for item in group.get(sequence) or ()]
