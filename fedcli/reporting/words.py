"""The report's words for metrics, and the paper's for a kappa (its section 2, Evaluation Metric)."""

from __future__ import annotations

from fedcli.measures import Metric

METRIC_WORDS = {
    Metric.KAPPA: "linear kappa",
    Metric.QUADRATIC_KAPPA: "quadratic kappa",
    Metric.ACCURACY: "accuracy",
    Metric.BALANCED_ACCURACY: "balanced accuracy",
    Metric.MACRO_AUC: "macro AUC",
    Metric.DENSE_AUC: "dense AUC",
    Metric.CALIBRATION_ERROR: "calibration error",
}
_AGREEMENT = ((0.0, "none"), (0.2, "slight"), (0.4, "fair"), (0.6, "moderate"), (0.8, "substantial"))


def agreement(kappa: float | None) -> str:
    """Return the word for a kappa as printed, with two decimals; empty where the kappa is undefined.

    Zero or lower is none, up to 0.20 slight, 0.21 to 0.40 fair, 0.41 to 0.60 moderate, 0.61 to 0.80 substantial, above very good.
    """
    if kappa is None:
        return ""
    printed = round(kappa, 2)
    return next((word for highest, word in _AGREEMENT if printed <= highest), "very good")
