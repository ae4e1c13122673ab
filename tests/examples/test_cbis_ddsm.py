"""The walk-through of examples/cbis-ddsm, word by word: every ```sh line of its README, through the real command line.

Each line is a process of its own, in a copy of the folder, and its output is compared with the README's. `join` and `admit` are
answered as a person at a terminal would. When a line that is not site-b's occurs first, it runs once more at once, with `--json`,
and must change nothing in the drop folder.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from safetensors import SafetensorError, safe_open

from tests.docs import walkthrough
from tests.docs.walkthrough import shell_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "cbis-ddsm"
SITES = {"site-a": ("P_00173", "b"), "site-b": ("P_00820", "c")}
ARTIFACTS = 13
RECORDS = 27

STEPS = [
    ("init", "published"),
    ("join", "done"),
    ("join", None),
    ("admit", "done"),
    ("admit", None),
    ("prepare", "done"),
    ("prepare", None),
    ("status", "waiting"),
    ("train-round", "waiting"),
    ("train-round", None),
    ("aggregate", "waiting"),
    *2 * [("train-round", None)],
    ("aggregate", None),
    *2 * [("train-round", None)],
    ("evaluate", "waiting"),
    ("evaluate", None),
    *2 * [("finetune", "done")],
    *2 * [("finetune", None)],
    *3 * [("evaluate", None)],
    ("verify", "consistent"),
    ("verify", "verified"),
    ("report", "done"),
]
"""Each command of the README, and its status when it runs once more, where it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command with `--json` ended."""

    code: int
    result: dict[str, Any]
    printed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of the README, run and perhaps run again; `changed` is what the second run changed in the drop folder."""

    line: str
    again: Outcome | None
    changed: set[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The whole way: its folder, and every step of `fedcli` in order."""

    shell: walkthrough.Walk
    steps: list[Step] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.shell.folder

    @property
    def drop(self) -> Path:
        return self.root / "work" / "drop"

    def run(self, line: str) -> Outcome:
        """Run a command with `--json`; its object comes last."""
        step = self.shell.run(f"{line} --json")
        _, start, rest = step.printed.rpartition('{"command"')
        return Outcome(code=step.code, result=json.loads(start + rest) if start else {}, printed=step.printed)

    def go(self, line: str) -> walkthrough.Step:
        """Run a line, and again where it is new and not site-b's."""
        step = self.shell.run(line)
        assert step.code == 0, f"{line}\n{step.printed}"
        if line.startswith("fedcli "):
            before = snapshot(self.drop)
            known = "site-b" in line or any(step.line == line for step in self.steps)
            again = None if known else self.run(line)
            self.steps.append(Step(line=line, again=again, changed=before ^ snapshot(self.drop)))
        return step

    def record(self, key: str) -> dict[str, Any]:
        """Return a record of the drop folder."""
        record: dict[str, Any] = json.loads((self.drop / key).read_bytes())
        return record

    def result(self, command: str, number: int = 0) -> dict[str, Any]:
        """Return what a command said when it was run again."""
        return [step.again.result for step in self.steps if step.line.split()[1] == command and step.again][number]


def snapshot(folder: Path) -> set[str]:
    """Return every file's path, size and time of change."""
    files = [(path, path.stat()) for path in folder.rglob("*") if path.is_file()]
    return {f"{path.relative_to(folder)} {stat.st_size} {stat.st_mtime_ns}" for path, stat in files}


def files_below(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]


@pytest.fixture(scope="module")
def walk() -> Iterator[Walk]:
    with TemporaryDirectory() as root:
        for name in ("plan.toml", "make_archives.py"):
            shutil.copy(EXAMPLE / name, root)
        walk = Walk(shell=walkthrough.Walk(folder=Path(root)))
        for block in shell_blocks(EXAMPLE / "README.md"):
            if block.lines[0].startswith("ssh-keygen") and shutil.which("ssh-keygen") is None:
                continue
            walk.shell.check(block, [walk.go(line) for line in block.lines])
        yield walk


def test_every_step_run_again_tells_how_it_ended(walk: Walk) -> None:
    told = [(step.line.split()[1], step.again and step.again.result["status"]) for step in walk.steps]
    assert told == STEPS


def test_a_second_run_of_any_step_succeeds_and_publishes_nothing(walk: Walk) -> None:
    for step in walk.steps:
        if step.again is not None:
            assert (step.again.code, step.changed) == (0, set()), f"{step.line}\n{step.again.printed}"


def test_a_second_preparation_gives_the_same_data(walk: Walk) -> None:
    site = walk.root / "work" / "site-a"
    first = {path.name: path.read_bytes() for path in (site / "prepared").iterdir()}
    (line,) = (step.line for step in walk.steps if step.line.startswith("fedcli prepare") and step.again is not None)
    shutil.rmtree(site / "prepared")
    assert walk.run(line).result == walk.result("prepare")
    assert {path.name: path.read_bytes() for path in (site / "prepared").iterdir()} == first


@pytest.mark.parametrize("site", SITES)
def test_the_real_patient_trains_and_phantoms_validate_and_test(walk: Walk, site: str) -> None:
    prepared = walk.root / "work" / site / "prepared"
    with (prepared / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    parts = {part: [row for row in rows if row["part"] == part] for part in ("train", "validation", "test")}
    views = [(side, view) for side in "LR" for view in ("CC", "MLO")]
    assert sorted((row["laterality"], row["view"]) for row in parts["train"]) == views
    assert {row["class"] for row in parts["train"]} == {SITES[site][1]}
    patients = {part: {row["patient"] for row in rows} for part, rows in parts.items()}
    assert {part: len(names) for part, names in patients.items()} == {"train": 1, "validation": 4, "test": 4}
    assert len(set.union(*patients.values())) == 9
    for part in ("validation", "test"):
        assert sorted(row["class"] for row in parts[part]) == sorted(4 * "abcd")
    images = np.load(prepared / "images.npy", mmap_mode="r", allow_pickle=False)
    assert (images.shape, images.dtype) == ((36, 112, 112), np.uint16)
    for row in parts["train"]:
        assert np.ptp(images[int(row["row"])]) > 0.75 * 65535  # 12 megapixels to [0, 1], then averaged down


@pytest.mark.parametrize("site", SITES)
def test_each_update_is_two_steps_of_one_patient(walk: Walk, site: str) -> None:
    for number in (1, 2):
        record = json.loads((walk.drop / "sites" / site / f"round-{number:04d}" / "update.json").read_bytes())
        assert (record["steps"], record["images"], record["patients"]) == (2, 4, 1)
        assert record["norm"] > 0


def test_both_sites_are_in_both_rounds_of_densenet_121(walk: Walk) -> None:
    began = walk.result("init")
    assert (began["network"], began["values"] > 6_900_000) == ("densenet121", True)
    rounds = [walk.record(f"coordinator/round-{number:04d}/round.json") for number in (0, 1, 2)]
    for closed in rounds[1:]:
        assert [item["site"] for item in closed["contributions"]] == list(SITES)
        assert (closed["absent"], closed["rejected"]) == ([], [])
    assert len({closed["artifacts"][0]["content_sha256"] for closed in rounds}) == 3


def test_in_the_end_every_model_is_scored_on_every_sites_four_test_patients(walk: Walk) -> None:
    for site in SITES:
        evaluated = walk.run(f"fedcli evaluate -C work/{site}").result
        assert (evaluated["site"], evaluated["missing"]) == (site, [])
        scored = {(score["model"]["kind"], score["model"]["party"]) for score in evaluated["scores"]}
        kinds = ("local", "federated", "finetuned")
        assert scored == {(kind, party) for kind in kinds for party in SITES} | {("global", "coordinator")}
        counts = {(score["by_case"]["count"], score["by_image"]["count"]) for score in evaluated["scores"]}
        assert counts == {(4, 16)}


def test_no_identifier_reaches_the_drop_folder_the_logs_or_the_report(walk: Walk) -> None:
    work = walk.root / "work"
    forbidden = {"Mass-Test", "phantom-a", "phantom-b", *(patient for patient, _ in SITES.values())}
    for path in files_below(work / "archives"):
        if path.suffix == ".dcm":
            header = pydicom.dcmread(path, stop_before_pixels=True)
            forbidden |= {header.PatientID, header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID}
    assert len(forbidden) > 100
    pattern = re.compile("|".join(map(re.escape, sorted(forbidden))).encode())
    logs = [work / party / "fedcli.log" for party in ("coordinator", *SITES)]
    for path in (*files_below(walk.drop, work / "report"), *logs):
        assert not pattern.search(str(path.relative_to(walk.root)).encode())
        assert not pattern.search(path.read_bytes()), path


def test_verified_with_the_coordinators_key_and_only_consistent_without(walk: Walk) -> None:
    without, confirmed = walk.result("verify", 0), walk.result("verify", 1)
    assert (without["verified"], without["consistent"]) == (False, True)
    assert without["message"].startswith(f"consistent; coordinator {walk.result('init')['coordinator']} not confirmed")
    assert (confirmed["verified"], confirmed["consistent"], confirmed["problems"]) == (True, True, [])
    assert confirmed["message"].startswith("verified")
    for result, replayed, unopened in ((without, 0, ARTIFACTS), (confirmed, 2, 0)):
        assert (result["replayed"], result["records"], result["artifacts"]) == (replayed, RECORDS, ARTIFACTS)
        assert result["unopened"] == unopened
        assert result["unaccounted"] == []


@pytest.mark.parametrize("expected", ["--coordinator-key work/site-a/key.pub", "--expect-head 000000000000"])
def test_verify_fails_against_another_key_or_head(walk: Walk, expected: str) -> None:
    step = walk.run(f"fedcli verify work/drop {expected}")
    assert "verified" in step.result, step.printed
    assert (step.code, step.result["verified"], step.result["consistent"]) == (6, False, False)
    assert step.result["problems"]
    assert step.result["message"].startswith("NOT verified")


def test_openssh_accepts_every_records_signature(walk: Walk) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed (Debian: openssh-client)")
    records = sorted(walk.drop.rglob("*.json"))
    assert len(records) == RECORDS
    for record in records:
        top, site = record.relative_to(walk.drop).parts[:2]
        (signature,) = record.parent.glob(f"{record.name}.*.sig")
        command = ["ssh-keygen", "-Y", "verify", "-f", walk.root / "work" / "allowed_signers", "-n", "fedcli-record@v1"]
        party = top if top == "coordinator" else site
        with record.open("rb") as content:
            subprocess.run([*command, "-I", party, "-s", signature], stdin=content, capture_output=True, check=True)


def test_nobody_reads_weights_in_the_drop_folder(walk: Walk) -> None:
    artifacts = sorted(walk.drop.rglob("*.safetensors"))
    assert len(artifacts) == ARTIFACTS
    for path in artifacts:
        with pytest.raises(SafetensorError):
            safe_open(path, "numpy")


def test_there_is_no_pickle(walk: Walk) -> None:
    work = walk.root / "work"
    for path in files_below(walk.drop, *(work / party for party in ("coordinator", *SITES))):
        assert path.suffix not in {".pt", ".pth", ".pkl", ".pickle", ".npz"}, path
        if path.suffix == ".safetensors" and path.is_relative_to(walk.drop):
            continue  # sealed: any bytes
        with path.open("rb") as file:
            start = file.read(4)
        assert not re.match(rb"\x80[\x02-\x05]|PK\x03\x04", start), path  # protocols 2 to 5, and the archives of torch.save


def test_the_report_stands_on_the_verified_folder(walk: Walk) -> None:
    result = walk.result("report")
    assert (result["verified"], result["problems"]) == (True, [])
    page = (walk.root / result["page"]).read_text(encoding="utf-8")
    assert all(text in page for text in (*SITES, result["statement"].split()[0]))
    assert all((walk.root / name).is_file() for name in result["files"])


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("fedcli report work/nowhere --out work/other", 5),
        ("fedcli aggregate", 3),
        ("fedcli aggregate -C work/site-a", 3),
        ("fedcli aggregate -C work/coordinator --without site-a", 2),
        ("fedcli prepare work/nowhere -C work/site-a --labels work/archives/site-a/labels.csv", 4),
        ("fedcli admit site-a -C work/coordinator --fingerprint SHA256:other", 7),
        ("fedcli admit nobody -C work/coordinator", 2),
        ("fedcli join site-b -C work/other --drop work/drop --coordinator-key work/coordinator/key.pub", 3),
    ],
)
def test_what_cannot_work_ends_with_its_familys_exit_code(walk: Walk, line: str, code: int) -> None:
    before = snapshot(walk.drop)
    step = walk.run(line)
    assert (step.code, step.result["status"], step.result["exit_code"]) == (code, "error", code), step.printed
    assert snapshot(walk.drop) == before


def test_the_readme_does_not_promise_a_result() -> None:
    text = " ".join((EXAMPLE / "README.md").read_text(encoding="utf-8").split())
    assert all(said in text for said in ("not a result", "one training patient", "CC BY 3.0"))
