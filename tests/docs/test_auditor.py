"""The auditor's page, word by word: its commands and scripts, on a real federation and on forged ones."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli.environment import Environment
from fedcli.exchange import layout
from fedcli.exchange.records import Role
from fedcli.operations.access.auditor_key import AuditorKeyRequest, auditor_key
from fedcli.operations.archive import ArchiveRequest, archive
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.restart import RestartRequest, restart
from fedcli.plan import Auditor, Confidentiality
from tests.fixtures.federation import prepared_data, sealed_federation
from tests.fixtures.masked import FOUR, MASKED, begun_masked
from tests.fixtures.tampering import flip, rewrite, swap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fixtures.federation import Federation

PAGE = Path(__file__).parents[2] / "docs" / "auditor.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
SCRIPTS = {title[1]: text for kind, text in BLOCKS if kind == "python" and (title := re.match(r"# (\w+\.py)\n", text))}
COMMANDS = "".join(text for kind, text in BLOCKS if kind == "sh")

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed (openssh-client)")


@pytest.fixture(scope="module")
def evaluated_once(tmp_path_factory: pytest.TempPathFactory, finished_once: Federation) -> Federation:
    federation = finished_once.copy(tmp_path_factory.mktemp("evaluated") / "f")
    evaluate(EvaluateRequest(root=federation.site("north")), federation.environment)
    return federation


@pytest.fixture
def federation(tmp_path: Path, evaluated_once: Federation) -> Federation:
    """Two rounds are done, and one site has shared its models and evaluated."""
    return evaluated_once.copy(tmp_path / "f")


def audit(federation: Federation, fingerprint: str | None = None, key: str = "") -> subprocess.CompletedProcess[str]:
    """Do what the page says, in an empty folder."""
    folder = federation.root / "audit"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, text in SCRIPTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    environment = {
        "DROP": str(federation.drop),
        "FINGERPRINT": fingerprint or federation.fingerprint,
        "KEY": key,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    return subprocess.run(
        ["bash", "-c", COMMANDS], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def records(federation: Federation, *, enrolments: bool = False) -> Iterator[Path]:
    for path in sorted(federation.drop.rglob("*.json")):
        if enrolments or not path.name.startswith("enrolment-"):
            yield path


def test_the_scripts_are_short_and_need_no_fedcli() -> None:
    assert set(SCRIPTS) == {"keys.py", "digests.py", "unmask.py", "recompute.py"}
    assert all(sum(bool(line.strip()) for line in text.splitlines()) <= 90 for text in SCRIPTS.values())
    imported = set(re.findall(r"^(?:import|from) (\w+)", "".join(SCRIPTS.values()), re.MULTILINE))
    assert imported == {"base64", "hashlib", "json", "pathlib", "re", "sys", "numpy", "cryptography", "unmask"}
    assert "fedcli " not in COMMANDS


def test_a_restart_holds_with_the_earlier_model_only(federation: Federation) -> None:
    federation.amend(replace(federation.plan, rounds=4))
    restart(RestartRequest(root=federation.coordinator, number=1, reason="TEXT"), federation.environment)
    done = audit(federation)
    assert (done.returncode, "round 3: 0 updates" in done.stdout) == (0, True), done.stderr
    rewrite(federation, layout.round_record(3), restart={"round": 2, "reason": "TEXT"})
    assert audit(federation).returncode != 0


def test_a_real_federation_holds(federation: Federation) -> None:
    done = audit(federation)
    assert done.returncode == 0, done.stderr
    good = re.findall(r'^Good "fedcli-record@v1" signature for (\S+) with', done.stdout, re.MULTILINE)
    assert len(good) == len(list(records(federation)))
    assert set(good) == {"coordinator", "north", "valley"}
    assert re.findall(r"^round (\d): (\d) updates, [0-9a-f]{64}$", done.stdout, re.MULTILINE) == [
        ("0", "0"), ("1", "2"), ("2", "2"),
    ]  # fmt: skip


def test_a_sealed_federation_holds_with_an_auditors_key(tmp_path: Path) -> None:
    """One auditor is named from the start, the other one later: the coordinator's grant opens the files for it."""
    federation = sealed_federation(tmp_path, prepared_data(tmp_path / "data", sites=("north",)), rounds=1)
    late = auditor_key(AuditorKeyRequest(path=tmp_path / "late.key", name="late-audit"), federation.environment)
    auditors = (*federation.plan.confidentiality.auditors, Auditor(name="late-audit", public_key=late.public_key))
    federation.amend(replace(federation.plan, confidentiality=Confidentiality(auditors=auditors)))
    for key in ("auditor.key", "late.key"):
        done = audit(federation, key=str(tmp_path / key))
        assert (done.returncode, "round 1: 1 updates" in done.stdout) == (0, True), done.stderr
    without = audit(federation)
    assert without.returncode != 0
    assert without.stdout.count("Good") == done.stdout.count("Good")  # the signatures and digests hold for everybody
    update = federation.update("north", 1).artifacts[0]
    flip(federation.drop / update.key, update.stored_size // 2)
    assert audit(federation, key=str(tmp_path / "auditor.key")).returncode != 0


def test_a_masked_federation_holds_with_an_auditors_key(tmp_path: Path) -> None:
    """One of four sites drops out after the opening, so that pair masks are removed too."""
    auditor = auditor_key(AuditorKeyRequest(path=tmp_path / "auditor.key", name="city-audit"), Environment())
    named = Confidentiality(auditors=(Auditor(name="city-audit", public_key=auditor.public_key),))
    folders = prepared_data(tmp_path / "data", MASKED)
    plan = replace(MASKED, rounds=1, confidentiality=named)
    federation = begun_masked(tmp_path, dict(zip(FOUR, [*folders.values()] * 2, strict=True)), plan)
    federation.train()
    federation.aggregate()
    federation.train("coast", "north", "valley")
    federation.aggregate(harbour="its line is down")
    federation.train("coast", "north", "valley")
    federation.aggregate()
    done = audit(federation, key=str(tmp_path / "auditor.key"))
    assert (done.returncode, "round 1: 3 updates" in done.stdout) == (0, True), done.stderr
    rewrite(federation, layout.unmask("valley", 1), created="2026-11-24T09:00:00Z")
    assert audit(federation, key=str(tmp_path / "auditor.key")).returncode != 0


def test_another_fingerprint_is_not_the_coordinators(federation: Federation) -> None:
    assert audit(federation, "SHA256:" + "A" * 43).returncode != 0
    assert audit(federation, federation.fingerprint[:-1]).returncode != 0


def test_a_changed_byte_of_any_record_is_caught(federation: Federation) -> None:
    for path in records(federation):
        data = path.read_bytes()
        flip(path, len(data) // 2)
        assert audit(federation).returncode != 0, path
        path.write_bytes(data)
    assert audit(federation).returncode == 0


def test_a_changed_byte_of_any_signature_is_caught(federation: Federation) -> None:
    for record in records(federation):
        (path,) = record.parent.glob(f"{record.name}.*.sig")
        data = path.read_bytes()
        flip(path, 200)
        assert audit(federation).returncode != 0, path
        path.write_bytes(data)


def test_a_changed_byte_of_any_artifact_is_caught(federation: Federation) -> None:
    for path in sorted(federation.drop.rglob("*.safetensors")):
        data = path.read_bytes()
        flip(path, len(data) // 2)
        done = audit(federation)
        assert done.returncode != 0, path
        assert f"{path.relative_to(federation.drop)}: FAILED" in done.stdout
        path.write_bytes(data)


@pytest.mark.parametrize("number", [1, 2])
def test_a_wrong_model_that_its_coordinator_signed_is_caught(federation: Federation, number: int) -> None:
    """Signatures and digests are in order; only the arithmetic is not."""
    key = layout.round_record(number)
    model = federation.model(number)
    name = next(name for name in model if model[name].dtype == np.float32)
    model[name].reshape(-1)[0] = np.nextafter(model[name].reshape(-1)[0], np.float32(9))
    swap(federation, key, Role.MODEL, model)
    for later in range(number + 1, 3):
        shutil.rmtree(federation.drop / f"coordinator/round-{later:04d}")
    for path in federation.drop.glob("sites/*/evaluation/*"):
        path.unlink()
    done = audit(federation)
    assert done.returncode != 0
    assert f"round {number}: {name} is not what the updates give" in done.stderr


def test_another_update_than_the_round_used_is_caught(federation: Federation) -> None:
    rewrite(federation, layout.update("north", 1), seconds=1.5)
    done = audit(federation)
    assert done.returncode != 0
    assert "recompute.py" in done.stderr


def test_a_record_by_another_party_is_caught(federation: Federation) -> None:
    rewrite(federation, layout.update("north", 1), signer="valley")
    assert audit(federation).returncode != 0


def test_an_archived_federation_holds_once_the_tar_is_unpacked(federation: Federation) -> None:
    result = archive(
        ArchiveRequest(root=federation.coordinator, file=federation.root / "archive.tar", before=2), federation.environment
    )
    assert result.moved == 2
    missing = audit(federation)
    assert missing.returncode != 0
    assert "No such file" in missing.stderr
    subprocess.run(["tar", "-xf", federation.root / "archive.tar", "-C", federation.drop], check=True)
    done = audit(federation)
    assert done.returncode == 0, done.stderr
