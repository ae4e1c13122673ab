"""fedcli: federated learning between hospitals through a drop folder."""

from __future__ import annotations

__version__ = "0.1.0"
