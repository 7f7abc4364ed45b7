"""The shape of a Bacalhau job, as data: which keys exist, of which type, and where `${{ }}` may
stand. From the node's API description and the types that its engines and storages decode."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["", "env", "argv", "assignment", "path", "s3_key", "data_url"]


@dataclass(frozen=True, kw_only=True)
class Text:
    """Text. `fixed`: no `${{ }}`. `role`: what must hold for a value filled in here."""

    fixed: bool = False
    empty: bool = False
    role: Role = ""


@dataclass(frozen=True, kw_only=True)
class Integer:
    """A whole number, or one `${{ }}` whose value is one."""

    minimum: int = 0
    maximum: int = 2**31 - 1
    fixed: bool = False


@dataclass(frozen=True, kw_only=True)
class Boolean:
    """True or false, or one `${{ }}` whose value is one."""


@dataclass(frozen=True, kw_only=True)
class TextMap:
    """Keys of any kind, each with a text."""

    value: Text = Text(empty=True)


@dataclass(frozen=True, kw_only=True)
class ListOf:
    """A list."""

    item: Field


@dataclass(frozen=True, kw_only=True)
class Object:
    """A mapping with known keys; `fixed_by_node` are keys that only the node writes."""

    keys: Mapping[str, Field]
    required: tuple[str, ...] = ()
    fixed_by_node: frozenset[str] = field(default_factory=frozenset[str])


@dataclass(frozen=True, kw_only=True)
class Typed:
    """`{Type, Params}`, where the type decides which parameters there are."""

    what: str
    types: Mapping[str, Object]


Field = Text | Integer | Boolean | TextMap | ListOf | Object | Typed

_FIXED = Text(fixed=True)
_TEXTS = ListOf(item=Text(empty=True))
_ARGV = ListOf(item=Text(empty=True, role="argv"))

ENGINES: Mapping[str, Object] = {
    "docker": Object(
        keys={
            "Image": Text(),
            "Entrypoint": _ARGV,
            "Parameters": _ARGV,
            "EnvironmentVariables": ListOf(item=Text(role="assignment")),
            "WorkingDirectory": Text(role="path"),
        },
        required=("Image",),
    ),
    "wasm": Object(
        keys={
            "EntryModule": _FIXED,
            "Entrypoint": _FIXED,
            "Parameters": _ARGV,
            "ImportModules": ListOf(item=_FIXED),
        },
        required=("EntryModule",),
    ),
}

_S3 = {
    "Bucket": Text(),
    "Key": Text(empty=True, role="s3_key"),
    "Region": Text(empty=True),
    "Endpoint": Text(empty=True),
    "Filter": Text(empty=True),
    "VersionID": Text(empty=True),
    "ChecksumSHA256": Text(empty=True),
    "Partition": Object(
        keys={
            "Type": _FIXED,
            "Pattern": Text(empty=True),
            "StartIndex": Integer(),
            "EndIndex": Integer(),
            "DateFormat": Text(empty=True),
        }
    ),
}
_LOCAL = Object(
    keys={
        "SourcePath": Text(role="path"),
        "ReadWrite": Boolean(),
        "CreateAs": _FIXED,
    },
    required=("SourcePath",),
)
SOURCES: Mapping[str, Object] = {
    "s3": Object(keys=_S3, required=("Bucket",)),
    "s3PreSigned": Object(
        keys={**_S3, "PreSignedURL": Text()}, required=("Bucket", "PreSignedURL")
    ),
    "inline": Object(keys={"URL": Text(role="data_url")}, required=("URL",)),
    "urlDownload": Object(keys={"URL": Text()}, required=("URL",)),
    "localDirectory": _LOCAL,
    "local": _LOCAL,
    "ipfs": Object(keys={"CID": Text()}, required=("CID",)),
}

PUBLISHERS: Mapping[str, Object] = {
    "s3": Object(
        keys={
            "Bucket": Text(),
            "Key": Text(),
            "Endpoint": Text(empty=True),
            "Region": Text(empty=True),
            "Encoding": _FIXED,
        },
        required=("Bucket", "Key"),
    ),
    "s3managed": Object(keys={}),
    "local": Object(keys={}),
    "ipfs": Object(keys={}),
    "noop": Object(keys={}),
}

_PORT = Object(
    keys={
        "Name": _FIXED,
        "Static": Integer(maximum=65535),
        "Target": Integer(maximum=65535),
        "HostNetwork": _FIXED,
    },
    required=("Name",),
)
_TASK = Object(
    keys={
        "Name": _FIXED,
        "Engine": Typed(what="engine", types=ENGINES),
        "Publisher": Typed(what="publisher", types=PUBLISHERS),
        "Env": TextMap(value=Text(empty=True, role="env")),
        "Meta": TextMap(),
        "InputSources": ListOf(
            item=Object(
                keys={
                    "Source": Typed(what="input source", types=SOURCES),
                    "Target": Text(role="path"),
                    "Alias": Text(fixed=True, empty=True),
                },
                required=("Source", "Target"),
            )
        ),
        "ResultPaths": ListOf(
            item=Object(
                keys={"Name": _FIXED, "Path": Text(role="path")},
                required=("Name", "Path"),
            )
        ),
        "Resources": Object(
            keys={"CPU": Text(), "Memory": Text(), "Disk": Text(), "GPU": Text()},
        ),
        "Network": Object(
            keys={"Type": _FIXED, "Domains": _TEXTS, "Ports": ListOf(item=_PORT)},
        ),
        "Timeouts": Object(
            keys={
                "ExecutionTimeout": Integer(fixed=True),
                "QueueTimeout": Integer(fixed=True),
                "TotalTimeout": Integer(fixed=True),
            }
        ),
    },
    required=("Name", "Engine"),
)
JOB = Object(
    keys={
        "Name": _FIXED,
        "Namespace": _FIXED,
        "Type": _FIXED,
        "Priority": Integer(minimum=-(2**31)),
        "Count": Integer(minimum=1, maximum=10_000),
        "Constraints": ListOf(
            item=Object(
                keys={"Key": _FIXED, "Operator": _FIXED, "Values": _TEXTS},
                required=("Key", "Operator"),
            )
        ),
        "Meta": TextMap(),
        "Labels": TextMap(),
        "Tasks": ListOf(item=_TASK),
    },
    required=("Type", "Tasks"),
    fixed_by_node=frozenset({"ID", "State", "Version", "Revision", "CreateTime", "ModifyTime"}),
)

JOB_TYPES: Mapping[str, str] = {
    "service": "a service never ends, so a run of it would never be done",
    "daemon": "a daemon never ends, so a run of it would never be done",
}
"""Types that the node takes and a trigger cannot use, with the reason."""

NETWORKS = ("Default", "None", "Host", "Full", "HTTP", "Bridge")
OPERATORS = ("!", "=", "==", "in", "!=", "notin", "exists", "gt", "lt")

CPU = re.compile(r"[0-9]+(\.[0-9]+)?m?")
SIZE = re.compile(r"[0-9]+(\.[0-9]+)? ?([kmgtpe]i?b?|b)?", re.IGNORECASE | re.ASCII)
GPU = re.compile(r"[0-9]{1,4}")
DOMAIN = re.compile(r"([a-z0-9]+(-[a-z0-9]+)*\.)+[a-z]{2,}", re.IGNORECASE | re.ASCII)
ENV_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
PORT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,200}")
JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
