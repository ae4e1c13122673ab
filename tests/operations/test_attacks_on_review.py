"""What one site may try so that the review of a round's updates does not see it, or accuses others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedcli import wire
from fedcli.exchange import layout
from fedcli.exchange.checks import Signed
from fedcli.exchange.records import DatasetRecord, SeenRound
from fedcli.plan import Aggregation, Network, Part, Rule
from tests.fixtures.federation import begun_by_hand
from tests.fixtures.records import VERSIONS, cohort
from tests.fixtures.tampering import place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.aggregation.models import Arrays
    from tests.fixtures.federation import Federation

SITES = ("ash", "birch", "cedar", "fir", "oak")
WITH_BATCHNORM = Network(name="shufflenet_v2_x0_5")


def begun(root: Path, rule: Rule = Rule.MEAN, sites: tuple[str, ...] = SITES, **settings: Any) -> Federation:
    return begun_by_hand(root / "f", *sites, aggregation=Aggregation(rule=rule), **settings)


def alike(federation: Federation, site: str, factor: float = 1.0) -> Arrays:
    """Return a delta that agrees with all others, times a factor but for BatchNorm's statistics: these are nearly all of it."""
    common, noise = federation.delta("common", 1), federation.delta(site, 1)
    made = {}
    for name, value in common.items():
        if value.dtype == np.int64:
            made[name] = value
        elif "running" in name:
            made[name] = np.full_like(value, 10)
        else:
            made[name] = (value + noise[name] / 3) * np.float32(factor)
    return made


def publish_dataset(federation: Federation, site: str, number: int, images: int) -> dict[str, Any]:
    """Publish a data set record of so many training images; return what an update then claims."""
    facts = cohort()
    patients = max(1, images // 4)
    parts = tuple(
        replace(part, images=images, patients=patients, class_images=(None,) * len(part.class_images))
        if part.part is Part.TRAIN
        else part
        for part in facts.parts
    )
    record = DatasetRecord(
        federation=wire.sha256((federation.drop / layout.federation(0)).read_bytes()),
        party=site,
        created=federation.clock(),
        versions=VERSIONS,
        number=number,
        as_of=0,
        seen=SeenRound(round=0, sha256=wire.sha256((federation.drop / layout.round_record(0)).read_bytes())),
        cohort=replace(facts, parts=parts),
    )
    data, key = wire.encode(record), layout.dataset(site, number)
    (federation.drop / key).parent.mkdir(parents=True, exist_ok=True)
    place(federation.drop, Signed(key=key, data=data, signature=federation.signer(site).sign(data)))
    return {"images": images, "patients": patients, "dataset": wire.sha256(data)}


def heavy(federation: Federation, steps: int, factor: float = 1.0) -> dict[str, tuple[str, ...]]:
    """Let cedar claim so many steps, of a data set record with as many images; return what is flagged."""
    claims = publish_dataset(federation, "cedar", 1, federation.plan.training.batch_size * steps)
    for site in federation.by_hand:
        if site == "cedar":
            federation.send(site, 1, delta=alike(federation, site, factor), steps=steps, **claims)
        else:
            federation.send(site, 1, delta=alike(federation, site))
    return {item.site: item.odd for item in federation.aggregate().review}


@pytest.mark.parametrize("sites", [SITES, SITES[:3]])
@pytest.mark.parametrize("rule", [Rule.MEAN, Rule.MEDIAN])
def test_batchnorm_hides_nothing(tmp_path: Path, rule: Rule, sites: tuple[str, ...]) -> None:
    federation = begun(tmp_path, rule, sites, network=WITH_BATCHNORM)
    for site in sites:
        federation.send(site, 1, delta=alike(federation, site, -20 if site == "cedar" else 1))
    review = {item.site: item for item in federation.aggregate().review}
    cedar = review.pop("cedar")
    assert [words.split(" ")[1] for words in cedar.odd] == ["norm", "direction"]
    assert cedar.odd[0].startswith("its norm is 20 times the others' median")
    assert cedar.norm == pytest.approx(review["ash"].norm, rel=0.5)
    assert cedar.trained_norm == pytest.approx(20 * review["ash"].trained_norm, rel=0.1)
    assert all("norm" not in words for item in review.values() for words in item.odd)


@pytest.mark.parametrize("factor", [1, -1])
@pytest.mark.parametrize("steps", [100, 1000, 100_000, 1_000_000])
def test_a_site_with_most_of_the_weight_is_flagged_and_no_other(tmp_path: Path, steps: int, factor: int) -> None:
    odd = heavy(begun(tmp_path), steps, factor)
    cedar = odd.pop("cedar")
    total = steps + 13 + 15 + 13 + 13
    assert cedar[0] == f"it has {1000 * steps // total / 10} % of the weight of the round"
    assert [words.split(" ")[1] for words in cedar[1:]] == (["direction"] if factor < 0 else [])
    assert not any(odd.values())


def test_where_sites_are_not_weighed_nobody_has_most_of_the_weight(tmp_path: Path) -> None:
    assert not any(heavy(begun(tmp_path, Rule.MEDIAN), 1000).values())


@pytest.mark.parametrize("sites", [("ash", "cedar"), ("cedar",)])
def test_of_two_sites_one_may_have_most_of_the_weight(tmp_path: Path, sites: tuple[str, ...]) -> None:
    assert not any(heavy(begun(tmp_path, sites=sites), 1000).values())


@pytest.mark.parametrize(("images", "flagged"), [(1000, False), (1001, True)])
def test_a_data_set_that_has_grown_more_than_tenfold_is_flagged(tmp_path: Path, images: int, *, flagged: bool) -> None:
    federation = begun(tmp_path)
    publish_dataset(federation, "cedar", 1, 100)
    claims = publish_dataset(federation, "cedar", 2, images)
    for site in SITES:
        federation.send(site, 1, delta=alike(federation, site), **(claims if site == "cedar" else {}))
    odd = {item.site: item.odd for item in federation.aggregate().review}
    grown = (
        f"its data has grown: sites/cedar/dataset/0002.json has {images} training images, sites/cedar/dataset/0001.json has 100"
    )
    assert (grown in odd["cedar"]) is flagged
