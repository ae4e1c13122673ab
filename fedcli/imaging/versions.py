"""The versions of the packages that determine the bytes of a prepared image."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("fedcli", "imagecodecs", "numpy", "opencv-python-headless", "pillow", "pydicom", "pylibjpeg-openjpeg", "python-gdcm")


def versions() -> dict[str, str]:
    """Return the version of each package, '' where it is missing."""
    return {name: _version(name) for name in _PACKAGES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
