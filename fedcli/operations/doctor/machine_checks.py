"""This machine under examination: what it can decode, and what it trains on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.imaging.dicom import syntaxes

if TYPE_CHECKING:
    from fedcli.operations.doctor.findings import Examination
    from fedcli.workspace import Workspace


def decoders(exam: Examination) -> None:
    """Look which transfer syntaxes of mammography can be decoded."""
    with exam.line("decoders", "install pydicom again") as line:
        found = syntaxes.decodable()
        missing = [syntax for syntax, decoded in found.items() if not decoded]
        told = f"decoded here: {', '.join(syntax.title for syntax, decoded in found.items() if decoded)}"
        if missing:
            packages = dict.fromkeys(syntax.package for syntax in missing)
            titles = ", ".join(syntax.title for syntax in missing)
            line.warn(
                f"not decoded here: {titles}; {told}", f"where the archive has such files: pip install {' '.join(packages)}"
            )
        else:
            line.ok(told)


def torch(exam: Examination, workspace: Workspace | None) -> None:
    """Look at PyTorch, the device that the settings name, and the GPU."""
    import torch as library  # noqa: PLC0415 - takes seconds

    from fedcli.site.learner import choose_device  # noqa: PLC0415 - imports torch

    wanted = workspace.settings.device if workspace else "auto"
    threads = (workspace.settings.threads if workspace else 0) or library.get_num_threads()
    with exam.line("PyTorch", "set `device` in workspace.toml to auto or cpu") as line:
        device = choose_device(wanted)
        line.ok(f"{library.__version__}, trains on {device}, {threads} threads")
    with exam.line("GPU", "update the driver, or PyTorch") as line:
        if not library.cuda.is_available():
            line.skip("none that PyTorch can use: training takes the CPU")
        else:
            facts = [library.cuda.get_device_properties(number) for number in range(library.cuda.device_count())]
            line.ok(", ".join(f"{fact.name} with {fact.total_memory / 1e9:.0f} GB" for fact in facts))
