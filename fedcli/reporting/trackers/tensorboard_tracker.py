"""A federation's figures as TensorBoard's event files, one run per party.

An event file cannot be edited, only continued. Its bytes follow from the records: what is there, also after a killed run, is the
beginning of what it should be, and the rest is appended, so that a TensorBoard that is open shows it. Where a new record changes
the past (a site's late update), the file is replaced.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from fedcli.disk import write_whole
from fedcli.errors import UsageError
from fedcli.exchange.layout import COORDINATOR
from fedcli.text.visible_text import visible
from fedcli.wire import SHORT_DIGEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import Any

    from fedcli.reporting.trackers.tracked_history import TrackedFederation

_VERSION = "brain.Event:2"
"""What TensorBoard expects in the first event of a file."""


def require_packages() -> None:
    """Raise a UsageError if event files cannot be written here."""
    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401, PLC0415 - optional
    except ImportError as error:
        msg = f"tensorboard:DIR needs {error.name}, which is not installed"
        raise UsageError(msg, hint='pip install "fedcli[tensorboard]"') from error


def write(federation: TrackedFederation, folder: Path) -> int:
    """Write each party's event file below the federation's folder; return how many figures and digests are new."""
    added = 0
    for party in federation.parties:
        place = folder / federation.federation[:SHORT_DIGEST] / party
        name = f"events.out.tfevents.{int(federation.began.timestamp()):010d}.fedcli"
        added += _continue(place / name, list(_events(federation, party)))
    return added


def _events(federation: TrackedFederation, party: str) -> Iterator[tuple[int, bytes]]:
    """Yield each event of a party as the bytes of the file, with the number of figures and digests in it."""
    from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415 - optional
    from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415

    yield 0, _framed(Event(wall_time=federation.began.timestamp(), file_version=_VERSION))
    if party == COORDINATOR:
        settings = (f"{item.name} = {item.first}" for item in federation.settings)
        began = {"wall_time": federation.began.timestamp(), "step": 0}
        yield 0, _framed(Event(**began, summary=Summary(value=[_text("settings", settings)])))
    figures = [item for item in federation.values if item.party == party]
    files = [item for item in federation.files if item.party == party]
    moments = {(item.moment, item.round) for item in figures} | {(item.moment, item.round) for item in files}
    for moment, number in sorted(moments):
        these = [item for item in figures if (item.moment, item.round) == (moment, number)]
        named = [item for item in files if (item.moment, item.round) == (moment, number)]
        values = [Summary.Value(tag=item.metric, simple_value=item.value) for item in these]
        if named:
            values.append(_text("files", (f"{item.sha256}  {item.key}" for item in named)))
        event = Event(wall_time=moment.timestamp(), step=number, summary=Summary(value=values))
        yield len(these) + len(named), _framed(event)


def _text(tag: str, lines: Iterable[str]) -> Any:
    """Return a text that TensorBoard shows as it is: a block of code, since elsewhere Markdown makes links and images of it."""
    from tensorboard.compat.proto import types_pb2  # noqa: PLC0415 - optional
    from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415
    from tensorboard.compat.proto.tensor_pb2 import TensorProto  # noqa: PLC0415
    from tensorboard.plugins.text import metadata  # noqa: PLC0415

    block = "\n".join(f"    {visible(line)}" for line in lines)
    return Summary.Value(
        tag=tag,
        metadata=metadata.create_summary_metadata(display_name="", description=""),
        tensor=TensorProto(dtype=types_pb2.DT_STRING, string_val=[block.encode()]),
    )


def _framed(event: Any) -> bytes:
    """Return an event with its length and its checksums."""
    from tensorboard.summary.writer.record_writer import RecordWriter  # noqa: PLC0415 - optional

    buffer = io.BytesIO()
    RecordWriter(buffer).write(event.SerializeToString(deterministic=True))
    return buffer.getvalue()


def _continue(path: Path, events: list[tuple[int, bytes]]) -> int:
    """Make a file that of these events; return how many figures and digests were not in it."""
    content = b"".join(data for _, data in events)
    before = path.read_bytes() if path.exists() else b""
    if before == content:
        return 0
    if not before or not content.startswith(before):
        write_whole(path, content)
        before = b""
    else:
        with path.open("ab") as file:
            file.write(content[len(before) :])
            file.flush()
            os.fsync(file.fileno())
    added, end = 0, 0
    for number, data in events:
        end += len(data)
        added += number if end > len(before) else 0
    return added
