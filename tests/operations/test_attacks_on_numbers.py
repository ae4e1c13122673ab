"""Files that take the numbers of a party's next records: junk by the store's host, which no key signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedcli.errors import StoreError
from fedcli.exchange import layout
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.join import JoinRequest, inspect, join
from fedcli.operations.rotate_key import RotateKeyRequest, rotate_key
from fedcli.results import Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.fixtures.federation import Federation


def junk(federation: Federation, *keys: str) -> None:
    for key in keys:
        path = federation.drop / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}")


def numbers_of(federation: Federation, pattern: str, junk: Iterable[int] = (9999,)) -> list[int]:
    """Return the numbers of north's files without those of the junk."""
    keys = tuple(path.relative_to(federation.drop).as_posix() for path in federation.drop.rglob("*"))
    return [number for number in layout.numbers(keys, f"sites/north/{pattern}") if number not in junk]


def test_a_junk_enrolment_stops_neither_a_rotation_nor_a_new_enrolment(begun: Federation, tmp_path: Path) -> None:
    junk(begun, layout.enrolment("north", 9999), layout.enrolment("north", 1))
    rotate_key(RotateKeyRequest(root=begun.site("north")), begun.environment)
    assert numbers_of(begun, "enrolment-{}.json", (1, 9999)) == [0, 2]
    request = JoinRequest(root=tmp_path / "new", site="north", invitation=inspect(begun.source()), re_enrol=True)
    assert join(request, begun.environment).status is Status.PUBLISHED
    assert numbers_of(begun, "enrolment-{}.json", (1, 9999)) == [0, 2, 3]


def test_where_all_numbers_are_taken_the_command_says_so(begun: Federation) -> None:
    junk(begun, *(layout.dataset("north", number) for number in range(1, 10_000)))
    with pytest.raises(StoreError, match=r"^sites/north/dataset/9999\.json: no number up to 9999 is free after 0$"):
        begun.train("north")


def test_a_junk_data_set_record_stops_no_training(begun: Federation) -> None:
    junk(begun, layout.dataset("north", 9999), layout.dataset("north", 1))
    begun.train()
    assert numbers_of(begun, "dataset/{}.json") == [1, 2]
    assert begun.aggregate().used == ("north", "valley")
    begun.train()
    assert numbers_of(begun, "dataset/{}.json") == [1, 2]  # it has found its own


def test_junk_evaluations_and_models_stop_no_evaluation(finished: Federation) -> None:
    models = [layout.model("north", number, kind) for number in (1, 9999) for kind in ("federated", "local")]
    junk(finished, layout.evaluation("north", 9999), layout.evaluation("north", 1), *models)
    result = evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    assert (result.status, result.number) == (Status.PUBLISHED, 2)
    assert numbers_of(finished, "models/{}-federated.json") == [1, 2]
