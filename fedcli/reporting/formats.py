"""How the report writes numbers, moments, lists of names and metrics, and the paper's words for a kappa (its section 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.measures import Metric
from fedcli.text.wording import duration, number_ranges

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

ABSENT = "–"
"""Printed where there is no value."""
_LONG = 1e7
"""Numbers from here on are written with an exponent."""
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def number(value: float | None, digits: int = 2) -> str:
    """Return a decimal number with a true minus sign and no negative zero."""
    if value is None:
        return ABSENT
    text = f"{value:.{digits}f}" if abs(value) < _LONG else f"{value:.3g}"
    if float(text) == 0:
        return text.removeprefix("-")
    return text.replace("-", "−")


def interval(bounds: tuple[float, float] | None) -> str:
    """Return `low to high`."""
    return ABSENT if bounds is None else f"{number(bounds[0])} to {number(bounds[1])}"


def p_value(value: float, permutations: int) -> str:
    """Return the p-value of a permutation test with its relation: `= 0.013`, or `≤ 0.0001` if no permutation was as extreme."""
    smallest = 1 / (permutations + 1)
    return f"≤ {smallest:.1g}" if value <= smallest else f"= {value:.2g}"


def percent(share: float | None) -> str:
    """Return a relative change in percent, always with a sign."""
    if share is None:
        return "undefined"
    text = number(share * 100, 1)
    return f"{text}\u00a0%" if text.startswith("−") else f"+{text}\u00a0%"


def compact(value: float) -> str:
    """Return a number with at most two decimals and no trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def count(value: int | None) -> str:
    """Return a count with a narrow no-break space between thousands."""
    return ABSENT if value is None else f"{value:,}".replace(",", "\u202f")


def size(num_bytes: int) -> str:
    """Return a number of bytes in a decimal unit, with one to three digits before the point."""
    value = float(num_bytes)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:  # noqa: PLR2004 - decimal units, as disks and networks are sold
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def hours(value: float | None) -> str:
    """Return a duration given in hours."""
    return ABSENT if value is None else duration(value * 3600)


def moment(value: datetime) -> str:
    """Return a moment to the minute, with its offset from UTC."""
    return f"{value:%Y-%m-%d %H:%M} {value.tzname() or 'UTC'}"


def capitalized(text: str) -> str:
    """Return a text with a capital first letter and the others as they are."""
    return text[:1].upper() + text[1:]


def names(items: Sequence[str]) -> str:
    """Return names as prose lists them: `a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else " and ".join(part for part in (", ".join(items[:-1]), *items[-1:]) if part)


def ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers with runs as ranges: `1 to 12, 15`."""
    return number_ranges(numbers) or ABSENT


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
