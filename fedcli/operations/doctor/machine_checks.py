"""Checks of this machine: what it can decode, and what it trains on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.imaging.dicom import syntaxes

if TYPE_CHECKING:
    from fedcli.operations.doctor.findings import Examination
    from fedcli.workspace import Workspace


def decoders(exam: Examination) -> None:
    """Check which transfer syntaxes of mammography can be decoded."""
    with exam.check("decoders", "install pydicom again") as check:
        decodable = syntaxes.decodable()
        missing = [syntax for syntax, decoded in decodable.items() if not decoded]
        summary = f"decoded here: {', '.join(syntax.title for syntax, decoded in decodable.items() if decoded)}"
        if missing:
            packages = dict.fromkeys(syntax.package for syntax in missing)
            titles = ", ".join(syntax.title for syntax in missing)
            check.warn(
                f"not decoded here: {titles}; {summary}", f"if the archive has such files: pip install {' '.join(packages)}"
            )
        else:
            check.ok(summary)


def torch(exam: Examination, workspace: Workspace | None) -> None:
    """Check PyTorch, the device that the settings name, and the GPU."""
    import torch as library  # noqa: PLC0415 - takes seconds

    from fedcli.site.learner import choose_device  # noqa: PLC0415 - imports torch

    wanted = workspace.settings.device if workspace else "auto"
    threads = (workspace.settings.threads if workspace else 0) or library.get_num_threads()
    with exam.check("PyTorch", "set `device` in workspace.toml to auto or cpu") as check:
        device = choose_device(wanted)
        check.ok(f"{library.__version__}, trains on {device}, {threads} threads")
    with exam.check("GPU", "update the driver, or PyTorch") as check:
        if not library.cuda.is_available():
            check.skip("none that PyTorch can use: training uses the CPU")
        else:
            properties = [library.cuda.get_device_properties(number) for number in range(library.cuda.device_count())]
            check.ok(", ".join(f"{item.name} with {item.total_memory / 1e9:.0f} GB" for item in properties))
