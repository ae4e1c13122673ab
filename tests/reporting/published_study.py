"""The published study as fedcli would have recorded it: its own Table 1 and Table 2.

What the study does not print is made up, so that the report has something to show: the values of its Fig. 3 to 5, learning
curves, norms, intervals, all other metrics, and the paired comparisons. `python -m tests.reporting.published_study FOLDER` writes
the report.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from fedcli.cohort import Rejection
from fedcli.exchange.history import History, reference_to
from fedcli.exchange.records import SHARED_KINDS, ModelKind, TestScore
from fedcli.imaging.phantoms.seven_hospitals import CLASS_SHARES
from fedcli.plan import Plan
from fedcli.reporting.report_files import write_report
from tests.fixtures.history import HandmadeHistory
from tests.fixtures.records import cohort, compare, score

MADE_UP_CHANCE = 0.04
DENSENET_BYTES = 28_139_520
"""Of a model of the paper's network, and of a delta."""
CLIENTS = tuple(f"client{number}" for number in range(1, 8))

# The published study's Table 2: rows trained at, columns tested at.
PAPER_LOCAL = (
    (0.62, 0.59, 0.44, 0.02, 0.02, -0.01, 0.04),
    (0.15, 0.56, 0.02, -0.01, -0.00, 0.00, -0.01),
    (0.19, 0.01, 0.64, 0.02, 0.07, 0.00, 0.05),
    (0.11, 0.02, -0.00, 0.63, 0.52, 0.61, 0.50),
    (-0.00, -0.01, -0.03, 0.54, 0.62, 0.65, 0.31),
    (0.01, 0.11, -0.02, 0.49, 0.59, 0.71, 0.32),
    (0.03, 0.05, -0.05, 0.40, 0.37, 0.46, 0.69),
)
PAPER_FEDERATED = (
    (0.62, 0.62, 0.48, 0.15, 0.23, 0.24, 0.11),
    (0.22, 0.65, 0.11, 0.04, 0.00, 0.00, -0.01),
    (0.41, 0.17, 0.63, 0.07, -0.00, 0.01, -0.01),
    (0.06, 0.48, -0.02, 0.69, 0.57, 0.65, 0.52),
    (0.24, 0.13, 0.02, 0.64, 0.62, 0.69, 0.52),
    (0.23, 0.01, -0.00, 0.53, 0.68, 0.76, 0.31),
    (0.10, 0.21, 0.13, 0.55, 0.44, 0.52, 0.77),
)
PAPER_GLOBAL = (0.51, 0.52, 0.49, 0.31, 0.4852, 0.31, 0.0893)
# Its Fig. 5 prints no numbers: fine-tuning helps all but one client.
FINETUNED_GAIN = (0.02, 0.01, 0.03, 0.02, 0.03, -0.01, 0.02)
# Its Table 1: megapixels, detectors, image types, bits, images of the three parts.
PAPER_DATASETS = (
    ((23.04, 23.04), ("DIRECT",), ("2D",), (12,), (22933, 3366, 6534)),
    ((0.02, 4.39), ("DIRECT",), ("2D",), (12,), (8365, 1216, 2568)),
    ((4.39, 13.63), ("DIRECT",), ("2D",), (14,), (44115, 6336, 12676)),
    ((4.0, 28.0), ("DIRECT", "SCINTILLATOR"), ("2D",), (12,), (7219, 1030, 2069)),
    ((8.48, 13.63), ("DIRECT",), ("2D",), (12,), (6023, 983, 1822)),
    ((8.6, 13.63), ("DIRECT",), ("2D",), (12,), (6874, 853, 1727)),
    ((1.0, 136.0), ("DIRECT", "SCINTILLATOR"), ("2D", "tomosynthesis"), (10, 12), (4021, 664, 1288)),
)


def paper_history(rounds: int = 3) -> History:
    """Return the published study as fedcli would have recorded it, with fewer rounds."""
    build = HandmadeHistory(CLIENTS, Plan(name="breast-density", rounds=rounds), stated_bytes=DENSENET_BYTES)
    generator = random.Random(1)
    build.round()
    for number in range(1, rounds + 1):
        for index, site in enumerate(CLIENTS):
            gain = 1 - 0.94 ** (number * 30 / rounds)
            trained = PAPER_FEDERATED[index][index] * gain + generator.gauss(0, 0.02)
            received = PAPER_GLOBAL[index] * gain + generator.gauss(0, 0.03)
            loss = 0.55 + 0.8 * (1 - gain) + generator.random() * 0.05
            build.update(
                site, number, round(received, 4), round(trained, 4), training_loss=loss, norm=0.4 + 2 * (1 - gain),
                seconds=300.0 + 60 * index,
            )  # fmt: skip
        build.round(cosines={site: round(0.35 + 0.5 * (1 - gain) + generator.gauss(0, 0.04), 6) for site in CLIENTS})
    for index, site in enumerate(CLIENTS):
        megapixels, detectors, image_types, bits, images = PAPER_DATASETS[index]
        facts = cohort(
            megapixels=megapixels, detectors=detectors, image_types=image_types, bits=bits, images=images,
            shares=CLASS_SHARES[index], peak=0.25 + 0.06 * index,
            rejections=(Rejection(reason="no density in the label table", files=37 * index),) if index else (),
        )  # fmt: skip
        build.dataset(site, facts)
        for kind in SHARED_KINDS:
            build.model(site, kind)
    for tested, site in enumerate(CLIENTS):
        local, federated, finetuned = (build.history.models[site, kind] for kind in SHARED_KINDS)
        patients = PAPER_DATASETS[tested][4][2] // 4
        gain = round(PAPER_FEDERATED[tested][tested] - PAPER_LOCAL[tested][tested], 2)
        compared = (
            compare(federated, local, gain, 0.3 if abs(gain) < MADE_UP_CHANCE else 0.0002, patients),
            compare(finetuned, federated, FINETUNED_GAIN[tested], 0.2, patients),
        )
        build.evaluation(site, list(_paper_scores(build, tested)), PAPER_GLOBAL[tested], compared)
    return build.history


def _paper_scores(build: HandmadeHistory, tested: int) -> list[TestScore]:
    history = build.history
    patients = PAPER_DATASETS[tested][4][2] // 4
    scores = [score(reference_to(history.rounds[-1]), PAPER_GLOBAL[tested], patients)]
    for trained, site in enumerate(CLIENTS):
        federated = PAPER_FEDERATED[trained][tested]
        kappas = {
            ModelKind.LOCAL: PAPER_LOCAL[trained][tested],
            ModelKind.FEDERATED: federated,
            ModelKind.FINETUNED: federated + FINETUNED_GAIN[tested] * (trained == tested),
        }
        scores += [score(reference_to(history.models[site, kind]), kappa, patients) for kind, kappa in kappas.items()]
    return scores


if __name__ == "__main__":
    write_report(paper_history(rounds=30), "made from the study's printed tables: there is nothing to verify", Path(sys.argv[1]))
