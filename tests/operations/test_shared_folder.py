"""A folder that several accounts share: under the script that `fedcli access folder` prints, and without it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import UsageError
from fedcli.exchange import layout
from fedcli.exchange.store import LocalStore
from fedcli.exchange.store.rights import Rights, unshared
from fedcli.operations.access.shared_folder import FolderAccessRequest, folder_access
from tests.fixtures.command import COMMAND, SMALL_PLAN, run
from tests.fixtures.servers import remove_accounts, running_sshd

if TYPE_CHECKING:
    from collections.abc import Iterator

SITES = ("north", "valley")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A file server's folder, and what each party's account does there.

    Attributes:
        home: Holds the drop folder and a folder for each account.
        group: Of all accounts.
        accounts: By party.
    """

    home: Path
    group: str
    accounts: dict[str, str]

    @property
    def drop(self) -> Path:
        return self.home / "drop"

    def account(self, party: str) -> tuple[str, ...]:
        """Return what runs a program as a party's account."""
        return ("setpriv", f"--reuid={self.accounts[party]}", f"--regid={self.group}", "--init-groups")

    def run(self, party: str, *arguments: str | Path, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
        """Run a command as a party's account, which may also read where the program itself lies."""
        program = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", *COMMAND)
        return subprocess.run(
            [*self.account(party), *program, *map(str, arguments)],
            cwd=self.home / party,
            env={**os.environ, "HOME": str(self.home / party)},
            umask=umask,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def can(self, party: str, *command: str) -> bool:
        """Tell whether a party's account can do something in the drop folder, with no right but its own."""
        done = subprocess.run([*self.account(party), *command], cwd=self.drop, capture_output=True, check=False)
        return done.returncode == 0

    def succeed(self, party: str, *arguments: str | Path, umask: int = 0o022) -> dict[str, str]:
        done = self.run(party, *arguments, "--json", umask=umask)
        assert done.returncode == 0, (party, arguments, done.stdout, done.stderr)
        assert "cannot read" not in done.stderr
        result: dict[str, str] = json.loads(done.stdout)
        return result

    def begin(self) -> dict[str, str]:
        """Begin a federation; return the coordinator's result."""
        (self.home / "coordinator/plan.toml").write_text(SMALL_PLAN)
        return self.succeed("coordinator", "init", "-C", "w", "--plan", "plan.toml", "--drop", self.drop, umask=0o077)

    def join(self, site: str, begun: dict[str, str]) -> subprocess.CompletedProcess[str]:
        given = ("--coordinator-key", begun["coordinator"], "--approve-plan", begun["plan"][:12])
        return self.run(site, "join", site, "-C", "w", "--drop", self.drop, *given, umask=0o077)


@pytest.fixture
def share() -> Iterator[Share]:
    """Accounts and a group; the drop folder is under their script, and nothing is in it."""
    if os.geteuid() != 0 or shutil.which("useradd", path="/usr/sbin:/sbin") is None:
        pytest.skip("real accounts need root and useradd")
    group = f"fedcli-share{os.getpid()}"
    home = Path(tempfile.mkdtemp(prefix=group, dir="/srv"))
    home.chmod(0o755)
    try:
        access = folder_access(FolderAccessRequest(sites=SITES, root=str(home / "drop"), name=group, auditor=True))
        for _ in range(2):  # it may be run again, for a site that comes later
            subprocess.run(["sh", "-s"], input=access.message, text=True, check=True, capture_output=True)
        share = Share(home=home, group=group, accounts=dict(access.accounts))
        for party, account in share.accounts.items():
            (home / party).mkdir()
            shutil.chown(home / party, account)
        yield share
    finally:
        remove_accounts(group)
        shutil.rmtree(home)


def test_under_the_script_every_account_writes_its_own_part_and_reads_all(share: Share) -> None:
    begun = share.begin()
    for site in SITES:
        assert share.join(site, begun).returncode == 0
    north, records = layout.enrolment("north", 0), [str(path) for path in share.drop.rglob("*.json")]
    for party in share.accounts:
        assert share.can(party, "cat", *records), "whatever the umask"
    assert json.loads(share.run("auditor", "status", share.drop, "--json").stdout)["applicants"] == list(SITES)
    for party in ("valley", "auditor"):
        assert not share.can(party, "rm", north)
        assert not share.can(party, "touch", "sites/north/new")
        assert not share.can(party, "mv", "sites/north", "sites/gone")
        assert not share.can(party, "mkdir", "sites/late")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", north]
    assert subprocess.run(nobody, cwd=share.drop, capture_output=True, check=False).returncode != 0


def test_in_a_folder_that_a_group_shares_a_second_site_can_join(share: Share) -> None:
    shutil.rmtree(share.drop)
    share.drop.mkdir()
    shutil.chown(share.drop, group=share.group)
    share.drop.chmod(0o2775)
    begun = share.begin()
    for site in SITES:
        done = share.join(site, begun)
        assert (done.returncode, "cannot read" in done.stderr) == (0, False), done.stderr
    assert share.can("coordinator", "cat", *(layout.enrolment(site, 0) for site in SITES))
    assert not share.can("valley", "mv", "sites/north", "sites/gone"), "nobody removes another site's folder"


def test_a_new_drop_folder_below_a_folder_that_a_group_shares_is_the_groups(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    LocalStore(tmp_path / "drop").publish(layout.enrolment("north", 0), b"{}")
    modes = [
        (tmp_path / "drop" / part).stat().st_mode & 0o7777 for part in ("", "sites", "sites/north", layout.enrolment("north", 0))
    ]
    assert modes == [0o2770, 0o3770, 0o2750, 0o640]


def test_init_tells_once_that_nobody_else_can_read_what_it_has_written(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(SMALL_PLAN)
    (tmp_path / "drop").mkdir(mode=0o700)
    done = run("init", "-C", "c", "--plan", "plan.toml", "--drop", tmp_path / "drop", folder=tmp_path)
    assert done.returncode == 0
    assert done.stderr.count("the other parties cannot read it") == 1
    assert f"run `chmod g+rx {tmp_path}/drop/`" in done.stderr


def test_a_server_that_hides_what_is_written_is_told(tmp_path: Path) -> None:
    with running_sshd(tmp_path, apart=False, before=("sh", "-c", 'umask 077; exec "$0" "$@"')) as server:
        (server.root / "below").mkdir()
        store = server.store("north", "below")
        store.publish("sites/north/enrolment-0000.json", b"{}")
        finding = unshared(store, "sites/north/enrolment-0000.json")
        assert finding is not None
        assert "internal-sftp -u 0027" in finding.remedy
        store.publish(layout.federation(0), b"{}")
        assert unshared(store, "sites/north/enrolment-0000.json") is None, "one account writes everything"


@pytest.mark.parametrize(
    ("modes", "closed"),
    [
        ((0o755, 0o2750, 0o640), None),
        ((0o705, 0o701, 0o604), ("b", 0o701)),
        ((0o750, 0o705, 0o644), ("b", 0o705)),
        ((0o700, 0o755, 0o644), ("a", 0o700)),
        ((0o755, 0o755, 0o600), ("c", 0o600)),
        ((0o755, 0o710, 0o640), ("b", 0o710)),
    ],
)
def test_a_file_can_be_read_if_all_steps_are_open_to_the_group_or_to_everybody(
    modes: tuple[int, ...], closed: tuple[str, int] | None
) -> None:
    assert Rights(owner=1, modes=tuple(zip("abc", modes, strict=True))).closed == closed


@pytest.mark.parametrize(
    "accounts", [{"north": "anna", "valley": "anna"}, {"harbour": "anna"}, {"north": "anna; reboot"}, {"north": "Anna"}]
)
def test_accounts_that_cannot_be_are_refused(accounts: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        folder_access(FolderAccessRequest(sites=SITES, root="/srv/study", name="study", accounts=accounts))


def test_the_script_names_accounts_that_exist_already() -> None:
    done = run("access", "folder", *SITES, "--root", "/srv/study", "--name", "study", "--account", "north=anna", "--auditor")
    assert "install -d -o anna -g study -m 2750 /srv/study/sites/north\n" in done.stdout
    assert "for account in study-coordinator anna study-valley study-auditor; do" in done.stdout
    assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=False).returncode == 0
