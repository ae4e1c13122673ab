"""The coordinator asks a store for the records of all sites at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.exchange import layout
from fedcli.party.aggregation_input import base_of, layout_of
from fedcli.party.folder import Folder
from fedcli.party.party import Party
from fedcli.party.received_updates import receive_updates
from fedcli.workspace import WorkspaceRole
from tests.fixtures.counting_store import Counting
from tests.fixtures.federation import begun_by_hand

if TYPE_CHECKING:
    from pathlib import Path

SITES = tuple(f"site-{number:03d}" for number in range(70))


def test_the_records_of_sites_are_listed_and_read_together(tmp_path: Path) -> None:
    """Of sites that have sent nothing, nothing is read."""
    federation = begun_by_hand(tmp_path / "f", *SITES)
    sent = (SITES[0], SITES[1], SITES[69])
    for site in sent:
        federation.send(site, 1)
    with Party.at_work(federation.coordinator, WorkspaceRole.COORDINATOR, federation.environment) as party:
        store = Counting(federation.drop)
        party.folder = Folder(store, coordinator=federation.fingerprint, cache=tmp_path / "cache")
        party.folder.synchronise()
        expected = layout_of(base_of(party.folder, 1))
        store.requests.clear()
        store.keys.clear()
        received = receive_updates(party, 1, party.ledger.in_force(1).record, expected, {})
    assert tuple(received.updates) == sent
    assert received.absent == tuple(site for site in SITES if site not in sent)
    assert store.requests["list"] == len(store.soon) == 2
    records = [key for key in store.keys if key.endswith(".json")]
    assert records == [layout.update(site, 1) for site in sent]
    assert [key for keys in store.soon for key in keys] == store.keys
