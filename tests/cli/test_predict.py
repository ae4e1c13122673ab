"""`fedcli predict` as a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fixtures.command import run, succeed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.federation import Federation


def test_json_keys_are_stable_and_a_stranger_is_refused(finished: Federation, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    found = succeed("predict", "-C", finished.site("north"), "--out", out)
    assert list(found) == [
        "command", "status", "message", "out", "provenance", "model", "cases", "images", "left_out", "classes", "class_cases",
        "page", "uncertain", "unpredicted",
    ]  # fmt: skip
    assert list(found["model"]) == ["kind", "party", "round", "record", "content_sha256"]
    assert sum(found["class_cases"]) == found["cases"] == len(out.read_text().splitlines()) - 1
    stranger = tmp_path / "model.safetensors"
    stranger.write_bytes(b"x" * 100)
    refused = run("predict", "-C", finished.site("north"), "--out", tmp_path / "q.csv", "--model", stranger)
    assert refused.returncode == 6
    assert "is not the digest of a model in" in refused.stderr
    assert not (tmp_path / "q.csv").exists()
