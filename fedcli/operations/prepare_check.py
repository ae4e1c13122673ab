"""Look at an archive before it is prepared: what joins with the labels, what would be left out, how long it would take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.durations import duration
from fedcli.imaging.archive import check as previews
from fedcli.operations.prepare import request_of
from fedcli.results import Result, Status

if TYPE_CHECKING:
    from fedcli.imaging.archive.check import Preview
    from fedcli.operations.prepare import PrepareRequest
    from fedcli.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewResult(Result):
    """What was seen; nothing was written."""

    classes: tuple[str, ...]
    workers: int
    preview: Preview


def preview(request: PrepareRequest, progress: Progress) -> PreviewResult:
    """Look at an archive.

    Raises:
        UsageError: Neither a plan nor a workspace was named.
        ConfigurationError: The plan is wrong.
        DataError: The archive or the label table cannot be used.
    """
    whole = request_of(request, writes=False)
    found = previews.preview(whole, progress=progress)
    left_out = found.files - found.images
    message = (
        f"{found.images} images of {found.patients} patients with a label in {found.files} files; {left_out} would be left out; "
        f"decoding takes about {duration(max(1.0, found.seconds))} in {whole.workers} processes, and reading what the disk takes"
    )
    return PreviewResult(
        status=Status.DONE, message=message, classes=whole.preparation.classes, workers=whole.workers, preview=found
    )
