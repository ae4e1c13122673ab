"""What an operator sees before approving a plan."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from fedcli.cli import plan_view
from fedcli.plan import About, Plan
from fedcli.plan.settings import explained_settings, plan_changes

PLAN = Plan(name="pilot", rounds=20)


def shown(plan: Plan, before: Plan | None = None) -> str:
    console = Console(file=io.StringIO(), width=160)
    plan_view.show(console, "Plan", plan, plan_changes(before, plan))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def settings_in(table: str) -> list[str]:
    return [line.split("│")[1].strip() for line in table.splitlines() if line.startswith("│")]


def test_what_departs_from_the_defaults_comes_first_and_is_explained() -> None:
    text = shown(replace(PLAN, training=replace(PLAN.training, rate=0.5), about=About(contact="someone@hospital.example")))
    unusual, _, usual = text.partition("Settings at their defaults")
    assert settings_in(unusual) == ["rounds", "training.rate", "about.contact"]
    assert "0.5" in unusual
    assert "Adam's initial learning rate" in unusual
    assert "someone@hospital.example" in unusual
    assert "training.rate_decay" in settings_in(usual)
    assert "training.rate" not in settings_in(usual)


def test_a_plan_of_defaults_has_nothing_unusual() -> None:
    assert "defaults" not in shown(Plan(name="pilot"))


def test_every_setting_is_explained() -> None:
    assert [item.setting for item in explained_settings(PLAN) if not item.meaning] == []


def test_a_changed_plan_shows_the_changes_only() -> None:
    text = shown(replace(PLAN, rounds=30), PLAN)
    (row,) = [line.split("│") for line in text.splitlines() if line.startswith("│")]
    assert [cell.strip() for cell in row[1:5]] == ["rounds", "20", "30", "1 to 9999; T of Algorithm 1"]
