"""The paper's words for a kappa (its section 2, Evaluation Metric)."""

from __future__ import annotations

_WORDS = ((0.0, "none"), (0.2, "slight"), (0.4, "fair"), (0.6, "moderate"), (0.8, "substantial"))


def agreement(kappa: float | None) -> str:
    """Return the word for a kappa as it is printed, with two decimals; empty where the kappa is undefined.

    Zero or lower is none, up to 0.20 slight, 0.21 to 0.40 fair, 0.41 to 0.60 moderate, 0.61 to 0.80 substantial, above very good.
    """
    if kappa is None:
        return ""
    printed = round(kappa, 2)
    return next((word for highest, word in _WORDS if printed <= highest), "very good")
