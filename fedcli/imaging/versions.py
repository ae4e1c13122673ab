"""The versions of what decides the bytes of a prepared image: what was prepared by others is not taken for the same."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

_DECIDING = ("fedcli", "imagecodecs", "numpy", "opencv-python-headless", "pillow", "pydicom", "pylibjpeg-openjpeg", "python-gdcm")


def versions() -> dict[str, str]:
    """Return the version of each package, '' where it is missing."""
    return {name: _version(name) for name in _DECIDING}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
