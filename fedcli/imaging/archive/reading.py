"""All files of an archive → one prepared image each, or the reason why not.

Images are appended to a scratch file as they come, so memory holds only the metadata. Files in the cache are not read again.
"""

from __future__ import annotations

import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from fedcli.imaging.archive import cluster, pool
from fedcli.imaging.archive.acceptance import Acceptance
from fedcli.imaging.archive.file_result import FileResult, read_file, stamp_of
from fedcli.imaging.rejection import Reason
from fedcli.plan import Tomosynthesis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fedcli.imaging.archive.acceptance import AcceptedFile, RejectedFile
    from fedcli.imaging.archive.cache import Cache
    from fedcli.imaging.archive.image_archive import ImageArchive
    from fedcli.imaging.labels.matching import FileDetails
    from fedcli.plan import Images
    from fedcli.progress import Progress


def read_all(
    archive: ImageArchive,
    files: tuple[str, ...],
    images: Images,
    *,
    scratch: BinaryIO | None,
    details: Mapping[str, FileDetails],
    progress: Progress,
    cache: Cache | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[AcceptedFile], list[RejectedFile]]:
    """Read files in parallel and append their images, in the order of the files, to the scratch file.

    Args:
        archive: The archive and how it is read.
        files: Paths within it.
        images: The plan's settings.
        scratch: Receives the images; with None only headers are read.
        details: What the label table states about files, for those that do not state it themselves.
        progress: Receives the number of files read.
        cache: Results of earlier runs; receives those of this run.
        clock: Seconds, for the rate.
    """
    task = partial(read_file, folder=archive.root, images=images, headers_only=scratch is None)
    acceptance = Acceptance(archive.patient_rule, details, images)
    began, num_bytes = clock(), 0
    with progress.track("prepare", len(files), "files") as advance:
        for file, (result, is_new) in zip(files, _results(task, archive, files, cache), strict=True):
            if acceptance.add(file, result) and scratch:
                scratch.write(result.image)
            num_bytes += result.stamp.size if is_new and result.stamp else 0
            rate = f"{num_bytes / max(clock() - began, 1e-3) / 1e6:.3g} MB/s"
            advance(1, f"{rate}, {len(acceptance.rejected)} left out" if acceptance.rejected else rate)
    if images.tomosynthesis is Tomosynthesis.WITHOUT_2D:
        acceptance.reject_volumes_with_2d()
    return acceptance.accepted, acceptance.rejected


def _results(
    task: Callable[[str], FileResult], archive: ImageArchive, files: tuple[str, ...], cache: Cache | None
) -> Iterator[tuple[FileResult, bool]]:
    """Yield the result of each file, and whether it is new; the cache receives new results, and forgets files that are gone."""
    if cache and not archive.limit:
        cache.keep_only(files)
    stamps = {file: stamp for file in files if cache and (stamp := stamp_of(archive.root, file)) and cache.has(file, stamp)}
    new = [file for file in files if file not in stamps]
    lost, late = FileResult(reason=Reason.CRASHED), FileResult(reason=Reason.TOO_SLOW)
    if archive.cluster and new:
        results = cluster.in_order(task, new, address=archive.cluster, lost=lost)
    else:
        results = pool.in_order(task, new, workers=archive.num_processes, lost=lost, late=late)
    with closing(results):
        for file in files:
            if cache and file in stamps:
                yield cache.get(file, stamps[file]), False
                continue
            result = next(results)
            if cache:
                cache.put(file, result)
            yield result, True
