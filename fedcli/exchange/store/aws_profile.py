"""Static credentials of an AWS profile, as the AWS command line keeps them in ~/.aws.

Everything else (environment variables, web identity, container and instance roles) obstore finds by itself.
"""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
    "endpoint_url": "endpoint",
}


def aws_profile(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the profile sets, by the names that obstore gives it; nothing where the environment holds a key.

    Raises:
        ConfigurationError: `AWS_PROFILE` names a profile that has no key of its own.
    """
    if environment.get("AWS_ACCESS_KEY_ID"):
        return {}
    name = environment.get("AWS_PROFILE", "default")
    keys = _section(Path(environment.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser(), name)
    section = name if name == "default" else f"profile {name}"
    found = {**_section(Path(environment.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser(), section), **keys}
    if "aws_access_key_id" not in found and "AWS_PROFILE" in environment:
        msg = f"AWS_PROFILE={name}: this profile holds no aws_access_key_id"
        hint = (
            f"for a role or single sign-on, aws configure export-credentials --profile {name} --format env prints what to export"
        )
        raise ConfigurationError(msg, hint=hint)
    return {ours: found[theirs] for theirs, ours in _NAMES.items() if theirs in found}


def _section(path: Path, name: str) -> dict[str, str]:
    parser = configparser.ConfigParser(default_section="", interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        msg = f"{path}: cannot be read: {error}"
        raise ConfigurationError(msg) from error
    return dict(parser[name]) if parser.has_section(name) else {}
