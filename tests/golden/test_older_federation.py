"""A drop folder and workspaces made by an older fedcli: they verify, and every party goes on where it was.

The archive's name has the commit; `build.py` made it. In it are server state, packed int8 updates, BatchNorm layers and optimizer
state that stay at the sites, a rotated key, shared models, evaluations, and an update that is held in an outbox.
"""

from __future__ import annotations

import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.train_round import TrainRoundRequest, train_round
from tests.fixtures.federation import Clock, Federation

FOLDER = Path(__file__).parent
COORDINATOR = "SHA256:l5Hu6hRIKULclAyVb2bAY6z2Z2yh4KRXOALYUF5yGXU"


@pytest.fixture
def golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Federation:
    """Return the federation, two of whose three rounds are done; its sites' data are in their workspaces."""
    monkeypatch.syspath_prepend(FOLDER / "network")
    with tarfile.open(FOLDER / "federation-e209bb4.tar.xz") as archive:
        archive.extractall(tmp_path)  # noqa: S202 - our own archive; Python 3.11.2 knows no filter
    for settings in tmp_path.glob("*/workspace.toml"):
        settings.write_text(settings.read_text().replace("/golden/", f"{tmp_path}/"))
    sites = {site: tmp_path / site / "prepared" for site in ("north", "valley")}
    return Federation(root=tmp_path, prepared=sites, fingerprint=COORDINATOR, clock=Clock(datetime(2026, 12, 1, tzinfo=UTC)))


def test_it_verifies_and_goes_on(golden: Federation) -> None:
    before = golden.files()
    older = golden.verify()
    assert (older.verified, older.replayed, older.problems, older.unaccounted) == (True, 2, (), ())

    seen = golden.status("coordinator")
    assert (seen.round, seen.rounds, seen.open_round, seen.awaited, seen.problems) == (2, 3, 3, ("north", "valley"), ())
    assert [site.models for site in seen.sites] == [("federated",), ("federated", "local")]
    assert all(site.evaluated for site in seen.sites)

    (trained,) = golden.train("north")
    assert (trained.status, trained.round) == ("published", 3)
    held = train_round(
        TrainRoundRequest(root=golden.site("valley"), review=True, reviewer=lambda egress: egress.record.round == 3),
        golden.environment,
    )
    assert (held.status, held.steps) == ("published", None)  # what the older one has trained
    assert golden.aggregate().used == ("north", "valley")
    assert {result.status for result in golden.train()} == {"finished"}
    assert evaluate(EvaluateRequest(root=golden.site("north")), golden.environment).status == "published"

    newer = golden.verify()
    assert (newer.verified, newer.replayed, newer.problems, newer.unaccounted) == (True, 3, (), ())
    after = golden.files()
    assert {key: after[key] for key in before} == before
