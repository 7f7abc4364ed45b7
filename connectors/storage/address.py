"""Addresses of object stores, as they stand in settings. They hold no secret.

===============================================  ================================================
``/dir``, ``file:///dir``                        a directory that orch and every node see under the
                                                 same path; the nodes' ``AllowListedLocalPaths``
                                                 must match what is in it (``/dir/**``)
``s3://bucket/prefix?region=…&endpoint=…``       S3 or what speaks like it
``ipfs://host:port/dir``, ``ipfs+http(s)://…``   Kubo's RPC API; ``/dir`` in its files (MFS) holds
                                                 the names, ``/orch`` if none is given
===============================================  ================================================
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from typing import TypeAlias, Union

from connectors.abc import Problem, SettingsError
from connectors.storage.objects import check_name
from connectors.validation import shown

_EXAMPLES = "write a directory (/srv/orch), s3://bucket/prefix or ipfs://host:5001"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]", re.ASCII)
_MAX_PREFIX = 200


@dataclass(frozen=True, kw_only=True)
class DirectoryAddress:
    """A directory shared with the nodes."""

    path: str
    """Absolute, without ``..``."""

    def __str__(self) -> str:
        return f"file://{urllib.parse.quote(self.path)}"


@dataclass(frozen=True, kw_only=True)
class S3Address:
    """A bucket, and a prefix in it."""

    bucket: str
    prefix: str = ""
    """Parts of a name without a slash around them; mostly "" or one part."""
    region: str | None = None
    endpoint: str | None = None
    """``http(s)://host:port``, as orch and the nodes reach it; None: Amazon's own."""

    def __str__(self) -> str:
        options = {"region": self.region, "endpoint": self.endpoint}
        query = urllib.parse.urlencode({k: v for k, v in options.items() if v}, safe=":/")
        path = f"/{self.prefix}" if self.prefix else ""
        return f"s3://{self.bucket}{path}" + (f"?{query}" if query else "")


@dataclass(frozen=True, kw_only=True)
class IpfsAddress:
    """A Kubo node."""

    url: str
    """``http(s)://host:port`` of its RPC API."""
    directory: str = "orch"
    """Where in its files the names are, without a slash around it."""

    def __str__(self) -> str:
        return f"ipfs+{self.url}/{self.directory}"


Address: TypeAlias = Union[DirectoryAddress, S3Address, IpfsAddress]  # noqa: UP007 - older tools


def parse(text: str) -> Address:
    """The address that a text stands for. Raises :class:`connectors.abc.SettingsError`, whose
    problem has no path. No I/O."""
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        raise _problem(f"{shown(text)} holds a control character", "remove it")
    if text.startswith("/"):
        return _directory(text)
    if "@" in text.partition("?")[0]:
        # Said first, and without the text: what stands there may be a password.
        message = "an address holds no user or password"
        raise _problem(message, "remove what stands before the @, and name secrets for them")
    plain = text.partition("?")[0]
    try:
        parts = urllib.parse.urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _problem(f"{shown(plain)} is not an address: {error}", _EXAMPLES) from error
    if parts.fragment:
        raise _problem(f"{shown(plain)} has a part after #", "write # as %23")
    match parts.scheme:
        case "file":
            if parts.netloc not in ("", "localhost") or parts.query:
                raise _problem(f"{shown(plain)} is not a directory", "write file:///dir")
            return _directory(urllib.parse.unquote(parts.path))
        case "s3":
            return _s3(parts)
        case "ipfs" | "ipfs+http" | "ipfs+https":
            return _ipfs(plain, parts, port)
        case _:
            raise _problem(f"{shown(plain)} is not an address of a store", _EXAMPLES)


def _directory(path: str) -> DirectoryAddress:
    pieces = [piece for piece in path.split("/") if piece not in ("", ".")]
    if not path.startswith("/") or not pieces or ".." in pieces or not path.isprintable():
        message = f"{shown(path)} is not an absolute path of a directory below /"
        raise _problem(message, "write one without .., such as /srv/orch")
    return DirectoryAddress(path="/" + "/".join(pieces))


def _s3(parts: urllib.parse.SplitResult) -> S3Address:
    bucket = parts.netloc
    if not _BUCKET.fullmatch(bucket):
        message = f"{shown(bucket)} is not a bucket's name"
        raise _problem(message, "write s3://bucket/prefix, 3 to 63 of a-z, 0-9, . and -")
    options = _options(parts.query, ("region", "endpoint"))
    region, endpoint = options.get("region"), options.get("endpoint")
    if region is not None and not _REGION.fullmatch(region):
        raise _problem(f"{shown(region)} is not a region", "write one such as eu-central-1")
    if endpoint is not None:
        endpoint = _endpoint(endpoint)
    prefix = _prefix(parts.path)
    return S3Address(bucket=bucket, prefix=prefix, region=region, endpoint=endpoint)


def _ipfs(plain: str, parts: urllib.parse.SplitResult, port: int | None) -> IpfsAddress:
    _options(parts.query, ())
    scheme = "https" if parts.scheme == "ipfs+https" else "http"
    if port is None and parts.scheme == "ipfs":
        raise _problem(f"{shown(plain)} names no port", "write ipfs://host:5001")
    url = _endpoint(f"{scheme}://{parts.netloc}")
    return IpfsAddress(url=url, directory=_prefix(parts.path) or "orch")


def _endpoint(url: str) -> str:
    remedy = "write http://host:port or https://host"
    if "@" in url:
        raise _problem("an endpoint holds no user or password", "remove what stands before the @")
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _problem(f"{shown(url)} is not an endpoint: {error}", remedy) from error
    host = parts.netloc.removesuffix(f":{port}") if port is not None else parts.netloc
    plain = parts.scheme in ("http", "https") and parts.path in ("", "/")
    if not plain or parts.query or parts.fragment or not _HOST.fullmatch(host):
        raise _problem(f"{shown(url)} is not an endpoint", remedy)
    return f"{parts.scheme}://{parts.netloc}"


def _prefix(path: str) -> str:
    prefix = path.strip("/")
    if not prefix:
        return ""
    try:
        if len(prefix) > _MAX_PREFIX:
            raise ValueError(prefix)
        return check_name(prefix)
    except ValueError:
        message = f"{shown('/' + prefix)} is not a plain path"
        remedy = f"use letters, digits and _=+-. in its parts, at most {_MAX_PREFIX} in all"
        raise _problem(message, remedy) from None


def _options(query: str, known: tuple[str, ...]) -> dict[str, str]:
    options: dict[str, str] = {}
    pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
    for key, value in pairs:
        if key not in known:
            secret = "key" in key.lower() or "secret" in key.lower() or "token" in key.lower()
            remedy = "name a secret for it in the settings" if secret else "remove it"
            hint = f"{remedy}; known are {', '.join(known)}" if known else remedy
            raise _problem(f"an address has no option {shown(key)}", hint)
        if key in options or not value:
            raise _problem(f"the option {key} is empty or given twice", "give it once")
        options[key] = value
    return options


def _problem(message: str, remedy: str) -> SettingsError:
    return SettingsError([Problem("", message, remedy)])
