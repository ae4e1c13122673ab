"""Names of sites, paths and accounts, as a shell script and a policy may contain them."""

from __future__ import annotations

import re

from fedcli.errors import UsageError
from fedcli.exchange import layout

AUDITOR = "auditor"
"""Who reads everything and writes nothing."""
_USER_NAME_LIMIT = 32
_SAFE_PATH = re.compile(r"/[A-Za-z0-9._/-]*[A-Za-z0-9._-]")
_SAFE_NAME = re.compile(r"[a-z_][a-z0-9_-]*")


def parties(sites: tuple[str, ...], *, auditor: bool) -> tuple[str, ...]:
    """Return everybody who gets rights: the coordinator, the sites, and an auditor if one is wanted.

    Raises:
        UsageError: A site's name cannot be used.
    """
    check_sites(sites)
    if auditor and AUDITOR in sites:
        msg = f"{AUDITOR}: the name of a site, expected that of the account that only reads"
        raise UsageError(msg, hint="leave --auditor out, and make that account yourself")
    return (layout.COORDINATOR, *sites, *([AUDITOR] if auditor else []))


def check_sites(sites: tuple[str, ...]) -> None:
    """Raise a UsageError unless sites have names that they can have, each once."""
    for site in sites:
        layout.require_site(site)
        if sites.count(site) > 1:
            msg = f"{site}: given twice"
            raise UsageError(msg)


def check_paths(*paths: str) -> None:
    """Raise a UsageError unless paths are absolute and mean nothing else to a shell."""
    for path in paths:
        if _SAFE_PATH.fullmatch(path) is None or ".." in path.split("/"):
            msg = f"{path}: expected an absolute path of letters, digits, dots, hyphens and underscores"
            raise UsageError(msg)


def check_accounts(*accounts: str) -> None:
    """Raise a UsageError unless every system takes the names of accounts."""
    for account in accounts:
        if _SAFE_NAME.fullmatch(account) is None or len(account) > _USER_NAME_LIMIT:
            expected = f"at most {_USER_NAME_LIMIT} of a-z, 0-9, _ and -, a letter first"
            msg = f"{account}: not a name for an account, expected {expected}"
            raise UsageError(msg, hint="choose a shorter --name")
