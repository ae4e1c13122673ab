"""Run one contender in its own process and print what it took, as JSON: `python _measure.py CONTENDER JOB`.

A contender is a file beside this one with `work(base, updates, target)`: φ(t-1)'s file, the updates' files with their weights,
and the new file for φ(t). It may return the seconds of a part of its work, which are printed as `core`. `flushed` is when φ(t)
has reached the disk, which only fedcli waits for by itself.
"""

import json
import os
import re
import runpy
import sys
import time
from pathlib import Path


def main() -> None:
    """Import the contender, run it once, and measure."""
    work = runpy.run_path(str(Path(__file__).with_name(f"{sys.argv[1]}.py")))["work"]
    base, updates, target = json.loads(Path(sys.argv[2]).read_text())
    started = time.perf_counter()
    core = work(base, updates, target)
    seconds = time.perf_counter() - started
    if Path(target).exists():
        with Path(target).open("rb") as file:
            os.fsync(file.fileno())
    flushed = time.perf_counter() - started
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
    print(json.dumps({"seconds": seconds, "flushed": flushed, "core": core, "peak": peak}))


if __name__ == "__main__":
    main()
