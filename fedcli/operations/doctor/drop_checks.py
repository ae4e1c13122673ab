"""Checks of a drop folder: whether it can be reached, whose it is, who may write where, and its clock.

Nothing is ever written under another party's prefix. Under its own prefix, a party writes a probe and removes it.
"""

from __future__ import annotations

import os
import stat
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fedcli.exchange import layout
from fedcli.exchange.bounds import Bounds
from fedcli.exchange.dates import LARGEST_SKEW
from fedcli.exchange.ledger import Ledger
from fedcli.exchange.store import LocalStore
from fedcli.exchange.store.rights import unshared
from fedcli.operations.doctor.workspace_checks import OTHERS_WRITE
from fedcli.party.folder import Folder
from fedcli.party.memory.trusted_records import TrustedRecords

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcli.exchange.store import Store
    from fedcli.operations.doctor.findings import Examination
    from fedcli.workspace import Workspace

_PROVEN = {
    "sftp": "; the host's key is the trusted one, the account is accepted",
    **dict.fromkeys(("s3", "gs", "az"), "; the credentials are accepted"),
}
_UNREACHED = "the drop folder cannot be reached"


def reach(exam: Examination, connect: Callable[[], Store]) -> Store | None:
    """Connect and list; over a network this checks the host's key and the credentials too."""
    with exam.check("drop folder", "check the address, the network and the credentials") as check:
        store = connect()
        (listing,) = store.list_each([layout.prefix(layout.COORDINATOR)], Bounds().files).values()
        num_files = len(listing.complete(store.address))
        proven = _PROVEN.get(urlsplit(store.address).scheme, "")
        check.ok(f"{num_files} files of the coordinator in {store.address}{proven}")
        return store
    return None


def coordinators_key(exam: Examination, store: Store | None, pinned: str | None) -> None:
    """Compare the key that the federation began with and the pinned one."""
    with exam.check("coordinator's key", "ask the coordinator for its address and fingerprint, by telephone") as check:
        if store is None:
            check.skip(_UNREACHED)
            return
        with tempfile.TemporaryDirectory() as scratch:
            first = Ledger()
            first.add_federation(Folder(store, coordinator=None, cache=Path(scratch)).read(layout.federation(0)))
        fingerprint = first.first_key.fingerprint
        if pinned is None:
            check.skip(f"{fingerprint}: nothing here says whether that is the coordinator's")
        elif fingerprint != pinned:
            check.fail(f"it is {fingerprint}, expected the pinned {pinned}: this is another federation")
        else:
            check.ok(f"{fingerprint}, as pinned")


def history(exam: Examination, store: Store | None, pinned: str | None, memory: Path | None) -> Ledger | None:
    """Verify the federation from its first record to its newest round; remember it if there is a memory."""
    with exam.check(
        "history", "the folder was changed or rolled back: fedcli verify names the file; ask the coordinator"
    ) as check:
        if store is None:
            check.skip(_UNREACHED)
            return None
        trusted = TrustedRecords(memory) if memory is not None and memory.is_dir() else None
        with tempfile.TemporaryDirectory() as scratch:
            folder = Folder(store, coordinator=pinned, cache=Path(scratch), memory=trusted)
            folder.synchronise()
        ledger = folder.ledger
        plan = ledger.newest_federation.plan
        check.ok(f"{plan.name}: {len(ledger.newest_federation.members)} sites, round {ledger.newest_round} of {plan.rounds}")
        return ledger
    return None


def own_prefix(exam: Examination, store: Store | None, workspace: Workspace) -> None:
    """Publish a probe twice under the party's own prefix; check who else may write there."""
    prefix = prefix_of(workspace)
    with exam.check("own prefix", f"let this account, and no other, write under {prefix}") as check:
        if store is None:
            check.skip(_UNREACHED)
            return
        store.probe(prefix)
        rights = f"{prefix} can be written, and nothing there can be written twice"
        if isinstance(store, LocalStore) and (mode := stat.S_IMODE(_path(store, prefix).stat().st_mode)) & OTHERS_WRITE:
            check.warn(f"{rights}; mode {mode:04o}: others can write there too")
        else:
            check.ok(rights)


def others_read(exam: Examination, store: Store | None, workspace: Workspace) -> None:
    """Check, by the newest record that the party has written, whether the other parties can read it."""
    prefix = prefix_of(workspace)
    with exam.check("others read", f"let the other parties' accounts read {prefix}") as check:
        if store is None:
            check.skip(_UNREACHED)
            return
        (listing,) = store.list_each([prefix], Bounds().files).values()
        records = [key for key in listing.keys if key.endswith(".json")]
        if not records:
            check.skip("nothing is published yet")
        elif (finding := unshared(store, records[-1])) is not None:
            check.warn(finding.message, finding.remedy)
        elif store.rights(records[-1]) is None:
            check.skip("the place has no modes; its policies decide")
        else:
            check.ok(f"the modes of {records[-1]}, and of the folders above it, let the others read")


def new_sites(exam: Examination, store: Store | None) -> None:
    """Check whether another account that may write in the drop folder may also make its folder in `sites/`."""
    with exam.check("new sites", "fedcli access folder prints how the parties' folders are made") as check:
        if not isinstance(store, LocalStore):
            check.skip(_UNREACHED if store is None else "this cannot be told from here")
            return
        root, sites = Path(store.address), _path(store, layout.SITES)
        if not sites.is_dir():
            check.ok(f"the first one makes {layout.SITES}/")
            return
        owners = {os.geteuid(), *(path.stat().st_uid for path in (root, sites))}
        mode = stat.S_IMODE(sites.stat().st_mode)
        closed = root.stat().st_mode & OTHERS_WRITE & ~mode
        if closed and len(owners) > 1:
            right = "g+w,+t" if closed & stat.S_IWGRP else "o+w,+t"
            remedy = f"its owner runs `chmod {right} {sites}`"
            check.fail(f"{sites}, mode {mode:04o}: no other site can make its folder there", remedy)
        else:
            check.ok(f"{sites}, mode {mode:04o}")


def other_prefixes(exam: Examination, store: Store | None, workspace: Workspace, ledger: Ledger | None) -> None:
    """Check, without writing, whether this account may write under the prefixes of other parties."""
    with exam.check("others' prefixes", "give every party an account of its own, which can write only under its prefix") as check:
        if store is None or ledger is None:
            check.skip(_UNREACHED if store is None else "the parties are not known")
            return
        if not isinstance(store, LocalStore):
            check.skip("this cannot be checked without writing there")
            return
        parties = (layout.COORDINATOR, *(member.site for member in ledger.newest_federation.members))
        others = [layout.prefix(party) for party in parties if party != workspace.settings.name]
        there = [prefix for prefix in others if _path(store, prefix).is_dir()]
        wide = [prefix for prefix in there if os.access(_path(store, prefix), os.W_OK, effective_ids=True)]
        if wide:
            check.warn(f"this account can write under {len(wide)} of them, such as {wide[0]}")
        else:
            check.ok(f"this account can write under none of {len(there)}")


def clock(exam: Examination, store: Store | None, ledger: Ledger | None, moment: datetime, prefix: str | None) -> None:
    """Compare this clock with the file server's, if it dates a new file, and with the times in the coordinator's records."""
    with exam.check("clock", "set the clock of this machine, with NTP; or ask the coordinator to check theirs") as check:
        if store is None or ledger is None:
            check.skip("there is nothing to compare with")
            return
        newest = max((*ledger.federations, *ledger.rounds), key=lambda verified: verified.record.created)
        ahead = newest.record.created - moment
        text = f"not behind {newest.key}"
        own = _path(store, prefix) if prefix is not None and isinstance(store, LocalStore) else None
        if own is not None and own.is_dir() and os.access(own, os.W_OK, effective_ids=True):
            with tempfile.TemporaryFile(dir=own) as file:
                skew = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC) - moment
            if abs(skew) > LARGEST_SKEW:
                check.fail(
                    f"{abs(skew).total_seconds():.0f} s {'behind' if skew > timedelta() else 'ahead of'} the drop folder's clock"
                )
                return
            text = f"{abs(skew).total_seconds():.0f} s from the drop folder's clock, {text}"
        if ahead > LARGEST_SKEW:
            check.fail(f"{newest.key} was made {ahead.total_seconds():.0f} s after now, by the coordinator's clock")
        else:
            check.ok(text)


def prefix_of(workspace: Workspace) -> str:
    """Return the prefix under which a workspace's party writes."""
    return layout.prefix(workspace.settings.name)


def _path(store: LocalStore, prefix: str) -> Path:
    return Path(store.address) / prefix
