"""A plan as people read it: every setting by its dotted key, with its value as text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fedcli import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcli.plan import Plan, Preparation


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChange:
    """A setting that differs between two plans; an empty text if it is in one of them only."""

    setting: str
    before: str
    after: str


def flat_settings(plan: Plan | Preparation) -> dict[str, str]:
    """Return all settings of a plan, or of its preparation, by dotted key in the plan's order: `training.rate` is `0.001`."""
    return dict(_flatten("", wire.plain(asdict(plan))))


def plan_changes(before: Plan | None, after: Plan) -> tuple[PlanChange, ...]:
    """Return every setting that differs between two plans, sorted by key; every setting if there is no plan before."""
    old, new = flat_settings(before) if before else {}, flat_settings(after)
    return tuple(
        PlanChange(setting=key, before=old.get(key, ""), after=new.get(key, ""))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    )


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
