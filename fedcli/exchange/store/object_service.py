"""Clients of object services: address, endpoint and credentials.

Static credentials of an AWS profile are read here, as the AWS command line keeps them in ~/.aws; obstore itself finds everything
else: environment variables, web identity, container and instance roles.
"""

from __future__ import annotations

import configparser
import os
from contextlib import suppress
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from fedcli.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obstore.store import ObjectStore as Service

    from fedcli.exchange.store.base import StoreOptions

_RETRIES = 3
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_PROVIDERS = {"s3": "https://s3.amazonaws.com", "gs": "https://storage.googleapis.com", "az": "https://blob.core.windows.net"}
_UNLIMITED = timedelta(days=7)
_PROFILE_NAMES = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
    "endpoint_url": "endpoint",
}


def open_service(address: str, options: StoreOptions) -> Service:
    """Return obstore's client for an address s3://…, gs://… or az://….

    Raises:
        UsageError: The address is not one of a bucket and a prefix.
        ConfigurationError: The endpoint or the credentials cannot be used.
    """
    parts = urlsplit(address)
    if not parts.netloc or "@" in parts.netloc or ":" in parts.netloc or parts.query or parts.fragment:
        msg = f"{address}: expected {parts.scheme}://bucket/prefix, and no credentials"
        raise UsageError(msg, hint="credentials come from the environment, a profile or the machine's role")
    s3 = parts.scheme == "s3"
    profile = aws_profile(os.environ) if s3 else {}
    at = options.endpoint or _named_endpoint(parts.scheme) or profile.pop("endpoint", "")
    common: dict[str, Any] = {
        "prefix": unquote(parts.path).strip("/") or None,
        "retry_config": {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=options.timeout)},
        "client_options": {
            "connect_timeout": timedelta(seconds=options.timeout),
            "read_timeout": timedelta(seconds=options.timeout),
            "timeout": _UNLIMITED,  # of a whole transfer, which may be long without having stalled
            "allow_http": _is_loopback(at),
        },
        **({"base_url" if parts.scheme == "gs" else "endpoint": at} if at else {}),
    }
    try:
        if s3:
            return S3Store(parts.netloc, checksum_algorithm="SHA256", disable_bulk_delete=True, **profile | common)
        return (GCSStore if parts.scheme == "gs" else AzureStore)(parts.netloc, **common)
    except BaseError as error:
        msg = f"{address}: cannot be used: {first_line(str(error))}"
        raise ConfigurationError(msg, hint="`fedcli docs stores` lists where credentials are looked for") from error


def _is_loopback(endpoint: str) -> bool:
    """Tell whether an endpoint is on this machine: only there may it do without TLS.

    Raises:
        ConfigurationError: It is elsewhere and without TLS, or not a URL.
    """
    parts = urlsplit(endpoint)
    if not endpoint or parts.scheme == "https":
        return False
    host = parts.hostname or ""
    with suppress(ValueError):
        if parts.scheme == "http" and (host == "localhost" or ip_address(host).is_loopback):
            return True
    msg = f"endpoint {endpoint!r}: expected a URL that begins with https://"
    raise ConfigurationError(msg, hint="http:// is only for a service on this machine")


def aws_profile(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the profile sets, under obstore's names; nothing if the environment holds a key.

    Raises:
        ConfigurationError: `AWS_PROFILE` names a profile that has no key of its own.
    """
    if environment.get("AWS_ACCESS_KEY_ID"):
        return {}
    name = environment.get("AWS_PROFILE", "default")
    keys = _section(Path(environment.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser(), name)
    section = name if name == "default" else f"profile {name}"
    profile = {**_section(Path(environment.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser(), section), **keys}
    if "aws_access_key_id" not in profile and "AWS_PROFILE" in environment:
        msg = f"AWS_PROFILE={name}: this profile holds no aws_access_key_id"
        command = f"aws configure export-credentials --profile {name} --format env"
        raise ConfigurationError(msg, hint=f"for a role or single sign-on, {command} prints what to export")
    return {ours: profile[theirs] for theirs, ours in _PROFILE_NAMES.items() if theirs in profile}


def _section(path: Path, name: str) -> dict[str, str]:
    parser = configparser.ConfigParser(default_section="", interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        msg = f"{path}: cannot be read: {error}"
        raise ConfigurationError(msg) from error
    return dict(parser[name]) if parser.has_section(name) else {}


def proxy_of(address: str, options: StoreOptions) -> str:
    """Return the HTTP proxy that the environment names for a service, and obstore uses, without its password; or nothing."""
    parts = urlsplit(address)
    url = urlsplit(options.endpoint or _named_endpoint(parts.scheme) or _PROVIDERS[parts.scheme])
    proxies = getproxies_environment()
    named = proxies.get(url.scheme) or proxies.get("all", "")
    if not named or proxy_bypass_environment(url.netloc, proxies):
        return ""
    proxy = urlsplit(named if "://" in named else f"http://{named}")
    return f"{proxy.scheme}://{proxy.netloc.rpartition('@')[2]}"


def _named_endpoint(scheme: str) -> str:
    return next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "") if scheme == "s3" else ""


def first_line(text: str) -> str:
    """Return the part of an obstore error that is for people."""
    return text.partition("\n")[0].partition("Debug source")[0].strip()[:300]
