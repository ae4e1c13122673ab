"""What the ledger demands of a round under the plan's rule: the rule's name, enough updates, their weights, the artifacts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.plan import MAX_STEPS, Aggregation, Rule, Weights
from tests.fixtures.history import HandmadeHistory, complete_history
from tests.fixtures.records import PLAN
from tests.fixtures.signing import changed, changed_artifact

if TYPE_CHECKING:
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import RoundRecord


def under(**settings: Any) -> HandmadeHistory:
    """Return a history under a plan with these settings; its round 1 says what it would under the default ones."""
    return complete_history(replace(PLAN, aggregation=Aggregation(**settings)))


def close(history: HandmadeHistory, *, weights: tuple[int, int] = (15, 16), **values: Any) -> Verified[RoundRecord]:
    """Take round 1 with some values changed."""
    used = json.loads(history.rounds[1].data)["contributions"]
    used = [item | {"weight": weight} for item, weight in zip(used, weights, strict=True)]
    return history.ledger(1).add_round(changed(history.rounds[1], "coordinator", contributions=used, **values))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [(Weights.STEPS, (15, 16)), (Weights.IMAGES, (3200, 3200)), (Weights.PATIENTS, (80, 80)), (Weights.EQUAL, (1, 1))],
)
def test_a_weight_is_what_the_plan_says(weights: Weights, expected: tuple[int, int]) -> None:
    history = under(weights=weights)
    assert close(history, weights=expected).record.contributions[0].weight == expected[0]
    with pytest.raises(TrustError, match=f"weight of valley: expected {expected[1]}, found {expected[1] + 1}"):
        close(history, weights=(expected[0], expected[1] + 1))
    with pytest.raises(TrustError, match=f"weight of north: expected {expected[0]}, found 0"):
        close(history, weights=(0, expected[1]))


@pytest.mark.parametrize(("field", "weights"), [("images", Weights.IMAGES), ("patients", Weights.PATIENTS)])
@pytest.mark.parametrize("value", [0, MAX_STEPS + 1])
def test_an_update_that_would_have_no_weight_or_too_much_is_refused(field: str, weights: Weights, value: int) -> None:
    history = under(weights=weights)
    signed = changed(history.updates["north", 1], "north", **{field: value})
    with pytest.raises(TrustError, match=f"{value} {field}, expected 1 to {MAX_STEPS}"):
        history.ledger(1).update("north", 1, signed)


def test_the_rule_is_the_plans() -> None:
    history = under(rule=Rule.MEDIAN)
    assert close(history, rule="median").record.rule is Rule.MEDIAN
    with pytest.raises(TrustError, match="rule: expected median, found mean"):
        close(history)
    with pytest.raises(TrustError, match="rule: expected mean, found median"):
        history.ledger(0).add_round(changed(history.rounds[0], "coordinator", rule="median"))


def test_a_round_of_too_few_updates_for_its_rule_is_refused() -> None:
    with pytest.raises(TrustError, match="2 updates, expected at least 3 for trimmed-mean"):
        close(under(rule=Rule.TRIMMED_MEAN, trim=1), rule="trimmed-mean")
    assert close(under(rule=Rule.TRIMMED_MEAN, trim=0), rule="trimmed-mean")
    with pytest.raises(TrustError, match="2 updates, expected at least 3 for krum"):
        close(under(rule=Rule.KRUM, byzantine=0), rule="krum")


@pytest.mark.parametrize("rule", [Rule.MOMENTUM, Rule.ADAM, Rule.YOGI, Rule.AVERAGED])
def test_a_rule_that_remembers_has_its_state_beside_the_model(rule: Rule) -> None:
    history = under(rule=rule)
    (held,) = changed_artifact(history.rounds[1])
    digest = "7" * 64
    state = held | {
        "role": "server_state",
        "key": layout.artifact(layout.round_record(1), digest),
        "stored_sha256": digest,
        "content_sha256": digest,
    }
    assert len(close(history, rule=rule, artifacts=[held, state]).record.artifacts) == 2
    for wrong, named in (([held], "model"), ([state, held], "server_state, model"), ([held, held], "model, model")):
        with pytest.raises(TrustError, match=f"artifacts' roles: expected model, server_state, found {named}"):
            close(history, rule=rule, artifacts=wrong)
    with pytest.raises(TrustError, match="artifacts' roles: expected model, found model, server_state"):
        close(under(), artifacts=[held, state])


@pytest.mark.parametrize(("name", "value"), [("norm", -0.1), ("cosine", 1.01), ("cosine", -1.01)])
def test_a_figure_out_of_bounds_is_refused(name: str, value: float) -> None:
    history = under()
    used = json.loads(history.rounds[1].data)["contributions"]
    used[0][name] = value
    with pytest.raises(TrustError, match=f"contributions.0.{name}"):
        history.ledger(1).add_round(changed(history.rounds[1], "coordinator", contributions=used))
