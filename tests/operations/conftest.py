"""Federations at several stages, made once and copied for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.operations.federations import Federation, prepared_data

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return prepared_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def begun_once(tmp_path_factory: pytest.TempPathFactory, prepared: dict[str, Path]) -> Federation:
    return Federation(root=tmp_path_factory.mktemp("begun") / "f", prepared=prepared).begin()


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory, begun_once: Federation) -> Federation:
    federation = begun_once.copy(tmp_path_factory.mktemp("trained") / "f")
    federation.train()
    return federation


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory, trained_once: Federation) -> Federation:
    federation = trained_once.copy(tmp_path_factory.mktemp("finished") / "f")
    federation.aggregate()
    federation.train()
    federation.aggregate()
    federation.train()
    return federation


@pytest.fixture
def begun(tmp_path: Path, begun_once: Federation) -> Federation:
    """Both sites are admitted; nothing is trained."""
    return begun_once.copy(tmp_path / "begun")


@pytest.fixture
def trained(tmp_path: Path, trained_once: Federation) -> Federation:
    """Both sites have published their update of round 1."""
    return trained_once.copy(tmp_path / "trained")


@pytest.fixture
def finished(tmp_path: Path, finished_once: Federation) -> Federation:
    """Both rounds are aggregated, and both sites know it."""
    return finished_once.copy(tmp_path / "finished")
