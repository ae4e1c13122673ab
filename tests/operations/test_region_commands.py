"""What other commands say and do in a region, and in a federation whose plan is a region's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli.environment import Environment
from fedcli.errors import UsageError
from fedcli.exchange import layout
from fedcli.operations.archive import ArchiveRequest, archive
from fedcli.operations.doctor import DoctorRequest, Outcome, doctor
from fedcli.operations.export import ExportRequest, export
from fedcli.operations.import_ import ImportRequest, import_
from fedcli.operations.remove import RemoveRequest, remove
from fedcli.operations.report import ReportRequest, report
from fedcli.operations.simulate import SimulateRequest, simulate
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.party.source import Source
from fedcli.plan import Limits, Tree
from fedcli.workspace import Workspace
from tests.fixtures.federation import PLAN, Federation
from tests.fixtures.files import files_below
from tests.fixtures.tree import begun_tree, join_by_hand, relay_in

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.operations.doctor import Finding
    from tests.fixtures.tree import FederationTree

_SITES = ("amber", "brook")


@pytest.fixture(scope="module")
def begun_once(tmp_path_factory: pytest.TempPathFactory) -> FederationTree:
    return begun_tree(tmp_path_factory.mktemp("begun") / "t", {"east": _SITES}, rounds=3)


@pytest.fixture(scope="module")
def summed_once(tmp_path_factory: pytest.TempPathFactory, begun_once: FederationTree) -> FederationTree:
    """Two rounds are done, and the third is summed in the region, whose mean is not sent."""
    tree = begun_once.copy(tmp_path_factory.mktemp("summed") / "t")
    tree.run(2)
    tree.send(3)
    tree.regions["east"].aggregate()
    return tree


@pytest.fixture
def tree(tmp_path: Path, begun_once: FederationTree) -> FederationTree:
    return begun_once.copy(tmp_path / "t")


@pytest.fixture
def summed(tmp_path: Path, summed_once: FederationTree) -> FederationTree:
    return summed_once.copy(tmp_path / "s")


# ----------------------------------------------------------------------------------------- what cannot be done in a region


def test_a_region_with_no_update_left_waits_for_the_federation_above(tree: FederationTree) -> None:
    east = tree.regions["east"]
    for site in _SITES:
        east.send(site, 1, steps=10**6 + 1)
    for result in (relay_in(east), east.aggregate()):
        assert result.status == "waiting"
        assert result.message.endswith(
            "no update is left to send above; the region goes on once the federation above has closed the round without it"
        )


def test_the_restart_that_remove_names_is_one_above(summed: FederationTree) -> None:
    east = summed.regions["east"]
    summed.relay()
    summed.top.aggregate()
    relay_in(east)
    message = remove(RemoveRequest(root=east.coordinator, site="amber", reason="left"), east.environment).message
    command = "fedcli restart -C WORKSPACE --from 0 --reason TEXT"
    assert message.endswith(f"to go on without it: the coordinator above runs `{command}`")


def test_simulate_refuses_the_plan_of_a_region(tmp_path: Path, prepared: dict[str, Path]) -> None:
    plan = replace(PLAN, tree=Tree(above="1" * 64))
    with pytest.raises(UsageError, match="the plan is that of a region of the federation 111111111111") as raised:
        simulate(SimulateRequest(plan=plan, sites=prepared, drop=tmp_path / "run/drop"), Environment())
    assert raised.value.hint.startswith("leave tree.above out of the plan")
    assert list(tmp_path.iterdir()) == []


def test_a_plan_that_has_room_for_regions_is_simulated_without_any(tmp_path: Path, prepared: dict[str, Path]) -> None:
    plan = replace(PLAN, rounds=1, tree=Tree(regions=True))
    result = simulate(SimulateRequest(plan=plan, sites=prepared, drop=tmp_path / "run/drop"), Environment())
    assert (result.rounds, [item.site for item in result.sites]) == (1, sorted(prepared))


# ------------------------------------------------------------------------------------------------------------- the doctor


def found_above(region: Federation) -> Finding:
    """Return what the doctor of a region's coordinator says of the federation above."""
    findings = doctor(DoctorRequest(root=region.coordinator), region.environment).findings
    return next(item for item in findings if item.name == "federation above")


def test_the_doctor_of_a_region_looks_at_the_federation_above(tree: FederationTree) -> None:
    east = tree.regions["east"]
    assert (found_above(east).outcome, found_above(east).found) == (Outcome.OK, "east is listed there; round 0 of 3")
    findings = doctor(DoctorRequest(root=tree.top.coordinator), tree.top.environment).findings
    assert "federation above" not in {item.name for item in findings}
    member = {item.name: item for item in doctor(DoctorRequest(root=tree.top.site("east")), east.environment).findings}
    assert member["prepared data"].outcome is Outcome.SKIPPED
    assert member["prepared data"].found.endswith("a region has none, and its coordinator runs fedcli relay")


def test_the_doctor_says_what_would_stop_relay(tmp_path: Path, tree: FederationTree) -> None:
    east, member = tree.regions["east"], tree.top.site("east") / "workspace.toml"
    own, settings = east.coordinator / "workspace.toml", member.read_text()
    member.write_text(settings.replace('review = "auto"', 'review = "ask"'))
    assert "holds updates for a person" in found_above(east).found
    member.write_text(settings)
    tree.top.amend(replace(tree.top.plan, rounds=2))
    assert (found_above(east).outcome, found_above(east).found) == (Outcome.WARN, "2 rounds there and 3 here")
    tree.top.amend(replace(tree.top.plan, rounds=2, limits=Limits(steps=77)))
    assert found_above(east).found == "the plan there is not approved"
    tree.top.amend(replace(tree.top.plan, rounds=2, tree=Tree()))
    assert found_above(east).found == "the plan there has no regions"
    removal = RemoveRequest(root=tree.top.coordinator, site="east", reason="left")
    remove(removal, tree.top.environment)
    assert found_above(east).found == "east is not listed there with this key"
    other = Federation(root=tmp_path / "other", clock=tree.top.clock).begin()
    join_by_hand(other, "east")
    text = own.read_text()
    own.write_text(text.replace(Workspace.open(east.coordinator).settings.above, str(other.site("east"))))
    assert "which tree.above of the plan names" in found_above(east).found
    own.write_text("\n".join(line for line in text.splitlines() if not line.startswith("above")))
    assert found_above(east).found == "workspace.toml names no workspace above, and the plan is that of a region"


# ------------------------------------------------------------------------------- export, import, archive, report with sums


def test_what_a_region_exports_is_the_same_folder_elsewhere(tmp_path: Path, summed: FederationTree) -> None:
    east, file, other = summed.regions["east"], tmp_path / "east.tar", tmp_path / "other"
    other.mkdir()
    export(ExportRequest(source=east.source(), file=file), east.environment)
    target = Source(address=str(other), coordinator=east.fingerprint)
    import_(ImportRequest(source=target, file=file), Environment())
    assert files_below(other) == east.files()
    assert layout.sum_record(3) in east.files()
    again = verify(VerifyRequest(source=target, replay=True), Environment())[0]
    assert (again.problems, again.replayed) == ((), 2)


def test_a_region_s_later_rounds_are_imported_where_the_earlier_ones_are(tmp_path: Path, summed: FederationTree) -> None:
    east, file, other = summed.regions["east"], tmp_path / "east.tar", tmp_path / "other"
    export(ExportRequest(source=east.source(), file=file, since=2), east.environment)
    for key, data in east.files().items():
        if "/round-0002/" not in key and "/round-0003/" not in key:
            (other / key).parent.mkdir(parents=True, exist_ok=True)
            (other / key).write_bytes(data)
    target = Source(address=str(other), coordinator=east.fingerprint)
    assert import_(ImportRequest(source=target, file=file), Environment()).round == 2
    assert files_below(other) == east.files()


def test_archived_rounds_of_a_region_and_of_the_federation_above_are_replayed_from_the_tars(summed: FederationTree) -> None:
    east, top = summed.regions["east"], summed.top
    summed.relay()
    top.aggregate()
    relay_in(east)
    whole = top.verify(tree=summed.sources)
    for federation in (east, top):
        request = ArchiveRequest(root=federation.coordinator, file=federation.root / "a.tar", before=3)
        assert archive(request, federation.environment).moved > 0
        alone = federation.verify()
        assert (alone.problems, alone.replayed, alone.replayable_from) == ((), 1, 3)
        within = federation.verify(tars=(federation.root / "a.tar",))
        assert (within.problems, within.replayed, within.replayable_from) == ((), 3, 1)
    after = top.verify(tree=summed.sources)
    assert (after.problems, after.unfollowed) == ((), whole.unfollowed)
    assert after.followed == whole.followed


def test_a_region_s_report_has_its_rounds(tmp_path: Path, summed: FederationTree) -> None:
    result = report(ReportRequest(source=summed.regions["east"].source(), out=tmp_path / "report"), Environment())
    assert (result.verified, result.problems, result.failures) == (True, (), ())
    page = (tmp_path / "report" / result.page).read_text()
    assert all(site in page for site in _SITES)
