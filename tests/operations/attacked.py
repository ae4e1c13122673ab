"""A federation whose round 1 is open and in which every site has sent, and what an attacker does to its drop folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fedcli import wire
from fedcli.exchange import layout
from fedcli.exchange.keys import create_key, load_signer
from fedcli.exchange.records import Role, UpdateRecord
from fedcli.exchange.store import LocalStore
from fedcli.party.folder import Folder
from fedcli.party.folding import base_of, layout_of
from fedcli.party.intake import take_in
from fedcli.party.party import Party, Status, artifact_of
from fedcli.tensors import Measured
from fedcli.workspace import WorkspaceRole
from tests.operations.federations import Federation, no_passphrase
from tests.operations.handmade import Handmade

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.exchange.signatures import Signer
    from fedcli.party.intake import Intake

SITES = ("north", "valley")


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


def sent(root: Path) -> Handmade:
    """Begin a federation of two sites that both have sent an update of round 1."""
    federation = Handmade(root / "f", SITES).begin()
    for site in SITES:
        federation.send(site, 1)
    return federation


def signer_of(federation: Handmade, name: str) -> Signer:
    """Return the key of a site, or a new one of somebody unknown."""
    path = federation.root / f"{name}.key"
    return load_signer(path, no_passphrase) if path.exists() else create_key(path, name)


def place(federation: Federation | Handmade, key: str, data: bytes, signature: bytes) -> None:
    """Put a record and its signature into the drop folder by force; other signatures of the record go."""
    path = federation.drop / key
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    path.write_bytes(data)
    (federation.drop / layout.signature(key, wire.sha256(data))).write_bytes(signature)


def resign(federation: Handmade, site: str, number: int = 1, *, signer: str = "", **values: Any) -> None:
    """Replace a site's update record by one with other values, signed by the site's key or somebody else's."""
    key = layout.update(site, number)
    record = json.loads((federation.drop / key).read_bytes()) | values
    data = (json.dumps(record, indent=1) + "\n").encode()
    place(federation, key, data, signer_of(federation, signer or site).sign(data))


def send_file(federation: Handmade, site: str, content: bytes) -> None:
    """Replace a site's artifact of round 1 by any bytes, under a record that names and signs them."""
    key = layout.update(site, 1)
    artifact = artifact_of(key, Role.UPDATE, Measured(size=len(content), sha256=wire.sha256(content)))
    (federation.drop / artifact.key).write_bytes(content)
    resign(federation, site, artifacts=[wire.plain(artifact)])


def artifact_path(federation: Handmade, site: str) -> Path:
    """Return where a site's artifact of round 1 lies, as its record says."""
    record = wire.decode(UpdateRecord, (federation.drop / layout.update(site, 1)).read_bytes())
    return federation.drop / record.artifacts[0].key


def refused(federation: Handmade, site: str = "valley") -> str:
    """Let the coordinator aggregate: one site is rejected, nobody else, nothing is published. Return the reason."""
    result = federation.aggregate()
    assert result.status is Status.WAITING
    assert result.used == tuple(name for name in federation.sites if name != site)
    assert [item.site for item in result.rejected] == [site]
    assert not (federation.drop / layout.round_record(1)).exists()
    return result.rejected[0].reason


def taken_in(federation: Handmade) -> tuple[Intake, tuple[str, ...]]:
    """Take round 1 in as from a drop folder elsewhere; return also the artifacts of sites that were asked for."""
    party = Party.open(federation.coordinator, WorkspaceRole.COORDINATOR, federation.environment)
    watched = Watched(federation.drop)
    party.folder = Folder(watched, coordinator=federation.fingerprint, cache=federation.root / "cache")
    party.folder.synchronise()
    expected = layout_of(base_of(party.folder, 1))
    intake = take_in(party, 1, party.folder.ledger.in_force(1).record, expected, {})
    return intake, tuple(key for key in watched.asked if key.startswith("sites/"))


def refused_unread(federation: Handmade, site: str = "valley") -> str:
    """Expect a site's update to be refused by both roads, and its artifact not even to be asked for. Return the reason."""
    intake, asked = taken_in(federation)
    others = [name for name in federation.sites if name != site]
    assert sorted(intake.records) == others
    assert [key.split("/")[1] for key in asked] == others  # the watch sees what is read
    reason = refused(federation, site)
    assert intake.rejected[site].reason == reason
    return reason
