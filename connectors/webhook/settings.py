"""The keys of a trigger file that belong to the webhook connector."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from connectors.abc import JSON, Problem, SettingsError
from connectors.fields import Secret, SecretName, Span, Whole, error
from connectors.storage.fields import Storage
from connectors.times import DAY, MINUTE, SECOND
from connectors.validation import shown, validate

Scheme: TypeAlias = Literal["github", "stripe", "generic", "none"]
Algorithm: TypeAlias = Literal["sha256", "sha512"]
Encoding: TypeAlias = Literal["hex", "base64"]

MAX_BODY = 16 * 2**20
BODY_BESIDE = 2**20
"""Bytes of a body where there is a `storage` and nothing is said."""
BODY_ALONE = 256 * 2**10
"""The same where there is none: more does not fit into a job, twice in Base64."""

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)
_FIELD = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7}", re.ASCII)
_PIECE = re.compile(r"\{(body|timestamp|key)\}")
_OF_GENERIC = (
    *("signature_header", "algorithm", "encoding", "prefix"),
    *("timestamp_header", "signed"),
)
# What proves who somebody is would stand in the spec, which nodes keep for ever.
_PROOFS = frozenset({"authorization", "cookie", "proxy-authorization"})
_MAX_HEADERS = 32


def _header(text: str) -> str:
    if _HEADER.fullmatch(text):
        return text
    raise error(f"{shown(text)} is no name of a header", "write one such as X-Signature")


def _plain(text: str) -> str:
    if len(text) <= 100 and text.isascii() and text.isprintable():
        return text
    raise error(f"{shown(text)} is not plain text", "write up to 100 printable ASCII characters")


def _handed_on(names: tuple[str, ...]) -> tuple[str, ...]:
    problems: list[Problem] = []
    seen: set[str] = set()
    for at, name in enumerate(names):
        if name.lower() in _PROOFS:
            message = f"{name} proves who somebody is, and nodes keep every job they get"
            problems.append(Problem(f"[{at}]", message, "leave it out"))
        elif name.lower() in seen:
            problems.append(Problem(f"[{at}]", f"{name} stands there twice", "leave one out"))
        seen.add(name.lower())
    if len(names) > _MAX_HEADERS:
        remedy = f"write at most {_MAX_HEADERS}"
        problems.append(Problem("", f"there are {len(names)} headers", remedy))
    if problems:
        raise SettingsError(problems)
    return names


def _secrets(value: object) -> object:
    return cast(object, value) if isinstance(value, list | tuple) else [value]


def _one_or_two(value: tuple[SecretName, ...]) -> tuple[SecretName, ...]:
    if 1 <= len(value) <= 2:
        return value
    raise error(f"there are {len(value)} secrets", "write one, or the new and the old one")


class KeyPlace(BaseModel):
    """Where in a request the id of its event stands: exactly one of these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    header: Annotated[str, AfterValidator(_header)] | None = Field(
        default=None, description="In this header.", examples=["X-Request-Id"]
    )
    field: str | None = Field(
        default=None,
        description="At this place of a JSON body; names of nested keys with dots between them.",
        examples=["id", "event.id"],
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> KeyPlace:
        if (self.header is None) == (self.field is None):
            raise error("a key stands in one place", "write either `header` or `field`")
        if self.field is not None and not _FIELD.fullmatch(self.field):
            remedy = "write names with dots between them, such as event.id"
            raise error(f"{shown(self.field)} is no place in a body", remedy, "field")
        return self


def _idempotency(value: object) -> object:
    if value is None or value in ("body", "none") or isinstance(value, KeyPlace):
        return value
    if isinstance(value, dict):
        return validate(KeyPlace, cast(dict[str, JSON], value))
    remedy = "write {header: NAME}, {field: PLACE}, body or none"
    raise error(f"{shown(value)} names no key", remedy)


Header = Annotated[str, AfterValidator(_header)]


class WebhookSettings(BaseModel):
    """Who may bring events, and what of a request becomes one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    signature: Scheme = Field(
        description="How a sender proves who it is: `github` (X-Hub-Signature-256), `stripe`"
        " (Stripe-Signature), `generic` (an HMAC in `signature_header`), or `none`: anybody who"
        " reaches the address starts runs.",
        examples=["github"],
    )
    secret: Annotated[
        tuple[Secret, ...],
        BeforeValidator(_secrets, json_schema_input_type=Secret | list[Secret]),
        AfterValidator(_one_or_two),
    ] = Field(
        (),
        description="The name of the secret that sender and orchestrator share; a list of two"
        " while it is being replaced.",
        examples=[{"secret": "GITHUB_HOOK"}, [{"secret": "HOOK_NEW"}, {"secret": "HOOK_OLD"}]],
        validate_default=False,
    )
    signature_header: Header | None = Field(
        None,
        description="`generic`: the header with the signature.",
        examples=["X-Signature"],
    )
    algorithm: Algorithm = Field("sha256", description="`generic`: the hash of the HMAC.")
    encoding: Encoding = Field("hex", description="`generic`: how the signature is written.")
    prefix: Annotated[str, AfterValidator(_plain)] = Field(
        "",
        description="`generic`: what stands before it in the header.",
        examples=["sha256=", "v0="],
    )
    timestamp_header: Header | None = Field(
        None,
        description="`generic`: the header with the time of the request, in seconds or"
        " milliseconds since 1970. It has to be part of what is signed.",
        examples=["X-Slack-Request-Timestamp"],
    )
    signed: Annotated[str, AfterValidator(_plain)] | None = Field(
        None,
        description="`generic`: what is signed, where that is more than the body: text with"
        " `{body}`, `{timestamp}` and `{key}` (of `idempotency`) in it. With a"
        " `timestamp_header` it is `{timestamp}.{body}` if nothing is written.",
        examples=["v0:{timestamp}:{body}"],
    )
    tolerance: Annotated[int, Span(low=SECOND, high=DAY)] = Field(
        5 * MINUTE,
        description="How far a signed time may be from the orchestrator's clock.",
        examples=["1m"],
        json_schema_extra={"default": "5m"},
    )
    idempotency: Annotated[
        Literal["body", "none"] | KeyPlace | None, BeforeValidator(_idempotency)
    ] = Field(
        None,
        description="What tells that two requests bring the same event, which makes one run:"
        " `{header: NAME}`, `{field: PLACE}` in a JSON body, `body` (all of it), or `none`."
        " Without it GitHub's delivery, Stripe's event id, or Idempotency-Key where there is one.",
        examples=[{"header": "X-Request-Id"}, {"field": "event.id"}, "body"],
    )
    dedup_window: Annotated[int, Span(low=MINUTE, high=30 * DAY)] = Field(
        DAY,
        description="How long after its run has ended an event is still known.",
        examples=["7d"],
        json_schema_extra={"default": "1d"},
    )
    headers: Annotated[tuple[Header, ...], AfterValidator(_handed_on)] | None = Field(
        None,
        description="Headers that the task gets, in `event.headers`, by their names in lower case."
        " With `github` X-GitHub-Event if nothing is written.",
        examples=[["X-GitHub-Event"]],
    )
    max_body: Annotated[int, Whole(1, MAX_BODY)] | None = Field(
        None,
        description=f"Bytes of a request's body at most: {BODY_BESIDE} if nothing is written, or"
        f" {BODY_ALONE} where there is no `storage`.",
        examples=[65536],
    )
    storage: Storage | None = Field(
        None,
        description="Where bodies go that are too large to travel within the job: a directory"
        " that the nodes share, a bucket, or IPFS.",
        examples=["/srv/orch", "s3://bucket/prefix?region=eu-central-1"],
    )
    keep: Annotated[int, Span(high=3650 * DAY, zero=True)] = Field(
        DAY,
        description="How long such an object is kept once its run has ended.",
        examples=["6h"],
        json_schema_extra={"default": "1d"},
    )

    @model_validator(mode="after")
    def _fits_together(self) -> WebhookSettings:
        problems = [
            *self._of_scheme(),
            *self._of_signed(),
            *self._of_key(),
            *self._of_headers(),
            *self._of_size(),
        ]
        if problems:
            raise SettingsError(problems)
        return self

    @property
    def timed(self) -> bool:
        """Whether what is signed has a time."""
        return self.signature == "stripe" or self.timestamp_header is not None

    @property
    def signed_as(self) -> str:
        """The form of what is signed by the generic scheme."""
        if self.signed is not None:
            return self.signed
        return "{body}" if self.timestamp_header is None else "{timestamp}.{body}"

    @property
    def body_bytes(self) -> int:
        """Bytes of a body at most."""
        if self.max_body is not None:
            return self.max_body
        return BODY_ALONE if self.storage is None else BODY_BESIDE

    @property
    def headers_on(self) -> tuple[str, ...]:
        """The headers that the task gets, in lower case."""
        given = self.headers
        if given is None:
            given = ("X-GitHub-Event",) if self.signature == "github" else ()
        return tuple(name.lower() for name in given)

    def _of_scheme(self) -> list[Problem]:
        scheme = self.signature
        found: list[Problem] = []
        if scheme != "generic":
            message = f"does nothing with `signature: {scheme}`"
            found += [
                Problem(name, message, "leave it out, or write signature: generic")
                for name in _OF_GENERIC
                if name in self.model_fields_set
            ]
        elif self.signature_header is None:
            remedy = "write the name of the header, such as X-Signature"
            found.append(Problem("signature_header", "is missing", remedy))
        if scheme == "none" and self.secret:
            message = "does nothing with `signature: none`"
            remedy = "leave it out, or write how requests are signed"
            found.append(Problem("secret", message, remedy))
        elif scheme != "none" and not self.secret:
            remedy = "write {secret: NAME} and set ORCH_SECRET_NAME"
            found.append(Problem("secret", "is missing", remedy))
        if "tolerance" in self.model_fields_set and not self.timed:
            message = "does nothing where no time is signed"
            remedy = "leave it out, or name the `timestamp_header`"
            found.append(Problem("tolerance", message, remedy))
        return found

    def _of_signed(self) -> list[Problem]:
        if self.signature != "generic":
            return []
        pieces = _PIECE.findall(self.signed_as)
        rest = _PIECE.split(self.signed_as)[::2]
        given = self.signed_as
        if pieces.count("body") != 1 or pieces[-1] != "body" or rest[-1]:
            return [
                Problem("signed", f"{shown(given)} does not end in {{body}}", "write it last, once")
            ]
        if len(set(pieces)) < len(pieces):
            return [Problem("signed", f"{shown(given)} has a piece twice", "write it once")]
        # Without something between two pieces one could borrow from the other.
        if any(not text or text[0].isalnum() for text in rest[1:-1]):
            remedy = "write a dot or a colon between them"
            return [Problem("signed", f"{shown(given)} has nothing between its pieces", remedy)]
        if any("{" in text or "}" in text for text in rest):
            remedy = "write {body}, {timestamp} and {key} only"
            return [Problem("signed", f"{shown(given)} has a piece of another name", remedy)]
        if ("timestamp" in pieces) != (self.timestamp_header is not None):
            message = "a time counts only where it is signed"
            remedy = "write both `timestamp_header` and {timestamp} in `signed`, or neither"
            return [Problem("signed", message, remedy)]
        by_header = isinstance(self.idempotency, KeyPlace) and self.idempotency.header
        if "key" in pieces and not by_header:
            remedy = "write idempotency: {header: NAME}"
            return [Problem("signed", "{key} stands for a header that is not named", remedy)]
        return []

    def _of_key(self) -> list[Problem]:
        if self.timed and self.dedup_window < 2 * self.tolerance:
            message = "a request could come again once it is forgotten"
            remedy = "write at least twice the `tolerance`"
            return [Problem("dedup_window", message, remedy)]
        return []

    def _of_headers(self) -> list[Problem]:
        if self.signature_header and self.signature_header.lower() in self.headers_on:
            message = f"{self.signature_header} is the signature"
            return [Problem("headers", message, "leave it out")]
        return []

    def _of_size(self) -> list[Problem]:
        if self.storage is None and self.max_body is not None and self.max_body > BODY_ALONE:
            message = f"{self.max_body} bytes do not fit into a job"
            return [Problem("max_body", message, f"set `storage`, or write at most {BODY_ALONE}")]
        if self.storage is None and "keep" in self.model_fields_set:
            message = "does nothing without `storage`"
            return [Problem("keep", message, "leave it out, or set `storage`")]
        return []


def parse_settings(raw: Mapping[str, JSON]) -> WebhookSettings:
    """Settings as they stand in a trigger file. Raises :class:`SettingsError` with all problems."""
    return validate(WebhookSettings, raw)
