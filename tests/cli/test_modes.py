"""Whatever the umask: a workspace and what is in it is for its owner only, and the drop folder is for whom its mode says."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from fedcli.imaging.phantoms import hospitals
from fedcli.operations.doctor import DoctorRequest, doctor
from fedcli.progress import Silent
from tests.fixtures.command import succeed
from tests.fixtures.federation import SITES, Federation

if TYPE_CHECKING:
    from pathlib import Path


def modes(folder: Path, since: float) -> dict[str, int]:
    """Return the modes of what has been made below a folder."""
    return {
        path.relative_to(folder).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in folder.rglob("*")
        if path.stat().st_ctime_ns >= since
    }


def test_a_workspace_is_for_its_owner_only(begun: Federation) -> None:
    root = begun.site("north")
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    for path in root.rglob("*"):  # made here without a command line, hence without its umask
        path.chmod(0o700 if path.is_dir() else 0o600)
    start = max(path.stat().st_ctime_ns for path in root.rglob("*")) + 1
    hospital = next(item for item in hospitals.PLAIN_HOSPITALS if item.name == "north")
    labels = hospitals.write(
        begun.root / "archive",
        hospitals.Hospital(name="north", scanner=hospital.scanner, class_mix=hospital.class_mix, num_patients=12),
        seed=1,
        progress=Silent(),
    )
    before = os.umask(0)
    try:
        succeed("train-round", "-C", root)
        begun.train(*(site for site in SITES if site != "north"))
        begun.aggregate()
        succeed("evaluate", "-C", root)
        succeed("prepare", "-C", root, labels.parent, "--labels", labels, "--out", begun.root / "images")
    finally:
        os.umask(before)
    made = modes(root, start)
    assert any(name.startswith("scores/") for name in made)
    assert any(name.startswith("state/") for name in made)
    assert {mode for name, mode in made.items() if (root / name).is_file()} == {0o600}
    assert {mode for name, mode in made.items() if (root / name).is_dir()} == {0o700}
    assert stat.S_IMODE((begun.root / "images").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (begun.root / "images").iterdir()} == {0o600}
    published = modes(begun.drop / "sites/north", start)
    assert published
    readable = begun.drop.stat().st_mode & 0o044
    assert all(mode & 0o044 == readable for mode in published.values())


def test_doctor_warns_of_a_workspace_that_others_can_look_into(begun: Federation) -> None:
    begun.site("north").chmod(0o755)
    findings = {item.name: item for item in doctor(DoctorRequest(root=begun.site("north")), begun.environment).findings}
    assert "mode 0755: other users of this machine can look into it" in findings["workspace"].found
    begun.site("north").chmod(0o700)
    findings = {item.name: item for item in doctor(DoctorRequest(root=begun.site("north")), begun.environment).findings}
    assert "look into it" not in findings["workspace"].found
