"""The keys of the drop folder: which file is where.

A key is a relative path with `/` between its parts. A party writes only under its own prefix: `coordinator/` or `sites/<site>/`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fedcli.errors import StoreError, UsageError
from fedcli.wire import SHORT_DIGEST, SITE_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

COORDINATOR = "coordinator"
SITES = "sites"
"""The folder of all sites' folders."""
MOST_NUMBER = 9999
"""The largest number of a record: it has four digits."""

_ROUND_FOLDER = re.compile(rf"(?:coordinator|sites/{SITE_PATTERN})/round-([0-9]{{4}})(?:/.*)?")
_KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}(/[a-z0-9][a-z0-9._-]{0,127}){0,7}")
_SITE = re.compile(rf"sites/({SITE_PATTERN})/.*")
_NUMBER = re.compile(r"[0-9]{4}")


def is_key(text: str) -> bool:
    """Tell whether a text can be a key: lower-case parts, none of which can lead out of the folder."""
    return _KEY.fullmatch(text) is not None


def is_site(name: str) -> bool:
    """Tell whether a text can be the name of a site."""
    return name != COORDINATOR and re.fullmatch(SITE_PATTERN, name) is not None


def require_site(name: str) -> None:
    """Raise a UsageError unless a text can be the name of a site."""
    if not is_site(name):
        msg = f"{name}: not the name of a site, expected lower-case letters (a-z), digits and hyphens, 63 at most"
        raise UsageError(msg, hint="folders and keys have this name: write muenchen for München; coordinator is taken")


def is_artifact(key: str) -> bool:
    """Tell by its name whether a key is an artifact's: a file that a record names by digest, and that may be archived."""
    return key.endswith(".safetensors")


def federation(number: int) -> str:
    """Return the key of a federation record."""
    return f"coordinator/federation-{number:04d}.json"


def recovery(number: int) -> str:
    """Return the key of the federation record that the recovery key signs in place of the one of this number."""
    return f"coordinator/federation-{number:04d}-recovery.json"


def round_record(number: int) -> str:
    """Return the key of a round record."""
    return f"coordinator/round-{number:04d}/round.json"


def archive(number: int) -> str:
    """Return the key of the coordinator's record of an archive; numbers count from 1."""
    return f"coordinator/archive-{number:04d}.json"


def prefix(party: str) -> str:
    """Return the prefix under which a party writes: `coordinator`, or a site by its name."""
    return f"{COORDINATOR}/" if party == COORDINATOR else f"sites/{party}/"


def owner(key: str) -> str:
    """Return the party under whose prefix a key is."""
    return match[1] if (match := _SITE.fullmatch(key)) else COORDINATOR


def enrolment(site: str, number: int) -> str:
    """Return the key of a site's enrolment."""
    return f"sites/{site}/enrolment-{number:04d}.json"


def update(site: str, number: int) -> str:
    """Return the key of a site's update of one round."""
    return f"sites/{site}/round-{number:04d}/update.json"


def dataset(site: str, number: int) -> str:
    """Return the key of a site's data set record; numbers count from 1."""
    return f"sites/{site}/dataset/{number:04d}.json"


def model(site: str, number: int, kind: str) -> str:
    """Return the key of a shared model; numbers count from 1 for each kind."""
    return f"sites/{site}/models/{number:04d}-{kind}.json"


def evaluation(site: str, number: int) -> str:
    """Return the key of a site's evaluation; numbers count from 1."""
    return f"sites/{site}/evaluation/{number:04d}.json"


def masks(site: str, number: int) -> str:
    """Return the key of the record of the masks that a site has prepared; numbers count from 1."""
    return f"sites/{site}/masks/{number:04d}.json"


def opening(number: int) -> str:
    """Return the key of the record that opens a masked round."""
    return f"coordinator/round-{number:04d}/opening.json"


def closing(number: int) -> str:
    """Return the key of the record that says whose masked updates of a round are summed."""
    return f"coordinator/round-{number:04d}/closing.json"


def sum_record(number: int) -> str:
    """Return the key of the record that says which updates of a round a region has summed."""
    return f"coordinator/round-{number:04d}/sum.json"


def unmask(site: str, number: int) -> str:
    """Return the key of a site's answer to the closing of a masked round."""
    return f"sites/{site}/round-{number:04d}/unmask.json"


def grant(party: str, number: int) -> str:
    """Return the key of a party's grant record; numbers count from 1."""
    return f"{prefix(party)}grants/{number:04d}.json"


def signature(record: str, digest: str) -> str:
    """Return the key of the signature of the record whose SHA-256 is `digest`."""
    return f"{record}.{digest[:SHORT_DIGEST]}.sig"


def countersignature(record: str, digest: str) -> str:
    """Return the key of the signature by the new key that an enrolment brings in."""
    return f"{record}.{digest[:SHORT_DIGEST]}.new.sig"


def signed_as(keys: tuple[str, ...], digests: Collection[str]) -> tuple[str, ...]:
    """Return the keys of the records of these digests, as the names of their signatures say; of each digest at most one."""
    endings, present = {signature("", digest) for digest in digests}, frozenset(keys)
    length = len(signature("", "0" * SHORT_DIGEST))
    signed = {key[-length:]: key[:-length] for key in keys if key[-length:] in endings and key[:-length] in present}
    return tuple(signed.values())


def artifact(record: str, digest: str) -> str:
    """Return the key of an artifact that a record names: its own name, and the artifact's digest."""
    folder, _, name = record.rpartition("/")
    stem = "global" if name == "round.json" else name.removesuffix(".json")
    return f"{folder}/{stem}-{digest[:SHORT_DIGEST]}.safetensors"


def round_numbers(keys: tuple[str, ...]) -> tuple[int, ...]:
    """Return the numbers of the round records among keys, ascending."""
    return numbers(keys, f"{COORDINATOR}/round-{{}}/round.json")


def is_before(key: str, number: int) -> bool:
    """Tell whether a key is the folder of a round before this number, or lies in it."""
    return number > 0 and (match := _ROUND_FOLDER.fullmatch(key)) is not None and int(match[1]) < number


def federation_numbers(keys: tuple[str, ...]) -> tuple[int, ...]:
    """Return the numbers of the federation records among keys, ascending."""
    return numbers(keys, f"{COORDINATOR}/federation-{{}}.json")


def recovery_numbers(keys: tuple[str, ...]) -> tuple[int, ...]:
    """Return the numbers of the federation records by the recovery key among keys, ascending; it cannot sign the first one."""
    return tuple(number for number in numbers(keys, f"{COORDINATOR}/federation-{{}}-recovery.json") if number)


def numbers(keys: tuple[str, ...], pattern: str) -> tuple[int, ...]:
    """Return the numbers in place of `{}` in those keys that match `pattern`, ascending."""
    before, after = pattern.split("{}")
    between = (key[len(before) : len(key) - len(after)] for key in keys if key.startswith(before) and key.endswith(after))
    return tuple(sorted(int(digits) for digits in between if _NUMBER.fullmatch(digits)))


def free_number(after: int, key_of: Callable[[int], str], stat: Callable[[str], int | None]) -> int:
    """Return the first number after another one whose key no file has, whatever the files of later numbers hold.

    Args:
        after: The newest number that counts, or the one before the first.
        key_of: Returns the key of a number.
        stat: Returns the size of the file of a key, None if there is none.

    Raises:
        StoreError: There is none.
    """
    number = next((number for number in range(after + 1, MOST_NUMBER + 1) if stat(key_of(number)) is None), None)
    if number is None:
        msg = f"{key_of(MOST_NUMBER)}: no number up to {MOST_NUMBER} is free after {after}"
        raise StoreError(
            msg, hint="ask who runs the store to move out the files that nobody has signed; `fedcli verify` names them"
        )
    return number
