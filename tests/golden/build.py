"""Make a federation that lacks its last round, and pack it: `PYTHONPATH=OLDER_CHECKOUT python tests/golden/build.py ARCHIVE`.

The commands are those of whichever fedcli Python finds. Signing keys are not encrypted and protect nothing. The parties' folders
are packed without the archives of images; settings name the folder /golden, which whoever unpacks them replaces.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

NETWORK = Path(__file__).parent / "network"
KEY = "unencrypted-test-key"
SITES = ("north", "valley")
PLAN = """
name = "golden"
seed = 5
rounds = 3
[images]
size = 16
[split]
train = 0.5
validation = 0.25
test = 0.25
[network]
name = "tiny"
[training]
batch_size = 4
rate = 1e-2
statistics = "local"
optimizer_state = "keep"
[finetuning]
epochs = 1
[updates]
encoding = "int8"
packing = "zstd"
[aggregation]
rule = "adam"
server_rate = 0.01
[evaluation]
resamples = 100
permutations = 100
"""


def write_images(folder: Path, seed: int) -> None:
    """Write 16 patients of two images, the brighter the higher their class, and their labels."""
    generator = np.random.default_rng(seed)
    folder.mkdir()
    rows = ["file,patient,density"]
    for patient in range(16):
        for view in "ab":
            pixels = generator.integers(0, 64, (16, 16))
            pixels[: 4 + 3 * (patient % 4)] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"p{patient:02}{view}.png")
            rows.append(f"p{patient:02}{view}.png,p{patient:02},{'abcd'[patient % 4]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


def fedcli(*arguments: str | Path) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = f"{environment.get('PYTHONPATH', '')}:{NETWORK}"
    command = [sys.executable, "-m", "fedcli", *map(str, arguments), "--json"]
    return json.loads(
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, env=environment).stdout
    )


def build(root: Path) -> None:
    """Go through two rounds of three; in the third, valley's update is held for a person, and north has not trained."""
    drop, coordinator = root / "drop", root / "coordinator"
    for party in ("coordinator", *SITES):
        (root / party).mkdir()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", KEY, "-f", root / party / KEY], check=True)
    (root / "plan.toml").write_text(PLAN)
    begun = fedcli("init", "-C", coordinator, "--plan", root / "plan.toml", "--drop", drop, "--key", coordinator / KEY)
    for number, site in enumerate(SITES):
        write_images(root / "images" / site, number)
        joined = fedcli(
            "join", site, "-C", root / site, "--drop", drop, "--key", root / site / KEY, "--threads", "1",
            "--coordinator-key", begun["coordinator"], "--approve-plan", begun["plan"], "--share-dataset", "--share-models",
        )  # fmt: skip
        fedcli("admit", site, "-C", coordinator, "--fingerprint", joined["fingerprint"])
        fedcli("prepare", root / "images" / site, "--labels", root / "images" / site / "labels.csv", "-C", root / site)
    for _ in range(2):
        for site in SITES:
            fedcli("train-round", "-C", root / site)
        fedcli("aggregate", "-C", coordinator)
    fedcli("finetune", "-C", root / "valley", "--from", "initial")
    for site in SITES:
        fedcli("evaluate", "-C", root / site)
    rotated = fedcli("rotate-key", "-C", root / "north")
    fedcli("admit", "north", "-C", coordinator, "--fingerprint", rotated["fingerprint"])
    fedcli("train-round", "-C", root / "valley", "--review")


def main() -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder) / "golden"
        (root / "images").mkdir(parents=True)
        build(root)
        for settings in root.glob("*/workspace.toml"):
            settings.write_text(settings.read_text().replace(str(root), "/golden"))
        with tarfile.open(sys.argv[1], "w:xz") as archive:
            for party in ("drop", "coordinator", *SITES):
                archive.add(root / party, party)


if __name__ == "__main__":
    main()
