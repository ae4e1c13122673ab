"""Rehearse the published study: seven hospitals of phantoms train DenseNet-121 in federation.

    python run.py work [--full] [--rounds 2] [--scale 0.03] [--threads 2]

The first run writes and prepares the archives; after an interruption, the same command continues. `--full` also trains the
local-only baselines, fine-tunes, and scores every model at every hospital.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from fedcli import plan as plans
from fedcli.environment import Environment
from fedcli.imaging.phantoms.seven_hospitals import seven_hospitals
from fedcli.operations.demo import prepared_phantoms
from fedcli.operations.simulate import SimulateRequest, simulate
from fedcli.progress import Silent


class Printed(Silent):
    """Prints what the parties do."""

    def event(self, text: str) -> None:
        """Print one event."""
        print(text, flush=True)


def main() -> None:
    """Prepare all hospitals, and run the federation in the folder that the command names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--full", action="store_true", help="also baselines, fine-tuning, and every model at every hospital")
    parser.add_argument("--plan", type=Path, default=Path(__file__).with_name("plan.toml"))
    parser.add_argument("--rounds", type=int, help="instead of the plan's")
    parser.add_argument("--scale", type=float, default=0.03, help="images of a hospital, as a fraction of the study's")
    parser.add_argument("--threads", type=int, default=0, help="for training; 0: as many as PyTorch takes")
    arguments = parser.parse_args()
    plan, work = plans.load(arguments.plan), arguments.work
    plan = replace(plan, rounds=arguments.rounds or plan.rounds)
    environment = Environment(progress=Printed())
    sites = prepared_phantoms(work, seven_hospitals(arguments.scale), plan, environment)
    request = SimulateRequest(plan=plan, sites=sites, drop=work / "drop", threads=arguments.threads, full=arguments.full)
    result = simulate(request, environment)
    print(result.message)
    for mean in result.means:
        print(f"{mean.kind}: own patients {mean.diagonal:.3f}, others' patients {mean.off_diagonal:.3f}")
    print(f"The report: fedcli report -C {request.coordinator} --out {work / 'report'}")


if __name__ == "__main__":
    main()
