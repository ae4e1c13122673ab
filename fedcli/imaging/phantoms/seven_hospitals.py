"""The seven clients of the published study as phantoms, from its Table 1, Fig. 3 and Fig. 4.

| | paper | here |
|---|---|---|
| resolution | 0.02 to 136 megapixels | sides a twentieth as long, of at least 64 and at most 270 rows |
| detector, 2-D or tomosynthesis, bits | Table 1 | the same; two systems where it names two kinds or a range of sizes |
| images | 4,021 to 44,115 for training | in the same proportions, `patients` of them, four images each |
| class mix | Fig. 3, which prints no numbers | guessed: most patients in b and c; client 7 almost without b |
| intensities | Fig. 4, likewise | two families with opposite automatic exposure: clients 1 to 3, and 4 to 7 |

In Table 2 (a) the models of clients 4 to 7 understand one another's images, and those of 1 to 3 in part their own group's.
"""

from __future__ import annotations

from dataclasses import replace

from fedcli.imaging.phantoms.hospitals import PLAIN_HOSPITALS, VARIATION, Hospital, Radiologist
from fedcli.imaging.phantoms.scanner import Detector, Photometric, Scanner

TRAINING_IMAGES = (22933, 8365, 44115, 7219, 6023, 6874, 4021)
"""Table 1."""
_IMAGES_PER_PATIENT, _TRAINING_SHARE = 4, 0.7
CLASS_SHARES = (
    (0.12, 0.44, 0.37, 0.07),
    (0.10, 0.42, 0.40, 0.08),
    (0.11, 0.46, 0.36, 0.07),
    (0.08, 0.38, 0.44, 0.10),
    (0.15, 0.35, 0.40, 0.10),
    (0.06, 0.40, 0.45, 0.09),
    (0.25, 0.01, 0.50, 0.24),
)
"""Guesses after Fig. 3, which prints no numbers."""
_HABITS = (0.0, 0.02, 0.0, -0.02, 0.03, 0.01, -0.03)
_NORTH, _HARBOUR, _VALLEY = (hospital.scanner for hospital in PLAIN_HOSPITALS)


def seven_hospitals(scale: float) -> tuple[Hospital, ...]:
    """Return the seven clients with `scale` times as many images as the study had; at least 20 patients each."""
    return tuple(
        Hospital(
            name=f"client{number}",
            scanner=scanners[0],
            other_scanner=scanners[1] if len(scanners) > 1 else None,
            class_mix=mix,
            num_patients=max(20, round(scale * images / _TRAINING_SHARE / _IMAGES_PER_PATIENT)),
            reader=Radiologist(habit=habit),
            variation=VARIATION,
        )
        for number, (scanners, mix, images, habit) in enumerate(
            zip(_scanners(), CLASS_SHARES, TRAINING_IMAGES, _HABITS, strict=True), 1
        )
    )


def _scanners() -> tuple[tuple[Scanner, ...], ...]:
    """Return the systems of clients 1 to 7."""
    dark, bright = replace(_HARBOUR, detector=Detector.DIRECT), _VALLEY
    return (
        (_sized(dark, "Client 1", 268, bits=12, sharpening=1.0),),
        (
            _sized(dark, "Client 2 old", 64, bits=12, photometric=Photometric.MONOCHROME2, noise=0.04),
            _sized(dark, "Client 2", 118, bits=12, noise=0.02),
        ),
        (_sized(dark, "Client 3", 160, bits=14, compensation=1.0), _sized(dark, "Client 3 large", 206, bits=14, blur=0.004)),
        (
            _sized(_NORTH, "Client 4", 112, bits=12, noise=0.02, blur=0.006),
            _sized(_NORTH, "Client 4 film", 270, bits=12, detector=Detector.SCINTILLATOR),
        ),
        (_sized(_NORTH, "Client 5", 164, bits=12, compensation=-0.5, sharpening=0.5),),
        (_sized(_NORTH, "Client 6", 164, bits=12, clears_air=True),),
        (
            _sized(bright, "Client 7", 64, bits=10, detector=Detector.SCINTILLATOR),
            _sized(_NORTH, "Client 7 volume", 112, bits=12, slices=5),
        ),
    )


def _sized(scanner: Scanner, model: str, rows: int, **changes: object) -> Scanner:
    """Return a system with so many rows, four fifths as many columns, and other changes."""
    return replace(scanner, model=model, rows=rows, columns=round(0.8 * rows), **changes)  # type: ignore[arg-type]
