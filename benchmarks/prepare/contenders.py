"""One contender reads mammograms: seconds for each file, from the file to 224 × 224 in [0, 1], and its peak memory.

    python contenders.py NAME wall|cpu FILE...        prints one JSON object

Each runs in its own interpreter (`.bench/prepare` for those that fedcli is compared with), and once before it is timed.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 224
RUNS = 3
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def fedcli() -> Callable[[Path], object]:
    """Read a file as `prepare` does: the whole task of a worker process."""
    from fedcli.imaging.archive.file_result import read_file  # noqa: PLC0415
    from fedcli.plan import Images  # noqa: PLC0415

    def work(path: Path) -> object:
        result = read_file(path.name, folder=path.parent, images=Images(size=SIZE))
        assert result.reason is None, result.reason
        return result

    return work


def decoding() -> Callable[[Path], object]:
    """Only decode: a lower bound for fedcli."""
    from fedcli.imaging.dicom import reader  # noqa: PLC0415
    from fedcli.plan import Images  # noqa: PLC0415

    images = Images()
    return lambda path: reader.read(path, images)


def reading() -> Callable[[Path], object]:
    """Only read the bytes: a lower bound for all."""
    return Path.read_bytes


def skimage() -> Callable[[Path], object]:
    """Use pydicom and scikit-image, with the decoders that pydicom finds."""
    import numpy as np  # noqa: PLC0415
    import pydicom  # noqa: PLC0415
    from skimage.transform import resize  # noqa: PLC0415

    def work(path: Path) -> object:
        pixels = pydicom.dcmread(path).pixel_array.astype(np.float64)
        pixels = (pixels - pixels.min()) / np.ptp(pixels)
        return resize(pixels, (SIZE, SIZE), anti_aliasing=True)

    return work


def monai() -> Callable[[Path], object]:
    """MONAI's transforms, as its tutorials put them together."""
    from monai.transforms import Compose, LoadImage, Resize, ScaleIntensity  # noqa: PLC0415

    transforms = [
        LoadImage(image_only=True, ensure_channel_first=True, reader="PydicomReader"),
        ScaleIntensity(),
        Resize((SIZE, SIZE), anti_aliasing=True),
    ]
    return Compose(transforms)  # type: ignore[no-any-return]


CONTENDERS = {"fedcli": fedcli, "decoding": decoding, "reading": reading, "skimage": skimage, "monai": monai}


def main() -> None:
    """Print the median time of every file."""
    work, clock = CONTENDERS[sys.argv[1]](), CLOCKS[sys.argv[2]]
    seconds = {}
    work(Path(sys.argv[3]))
    for name in sys.argv[3:]:
        path = Path(name)
        runs = []
        for _ in range(RUNS):
            began = clock()
            work(path)
            runs.append(clock() - began)
        seconds[path.name] = sorted(runs)[RUNS // 2]
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}))


def peak_mb() -> float:
    """Return this program's own peak: getrusage would include that of the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.split("VmHWM:")[1].split()[0]) / 1000


if __name__ == "__main__":
    main()
