"""The review of a site's update before it is published: its record, norms by layer group, and every file.

The update is trained, signed and committed in the outbox. It is held there, with a note of its norms, until a person agrees. A
later yes publishes the same bytes; a no changes nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass as plain_dataclass
from typing import TYPE_CHECKING, Annotated, Protocol

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli import wire
from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.exchange.checks import Signed
from fedcli.exchange.records.record import NotNegative
from fedcli.party.masking.masked_update import is_closed
from fedcli.party.masking.own_masks import erase_secrets
from fedcli.wire import STRICT, ShortText

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fedcli.exchange.records import UpdateRecord
    from fedcli.party.party import Party
    from fedcli.tensors import Arrays

_GROUP_PARTS = 2


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class GroupNorm:
    """The float tensors of one group of layers, as other parties decode them.

    Attributes:
        group: The first parts of the tensors' names.
        values: How many numbers they contain.
        norm: Their Euclidean norm.
        largest: Their largest absolute value.
    """

    group: ShortText
    values: Annotated[int, Field(ge=1)]
    norm: NotNegative
    largest: NotNegative


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Note:
    """What is saved beside a held update: figures that are not in its record."""

    groups: tuple[GroupNorm, ...]


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """An update that is about to be published.

    Attributes:
        name: The outbox entry that holds it.
        record: Its record.
        groups: Norms by layer group, in the natural order of the names.
        files: Key, local file and size in bytes of everything that is published, in the order of sending.
    """

    name: str
    record: UpdateRecord
    groups: tuple[GroupNorm, ...]
    files: tuple[tuple[str, Path, int], ...]


class EgressReviewer(Protocol):
    """Reviews an update before it is published."""

    def __call__(self, egress: Egress) -> bool:
        """Return whether it may be published."""


def note_of(delta: Arrays) -> bytes:
    """Return the note of a held update."""
    grouped: dict[str, list[str]] = {}
    for name in sorted(delta, key=_natural):
        if delta[name].dtype.kind == "f" and delta[name].size:
            grouped.setdefault(_group_of(name), []).append(name)
    groups = tuple(_norm(group, [delta[name] for name in names]) for group, names in grouped.items())
    return wire.encode(Note(groups=groups))


def held_update(party: Party, number: int) -> Egress | None:
    """Return the held update of the open round, or None.

    An update that the federation would not accept any more is dropped: its round was closed without it, or the plan or the key
    has changed since.
    """
    egress = None
    for name in party.outbox.held():
        try:
            egress = _read(party, number, name)
        except TrustError as error:
            party.environment.progress.event(
                f"{party.name}: dropping the held update {name}, which cannot be used any more: {error}"
            )
            party.outbox.discard(name)
    return egress


def _read(party: Party, number: int, name: str) -> Egress:
    files = party.outbox.files(name)
    paths = dict(files)
    key = layout.update(party.name, number)
    if key not in paths:
        msg = f"it is not for round {number}, which is open"
        raise TrustError(msg)
    data = paths[key].read_bytes()
    signature = paths[layout.signature(key, wire.sha256(data))].read_bytes()
    update = party.ledger.update(party.name, number, Signed(key=key, data=data, signature=signature))
    if update.record.opening is not None:
        erase_secrets(party, number)  # where a run was killed after it had held the update
        if is_closed(party, number):
            msg = f"round {number} was closed before it was published"
            raise TrustError(msg)
    return Egress(
        name=name,
        record=update.record,
        groups=wire.decode(Note, party.outbox.note(name)).groups,
        files=tuple((item, path, path.stat().st_size) for item, path in files),
    )


def _group_of(name: str) -> str:
    """Return a tensor's group: `features.denseblock1` of `features.denseblock1.denselayer1.conv1.weight`."""
    return ".".join(name.split(".")[:-1][:_GROUP_PARTS]) or name


def _natural(name: str) -> list[str | int]:
    """Return a sort key that puts layer 9 before layer 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", name)]


def _norm(group: str, values: Iterable[np.ndarray]) -> GroupNorm:
    arrays = list(values)
    return GroupNorm(
        group=group,
        values=sum(array.size for array in arrays),
        norm=math.sqrt(math.fsum(float(np.square(array, dtype=np.float64).sum()) for array in arrays)),
        largest=max(float(np.abs(array).max()) for array in arrays),
    )
