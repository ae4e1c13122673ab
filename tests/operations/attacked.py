"""How a coordinator meets a forged update, in a drop folder on its own machine and in one elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.exchange import layout
from fedcli.exchange.store import LocalStore
from fedcli.party.aggregation_input import base_of, layout_of
from fedcli.party.folder import Folder
from fedcli.party.party import Party
from fedcli.party.received_updates import receive_updates
from fedcli.results import Status
from fedcli.workspace import WorkspaceRole
from tests.fixtures.federation import SITES, Federation, begun_by_hand

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.disk import Measured
    from fedcli.party.received_updates import ReceivedUpdates


class Watched(LocalStore):
    """A drop folder that remembers which artifacts were asked for, and like one elsewhere has no files on this machine."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: list[str] = []

    def fetch(self, key: str, target: Path, limit: int) -> Measured:
        self.asked.append(key)
        return super().fetch(key, target, limit)

    def local_path(self, key: str) -> None:
        """Return None: whoever wants an artifact has to fetch it."""


def sent(root: Path) -> Federation:
    """Begin a federation of two sites that both have sent an update of round 1."""
    federation = begun_by_hand(root / "f", *SITES)
    for site in SITES:
        federation.send(site, 1)
    return federation


def refused(federation: Federation, site: str = "valley") -> str:
    """Let the coordinator aggregate: one site is rejected, nobody else, nothing is published. Return the reason."""
    result = federation.aggregate()
    assert result.status is Status.WAITING
    assert result.used == tuple(name for name in federation.by_hand if name != site)
    assert [item.site for item in result.rejected] == [site]
    assert not (federation.drop / layout.round_record(1)).exists()
    return result.rejected[0].reason


def taken_in(federation: Federation) -> tuple[ReceivedUpdates, tuple[str, ...]]:
    """Take round 1 in as from a drop folder elsewhere; return also the artifacts of sites that were asked for."""
    watched = Watched(federation.drop)
    with Party.at_work(federation.coordinator, WorkspaceRole.COORDINATOR, federation.environment) as party:
        party.folder = Folder(watched, coordinator=federation.fingerprint, cache=federation.root / "cache")
        party.folder.synchronise()
        expected = layout_of(base_of(party.folder, 1))
        received = receive_updates(party, 1, party.ledger.in_force(1).record, expected, {})
    return received, tuple(key for key in watched.asked if key.startswith("sites/"))


def refused_unread(federation: Federation, site: str = "valley") -> str:
    """Expect a site's update to be refused in both places, and its artifact not to be asked for. Return the reason."""
    received, asked = taken_in(federation)
    others = [name for name in federation.by_hand if name != site]
    assert sorted(received.records) == others
    assert [key.split("/")[1] for key in asked] == others  # the watch sees what is read
    reason = refused(federation, site)
    assert received.rejected[site].reason == reason
    return reason
