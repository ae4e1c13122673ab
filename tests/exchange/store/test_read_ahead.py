"""What a far store reads ahead: more and more while reads follow one another; otherwise a record and its signature alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedcli.exchange.store.listing import Listing
from fedcli.exchange.store.read_ahead import ReadAhead

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYS = [f"coordinator/round-{number:04d}/round.json{end}" for number in range(500) for end in ("", ".0123456789ab.sig")]


@dataclass(slots=True)
class Far:
    """A store that remembers what was fetched together.

    Attributes:
        there: The keys that can be read.
        trips: The keys of each fetch.
    """

    there: set[str] = field(default_factory=lambda: set(KEYS))
    trips: list[list[str]] = field(default_factory=list)

    def fetch(self, keys: Sequence[str]) -> dict[str, bytes]:
        self.trips.append(list(keys))
        return {key: key.encode() for key in keys if key in self.there}

    def ahead(self) -> ReadAhead:
        ahead = ReadAhead(self.fetch)
        ahead.listed({"": Listing(keys=tuple(KEYS))})
        return ahead


def test_reads_in_order_take_few_trips() -> None:
    far = Far()
    ahead = far.ahead()
    assert [ahead.read(key) for key in KEYS] == [key.encode() for key in KEYS]
    assert [len(trip) for trip in far.trips] == [4, 8, 16, 32, 64, 128, 256, 256, 236]
    assert [key for trip in far.trips for key in trip] == KEYS


def test_reads_here_and_there_fetch_a_record_and_its_signature() -> None:
    far = Far()
    ahead = far.ahead()
    for place in (900, 100, 500, 300):
        assert ahead.read(KEYS[place]) == KEYS[place].encode()
        assert ahead.read(KEYS[place + 1]) == KEYS[place + 1].encode()
    assert [len(trip) for trip in far.trips] == [2, 2, 2, 2]


def test_what_is_left_out_on_the_way_does_not_slow_it_down() -> None:
    far = Far()
    ahead = far.ahead()
    assert all(ahead.read(key) for key in KEYS[::2])
    assert len(far.trips) == 9


def test_what_cannot_be_read_ahead_is_left_to_whoever_asks() -> None:
    far = Far()
    far.there -= set(KEYS[:3])
    ahead = far.ahead()
    assert [ahead.read(key) is None for key in KEYS[:5]] == [True, True, True, False, False]
    assert ahead.read("coordinator/federation-0000.json") is None


def test_a_new_listing_forgets_what_was_read_before() -> None:
    far = Far()
    ahead = far.ahead()
    ahead.read(KEYS[0])
    listing = Listing(keys=("sites/north/enrolment-0000.json", "sites/north/round-0001/update-0123456789ab.safetensors"))
    ahead.listed({"sites/": listing})
    assert ahead.read(KEYS[1]) == KEYS[1].encode()
    far.there.add("sites/north/enrolment-0000.json")
    assert ahead.read("sites/north/enrolment-0000.json") is not None
    assert ahead.read("sites/north/round-0001/update-0123456789ab.safetensors") is None
    assert len(far.trips) == 3


def test_a_key_that_is_read_twice_is_fetched_twice() -> None:
    far = Far()
    ahead = far.ahead()
    assert ahead.read(KEYS[10]) == ahead.read(KEYS[10]) == KEYS[10].encode()
    assert len(far.trips) == 2


def test_what_is_asked_for_is_fetched_in_one_trip() -> None:
    """Whatever else is read in between, and whether or not all of it can be read."""
    far = Far(there=set(KEYS[1:]))
    ahead = far.ahead()
    soon = KEYS[::100]
    ahead.fetch(soon)
    assert far.trips == [soon]
    assert ahead.read(KEYS[501]) == KEYS[501].encode()
    assert [ahead.read(key) for key in soon[1:]] == [key.encode() for key in soon[1:]]
    assert len(far.trips) == 2
    ahead.fetch(KEYS)
    assert far.trips[-1] == KEYS[:256]
    ahead.fetch(())
    assert len(far.trips) == 3
