"""A plan as people read it: every setting by its dotted key, with its value as text."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fedcli import wire
from fedcli.plan.confidentiality import Auditor
from fedcli.plan.plan import Plan, template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcli.plan import Preparation

_SECTION = re.compile(r"\[(\w+)\].*")
_SETTING = re.compile(r"(\w+) = .*?\s+# (?:\[(?:paper|ours)\]\s+)?(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChange:
    """A setting that differs between two plans; an empty text if it is in one of them only."""

    setting: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSetting:
    """A setting of a plan, as the template explains it.

    Attributes:
        setting: Its dotted key.
        value: Its value in the plan.
        default: Its value in a plan that does not state it.
        meaning: What the template says of it.
    """

    setting: str
    value: str
    default: str
    meaning: str

    @property
    def differs(self) -> bool:
        """Whether it departs from the default."""
        return self.value != self.default


def explained_settings(plan: Plan) -> tuple[PlanSetting, ...]:
    """Return all settings of a plan but its name, in the order of the template."""
    values, defaults, meanings = flat_settings(plan), flat_settings(Plan(name=plan.name)), _meanings()
    return tuple(
        PlanSetting(setting=key, value=value, default=defaults[key], meaning=meanings.get(key, ""))
        for key, value in values.items()
        if key != "name"
    )


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


def _meanings() -> dict[str, str]:
    """Return what the template says of each setting, by dotted key."""
    meanings, section = {}, ""
    for line in template().splitlines():
        if match := _SECTION.fullmatch(line):
            section = f"{match[1]}."
        elif match := _SETTING.fullmatch(line):
            meanings[section + match[1]] = match[2]
    return meanings


def _flatten(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flatten(f"{prefix}.{key}" if prefix else key, inner)
    elif isinstance(value, list):
        yield prefix, ", ".join(str(Auditor(**item)) if isinstance(item, dict) else str(item) for item in value) or "none"
    elif isinstance(value, bool):
        yield prefix, "yes" if value else "no"
    else:
        yield prefix, str(value) or "none"
