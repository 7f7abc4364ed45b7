"""What S3 tells in a queue, in each of its forms. Everything here may be forged or broken.

The plain form holds several records, and their keys are URL-encoded; EventBridge's holds one, and
its key stands as it is. Either may be wrapped by SNS.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast
from urllib.parse import unquote_plus

from connectors.abc import SettingsError
from connectors.fields import rfc3339
from connectors.s3.objects import Found
from connectors.validation import shown

_MAX_KEY = 1024  # bytes
_MAX_TEXT = 1024
_MAX_SIZE = 2**63 - 1

_Fields: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What one message of the queue says."""

    objects: Sequence[Found] = ()
    """Those that were written."""
    faults: Sequence[str] = ()
    """What in it is no event of this bucket, in words for people."""


class _Fault(Exception):
    """Something that is no event of this bucket."""


def read(body: str, bucket: str, now: int) -> Told:
    """Read a message's body. Never raises.

    `now` stands in for times that cannot be read or lie ahead of it, microseconds since 1970.
    """
    try:
        data = _object(body)
        if data.get("Type") == "Notification" and isinstance(data.get("Message"), str):
            data = _object(data["Message"])
        if data.get("Event") == "s3:TestEvent":
            return Told()
        if isinstance(data.get("Records"), list):
            return _records(cast(Sequence[object], data["Records"]), bucket, now)
        if data.get("source") == "aws.s3" and "detail" in data:
            found = _of_eventbridge(data, bucket, now)
            return Told(objects=[found] if found else [])
    except _Fault as fault:
        return Told(faults=[str(fault)])
    return Told(faults=[f"{shown(body)} is no event of S3"])


def _object(text: str) -> _Fields:
    try:
        data: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _Fault(f"{shown(text)} is not JSON") from error
    if not isinstance(data, dict):
        raise _Fault(f"{shown(text)} is no JSON object")
    return cast(_Fields, data)


def _records(records: Sequence[object], bucket: str, now: int) -> Told:
    objects: list[Found] = []
    faults: list[str] = []
    for record in records:
        try:
            found = _of_record(record, bucket, now)
        except _Fault as fault:
            faults.append(str(fault))
        else:
            objects += [found] if found else []
    return Told(objects=objects, faults=faults)


def _of_record(record: object, bucket: str, now: int) -> Found | None:
    """The object that a record tells of; None for one that tells of something else."""
    event = _at(record, "eventName")
    if not isinstance(event, str):
        raise _Fault(f"{shown(record)} is no record of S3")
    if not event.removeprefix("s3:").startswith("ObjectCreated:"):
        return None
    fields = _fields(record, "s3", "object")
    try:
        key = unquote_plus(_text(fields, "key"), errors="strict")
    except ValueError as error:
        raise _Fault(f"the key {shown(fields['key'])} is not URL-encoded UTF-8") from error
    return _found(
        _at(record, "s3", "bucket", "name"),
        key,
        fields,
        time=_at(record, "eventTime"),
        of=(bucket, now),
    )


def _of_eventbridge(data: _Fields, bucket: str, now: int) -> Found | None:
    if data.get("detail-type") != "Object Created":
        return None
    fields = _fields(data, "detail", "object")
    return _found(
        _at(data, "detail", "bucket", "name"),
        _text(fields, "key"),
        fields,
        time=data.get("time"),
        of=(bucket, now),
    )


def _at(data: object, *path: str) -> object:
    """What stands at a path; None where there is nothing."""
    for name in path:
        data = cast(_Fields, data).get(name) if isinstance(data, dict) else None
    return data


def _fields(data: object, *path: str) -> _Fields:
    found = _at(data, *path)
    if not isinstance(found, dict):
        raise _Fault(f"{shown(data)} names no object")
    return cast(_Fields, found)


def _found(
    bucket: object, key: str, fields: _Fields, *, time: object, of: tuple[str, int]
) -> Found:
    """The object with these fields, whichever form's names they have."""
    wanted, now = of
    if bucket != wanted:
        raise _Fault(f"the object {shown(key)} is in the bucket {shown(bucket)}, not {wanted!r}")
    try:
        fits = 1 <= len(key.encode()) <= _MAX_KEY
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise _Fault(f"{shown(key)} is no key of an object")
    size = fields.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _MAX_SIZE:
        raise _Fault(f"the object {shown(key)} has the size {shown(size)}")
    return Found(
        key=key,
        etag=_text(fields, "eTag" if "eTag" in fields else "etag").strip('"'),
        size=size,
        modified=_time(time, now),
        version=_version(fields.get("versionId", fields.get("version-id"))),
    )


def _text(fields: _Fields, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= 3 * _MAX_TEXT:
        raise _Fault(f"an object has the {name} {shown(value)}")
    return value


def _version(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > _MAX_TEXT:
        return ""
    return "" if value == "null" else value


def _time(value: object, now: int) -> int:
    try:
        return min(rfc3339(value), now) if isinstance(value, str) else now
    except SettingsError:
        return now
