"""An update that is about to be published, as its operator sees it: the record in words, norms by layer group, every file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.cli import render
from fedcli.cli.questions import confirm

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.exchange.records import UpdateRecord, ValidationScore
    from fedcli.site.egress import Egress


def ask(egress: Egress) -> bool:
    """Show an update on stderr, and ask whether it may be published."""
    _, err = render.consoles()
    show(err, egress)
    return confirm("Publish this?")


def show(console: Console, egress: Egress) -> None:
    """Print what is about to be published."""
    record = egress.record
    render.print_table(
        console, f"About to be published by {record.party}: its update of round {record.round}", ("what", "value"), _words(record)
    )
    norms = [(item.group, f"{item.values:,}", f"{item.norm:.3g}", f"{item.largest:.3g}") for item in egress.groups]
    render.print_table(console, "Weight differences by layer group", ("layers", "values", "norm", "largest"), norms)
    files = [(key, f"{size:,}") for key, _, size in egress.files]
    total = sum(size for _, _, size in egress.files)
    render.print_table(console, f"Files, {total:,} bytes in total", ("key in the drop folder", "bytes"), files)
    for key, path, _ in egress.files:
        if key.endswith(".json"):
            render.print_line(console, f"{key}, word for word: {path}")
    render.print_line(console, "Models are not among them: fedcli evaluate sends them if share_models is true.")


def _words(record: UpdateRecord) -> list[tuple[str, str]]:
    """Return everything that an update's record says about the site's data and machine."""
    versions = record.versions
    artifact = record.artifacts[0]
    return [
        ("steps of training", str(record.steps)),
        ("training images, patients", "withheld" if record.images is None else f"{record.images}, {record.patients}"),
        ("received model on validation patients", _score(record.received)),
        ("own model on validation patients", _score(record.trained)),
        ("training loss", "withheld" if record.training_loss is None else f"{record.training_loss:.4g}"),
        ("norm of the difference", "withheld" if record.norm is None else f"{record.norm:.4g}"),
        ("cost to training patients", _cost(record)),
        ("numbers, file", f"{artifact.encoding}, {'not packed' if artifact.packing == 'none' else artifact.packing}"),
        ("data set record", "none" if record.dataset is None else record.dataset[:12]),
        (
            "made",
            f"{record.created:%Y-%m-%d %H:%M:%S} UTC{'' if record.seconds is None else f', {record.seconds:g} s of training'}",
        ),
        ("machine", f"{record.device}, {record.threads} threads"),
        ("software", f"fedcli {versions.fedcli}, Python {versions.python}, numpy {versions.numpy}, torch {versions.torch}"),
        ("plan, round before", f"{record.plan[:12]}, {record.parent[:12]}"),
    ]


def _cost(record: UpdateRecord) -> str:
    claim = record.privacy
    if claim is None:
        return "not bounded: the plan promises no privacy"
    return f"epsilon {claim.epsilon_before:.3g} before, {claim.epsilon:.3g} with it, at delta {claim.delta:g}"


def _score(score: ValidationScore) -> str:
    if not score.patients:
        return "no validation patients"
    if score.loss is None:
        return f"kappa {'withheld' if score.kappa is None else f'{score.kappa:.1f}'}, loss withheld, {score.patients} patients"
    return f"kappa {render.kappa(score.kappa)}, loss {score.loss:.4g}, {score.patients} patients"
