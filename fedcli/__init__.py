"""fedcli: federated learning between hospitals through a drop folder."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("fedcli")
