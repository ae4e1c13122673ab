"""A plan as people read it: every setting by its dotted key, with its value as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedcli import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcli.plan import Plan, Preparation


def flat_settings(plan: Plan | Preparation) -> dict[str, str]:
    """Return the settings of a plan, or of its preparation, by dotted key in the plan's order: `training.rate` is `0.001`."""
    return dict(_flatten("", wire.plain(plan)))


def _flatten(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flatten(f"{prefix}.{key}" if prefix else key, inner)
    elif isinstance(value, list):
        yield prefix, ", ".join(map(str, value)) or "none"
    elif isinstance(value, bool):
        yield prefix, "yes" if value else "no"
    else:
        yield prefix, str(value)
