"""A party's private folder: settings, lock, secret, and files that are whole or not there."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcli import wire
from fedcli.disk import write_whole
from fedcli.errors import ConfigurationError
from fedcli.plan import Plan
from fedcli.private_files import BusyError, locked, read_secret
from fedcli.workspace import Approval, Settings, Workspace, WorkspaceRole

if TYPE_CHECKING:
    from collections.abc import Iterator

FINGERPRINT = "SHA256:" + "a" * 43

HOLDER = """
import sys
from pathlib import Path
from fedcli.private_files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from fedcli.disk import write_whole
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_whole(Path(sys.argv[1]), b"n" * 100_000)
except OSError as error:
    print(error.strerror)
"""

TEXTS = st.text(min_size=1, max_size=60).filter(lambda text: text.isprintable() or text.isascii())


def site_settings(**changes: Any) -> Settings:
    return Settings(**{"role": WorkspaceRole.SITE, "name": "north", "drop": "/mnt/drop", "coordinator": FINGERPRINT, **changes})


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -------------------------------------------------------------------------------------------------------------- settings


def test_a_workspace_is_made_once_and_found_again(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "site"
    made = Workspace.create(root, site_settings(threads=4, share_dataset=True))
    written = (root / "workspace.toml").read_bytes()
    assert made.settings == Workspace.open(root).settings == Workspace.open(root, WorkspaceRole.SITE).settings
    again = Workspace.create(root, site_settings(threads=4, share_dataset=True))
    assert again.settings == made.settings
    assert (root / "workspace.toml").read_bytes() == written
    assert names_in(root) == ["workspace.toml"]


@pytest.mark.parametrize(
    "changes", [{"name": "south"}, {"drop": "s3://bucket"}, {"coordinator": "SHA256:" + "b" * 43}, {"threads": 1}]
)
def test_another_workspace_in_the_same_folder_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    Workspace.create(tmp_path, site_settings())
    written = (tmp_path / "workspace.toml").read_bytes()
    with pytest.raises(ConfigurationError, match="already holds the workspace of north at /mnt/drop"):
        Workspace.create(tmp_path, site_settings(**changes))
    assert (tmp_path / "workspace.toml").read_bytes() == written


@given(drop=TEXTS, key=TEXTS, prepared=TEXTS, threads=st.integers(0, 4096), share=st.booleans())
@settings(max_examples=60)
def test_settings_come_back_as_they_were(*, drop: str, key: str, prepared: str, threads: int, share: bool) -> None:
    wanted = site_settings(drop=drop, key=key, prepared=prepared, threads=threads, share_models=share)
    with tempfile.TemporaryDirectory() as folder:
        Workspace.create(Path(folder), wanted)
        assert Workspace.open(Path(folder)).settings == wanted


def test_notices_that_were_added_to_a_workspace_do_not_make_it_another_one(tmp_path: Path) -> None:
    Workspace.create(tmp_path, site_settings())
    path = tmp_path / "workspace.toml"
    path.write_text(path.read_text() + '\n[notify]\ncommand = ["/usr/bin/true"]\n')
    assert Workspace.create(tmp_path, site_settings()).settings.notify.command == ("/usr/bin/true",)
    assert Workspace.create(tmp_path / "copy", Workspace.open(tmp_path).settings).settings == site_settings()


@pytest.mark.parametrize(
    "drop", ['a"b', "a\\b", "a\nb", "a\tb", "a\r\nb", "a\x7fb", "\x00", "a # b", "é ü 漢 \U0001f600", "'", '"""']
)
def test_an_odd_path_comes_back_as_it_was(tmp_path: Path, drop: str) -> None:
    Workspace.create(tmp_path, site_settings(drop=drop))
    assert Workspace.open(tmp_path).settings.drop == drop


def test_the_workspace_of_the_other_role_is_refused(tmp_path: Path) -> None:
    Workspace.create(tmp_path, site_settings())
    with pytest.raises(ConfigurationError, match="the workspace of a site, expected that of a coordinator"):
        Workspace.open(tmp_path, WorkspaceRole.COORDINATOR)


def test_a_folder_that_is_no_workspace_is_refused(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigurationError, match=r"not a workspace, workspace\.toml is missing") as caught:
            Workspace.open(root)
        assert "-C" in caught.value.hint


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('device = "gpu 1"', "device: should match pattern"),
        ("threads = -1", "threads: should be greater than or equal to 0 (found -1)"),
        ("threads = 5000", "threads: should be less than or equal to 4096 (found 5000)"),
        ("threads = true", "threads: should be a valid integer (found True)"),
        ("review = true", "review: should be 'ask' or 'auto' (found True)"),
        ('share_models = "no"', "share_models: should be a valid boolean (found 'no')"),
        ("share_model = true", "unknown key share_model; did you mean share_models?"),
        ("prepared = 2024-01-01", "prepared: should not be a date or time"),
        ('key = ""', "key: should have at least 1 character"),
        ("[outbox]", "unknown key outbox"),
        ("timeout = 0", "timeout: should be greater than or equal to 1 (found 0)"),
        ('host_key = "MD5:aa"', "host_key: should match pattern"),
        ('notify.command = "page me"', "notify.command: should be a valid array (found 'page me')"),
        ('notify.only = ["late"]', "notify.only: should be 'round open', 'your turn', 'overdue'"),
        ('notify.webhook = "http://hooks.example/x"', "notify.webhook: should match pattern"),
        ("notify.overdue_hours = 0", "notify.overdue_hours: should be greater than or equal to 1 (found 0)"),
        ('notify.comand = ["x"]', "unknown key notify.comand; did you mean command?"),
        ('notify.email = {to = ["a@b.example"]}', "notify.email.host: this key is missing"),
        ('notify.email = {to = ["Eve <a@b.example>"], host = "h"}', "notify.email.to: should match pattern"),
        ('notify.email = {to = ["a@b.example"], host = "h", hots = "h"}', "unknown key notify.email.hots; did you mean host?"),
        (
            'notify.email = {to = ["a@b.example"], host = "h", user = "u", security = "unsafe_plaintext"}',
            'notify.email: should have no user with security = "unsafe_plaintext"',
        ),
    ],
)
def test_a_faulty_setting_is_named_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    text = f'role = "site"\nname = "north"\ndrop = "/mnt/drop"\ncoordinator = "{FINGERPRINT}"\n'
    path = tmp_path / "workspace.toml"
    path.write_text(text, encoding="utf-8")
    assert Workspace.open(tmp_path).settings == site_settings()
    path.write_text(f"{text}# mine\n{line}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        Workspace.open(tmp_path)
    assert str(caught.value).startswith(f"{path}, line 6: {said}")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"role": "boss"}, "line 1: role: should be 'coordinator' or 'site' (found 'boss')"),
        ({"name": "North"}, "line 2: name: should match pattern"),
        ({"name": "../north"}, "line 2: name: should match pattern"),
        ({"coordinator": "MD5:aa"}, "line 4: coordinator: should match pattern"),
        ({"coordinator": FINGERPRINT + "="}, "line 4: coordinator: should match pattern"),
        ({"drop": None}, ": drop: this key is missing"),
    ],
)
def test_a_faulty_identity_is_refused(tmp_path: Path, changes: dict[str, str | None], said: str) -> None:
    values = {"role": "site", "name": "north", "drop": "/mnt/drop", "coordinator": FINGERPRINT, **changes}
    lines = [f'{key} = "{value}"' for key, value in values.items() if value is not None]
    (tmp_path / "workspace.toml").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        Workspace.open(tmp_path)
    assert said in str(caught.value)


def test_relative_paths_are_the_workspaces(tmp_path: Path) -> None:
    made = Workspace(tmp_path, site_settings(drop="../drop", key="keys/mine", prepared="/data/prepared"))
    assert made.drop_address == str(tmp_path / "../drop")
    assert made.key_path == tmp_path / "keys" / "mine"
    assert made.prepared_path == Path("/data/prepared")
    assert made.path("state", "best.json") == tmp_path / "state" / "best.json"
    assert Workspace(tmp_path, site_settings(drop="s3://bucket/x")).drop_address == "s3://bucket/x"
    assert Workspace(tmp_path, site_settings(drop="~/drop")).drop_address == str(Path.home() / "drop")


def test_an_approval_is_remembered_with_its_digest(tmp_path: Path) -> None:
    made = Workspace.create(tmp_path, site_settings())
    assert made.approval is None
    for plan in (Plan(name="a"), Plan(name="b")):
        made.approve(plan)
        assert Workspace.open(tmp_path).approval == Approval(digest=plan.digest, plan=plan)


def test_a_damaged_approval_is_refused_with_its_file_and_place(tmp_path: Path) -> None:
    made = Workspace.create(tmp_path, site_settings())
    made.approve(Plan(name="a"))
    path = tmp_path / "approval.json"
    path.write_bytes(path.read_bytes().replace(b'"rounds": 300', b'"rounds": 0'))
    with pytest.raises(ConfigurationError, match=r"plan\.rounds: should be greater than or equal to 1") as caught:
        _ = made.approval
    assert str(caught.value).startswith(f"{path}: ")
    path.write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"approval\.json"):
        _ = made.approval


# ------------------------------------------------------------------------------------------------------------------ lock


@contextmanager
def holder(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run another process that holds the workspace until its standard input closes."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"held\n"
        yield process
    finally:
        process.stdin.close()
        process.stdout.close()
        process.kill()
        process.wait()


def take(root: Path) -> None:
    with locked(root):
        pass


def test_a_second_command_is_told_that_the_first_is_at_work(tmp_path: Path) -> None:
    made = Workspace.create(tmp_path, site_settings())
    with holder(tmp_path) as process:
        with pytest.raises(BusyError, match="another fedcli command is running in") as caught:
            take(tmp_path)
        with pytest.raises(BusyError), locked(made.root):
            pytest.fail("two hold the lock")
        assert caught.value.exit_code == 0
        assert process.poll() is None
        assert process.communicate()[0] == b""
        take(tmp_path)


def test_the_lock_is_free_after_kill_9(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        take(tmp_path)


def test_the_lock_holds_within_one_process_and_is_freed_by_an_error(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(BusyError):
        take(tmp_path)
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    take(tmp_path)


def test_the_lock_of_a_folder_to_come_makes_the_folder(tmp_path: Path) -> None:
    take(tmp_path / "new" / "site")
    assert (tmp_path / "new" / "site").is_dir()


def test_two_workspaces_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with holder(tmp_path / "north"):
        take(tmp_path / "south")


# ---------------------------------------------------------------------------------------------------------------- secret


@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
def test_the_secret_is_made_once_for_its_owner_alone(tmp_path: Path, mask: int) -> None:
    path = tmp_path / "site" / "secret"
    before = os.umask(mask)
    try:
        secret = read_secret(path)
    finally:
        os.umask(before)
    assert len(secret) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_secret(path) == path.read_bytes() == secret
    assert Workspace(path.parent, site_settings()).secret == secret
    assert names_in(path.parent) == ["secret"]


def test_two_secrets_differ(tmp_path: Path) -> None:
    assert read_secret(tmp_path / "a") != read_secret(tmp_path / "b")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_secret_of_another_length_is_refused_and_kept(tmp_path: Path, length: int) -> None:
    (tmp_path / "secret").write_bytes(b"s" * length)
    with pytest.raises(ConfigurationError, match=f"secret: {length} bytes, expected 32") as caught:
        read_secret(tmp_path / "secret")
    assert "backup" in caught.value.hint
    assert (tmp_path / "secret").read_bytes() == b"s" * length


# ----------------------------------------------------------------------------------------------------------- whole files


@pytest.mark.parametrize("data", [b"", b"new", bytes(300_000)], ids=len)
def test_a_file_is_replaced_whole(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "new" / "folder" / "file"
    write_whole(path, b"old")
    with path.open("rb") as opened:
        write_whole(path, data)
        assert opened.read() == b"old"
    assert path.read_bytes() == data
    assert names_in(path.parent) == ["file"]


def test_a_file_that_stood_open_to_all_is_replaced_by_one_that_does_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o666)
    write_whole(path, b"new", mode=0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    finished = subprocess.run([sys.executable, "-c", FULL_DISK, path], check=True, capture_output=True, text=True)
    assert finished.stdout == "File too large\n"
    assert names_in(tmp_path) == ([] if before is None else ["file"])
    assert before is None or path.read_bytes() == before


def test_a_name_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "file", b"new")
    assert names_in(tmp_path) == ["file"]
    assert names_in(tmp_path / "file") == []


def test_a_value_is_saved_and_loaded(tmp_path: Path) -> None:
    made = Workspace.create(tmp_path, site_settings())
    plan = Plan(name="a", rounds=3)
    assert made.load(Plan, "state/plan.json") is None
    made.save("state/plan.json", plan)
    assert made.load(Plan, "state/plan.json") == plan
    assert (tmp_path / "state" / "plan.json").read_bytes() == wire.encode(plan)
