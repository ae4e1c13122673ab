"""The environments of what fedcli is compared with: each peer in a virtual environment of its own, under `.bench`, made once.

    python benchmarks/peers.py        makes those that are missing; a peer that cannot be installed is named, with pip's reason

`BENCH_TORCH` names another build of torch for NVFlare and MONAI: the one below needs no GPU, and not every index has it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / ".bench"
PEERS = {
    "flwr": ("flwr==1.41.0",),
    "nvflare": ("nvflare==2.9.0",),
    "nvflare-torch": ("nvflare==2.9.0", os.environ.get("BENCH_TORCH", "torch==2.13.0+cpu")),
    "prepare": (
        "monai==1.6.1",
        os.environ.get("BENCH_TORCH", "torch==2.13.0+cpu"),
        *(f"{name}=={version(name)}" for name in ("pydicom", "python-gdcm", "pylibjpeg", "pylibjpeg-openjpeg")),
        "scikit-image==0.26.0",
    ),
}
_ALSO = tuple(f"{name}=={version(name)}" for name in ("numpy", "safetensors"))  # the same for everybody


def python_of(peer: str) -> Path | None:
    """Return a peer's interpreter, or None where its environment was not made."""
    path = FOLDER / peer / "bin" / "python"
    return path if (FOLDER / peer / "installed").is_file() else None


def gap(peer: str) -> str:
    """Return in a line why a peer is not there."""
    log = FOLDER / f"{peer}.log"
    lines = [line for line in log.read_text().splitlines() if line.startswith("ERROR")] if log.is_file() else []
    return (
        f"{peer} ({', '.join(PEERS[peer])}) is not installed: {lines[0] if lines else 'python benchmarks/peers.py was not run'}"
    )


def install(peer: str) -> None:
    """Make a peer's environment if it is not there; what pip says is kept beside it."""
    if python_of(peer) is not None:
        return
    root = FOLDER / peer
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(root)], check=True)
    with (FOLDER / f"{peer}.log").open("w") as log:
        command = [str(root / "bin" / "python"), "-m", "pip", "install", "--quiet", *PEERS[peer], *_ALSO]
        done = subprocess.run(command, check=False, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode == 0:
        (root / "installed").touch()


def main() -> None:
    """Make every environment that is missing, and say what is there."""
    FOLDER.mkdir(exist_ok=True)
    for peer, requirements in PEERS.items():
        install(peer)
        print(f"{peer}: {', '.join(requirements)}" if python_of(peer) else gap(peer), flush=True)


if __name__ == "__main__":
    main()
