"""Settings: what is taken, and how what is not is told."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.abc import SettingsError
from connectors.webhook import WebhookConnector
from connectors.webhook.settings import BODY_ALONE, BODY_BESIDE, parse_settings
from orchestrator.cli.fields import fields_of

NAME = {"secret": "HOOK"}
SIGNED: dict[str, Any] = {
    "signature": "generic",
    "secret": NAME,
    "signature_header": "X-Signature",
}


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({}, "signature", "is missing"),
        ({"signature": "hmac"}, "signature", "'hmac' is not accepted"),
        ({"signature": "github"}, "secret", "is missing"),
        ({"signature": "none", "secret": NAME}, "secret", "does nothing"),
        ({"signature": "github", "secret": "hunter2"}, "secret[0]", "a secret stands in the file"),
        ({"signature": "github", "secret": [NAME] * 3}, "secret", "there are 3"),
        ({"signature": "github", "secret": []}, "secret", "there are 0"),
        ({"signature": "github", "secret": {"secret": "a b"}}, "secret[0]", "no name"),
        ({**SIGNED, "signature_header": None}, "signature_header", "is missing"),
        ({**SIGNED, "signature_header": "X Signature"}, "signature_header", "no name of a header"),
        ({**SIGNED, "signature_header": "X\r\nY"}, "signature_header", "no name of a header"),
        ({**SIGNED, "algorithm": "md5"}, "algorithm", "'md5' is not accepted"),
        ({**SIGNED, "encoding": "base32"}, "encoding", "is not accepted"),
        ({**SIGNED, "prefix": "é="}, "prefix", "not plain text"),
        ({**SIGNED, "timestamp_header": ""}, "timestamp_header", "no name of a header"),
        ({**SIGNED, "signed": "v0:{timestamp}:{body}"}, "signed", "only where it is signed"),
        ({**SIGNED, "timestamp_header": "X-T", "signed": "{body}"}, "signed", "a time counts only"),
        ({**SIGNED, "signed": "{key}.{body}"}, "signed", "is not named"),
        ({**SIGNED, "signed": "{body}{body}"}, "signed", "does not end in {body}"),
        ({**SIGNED, "signed": "{body}."}, "signed", "does not end in {body}"),
        ({**SIGNED, "signed": "{url}.{body}"}, "signed", "a piece of another name"),
        (
            {**SIGNED, "timestamp_header": "X-T", "signed": "{timestamp}{body}"},
            "signed",
            "nothing between",
        ),
        (
            {**SIGNED, "timestamp_header": "X-T", "signed": "{timestamp}0{body}"},
            "signed",
            "nothing between",
        ),
        (
            {
                **SIGNED,
                "timestamp_header": "X-T",
                "signed": "{timestamp}.{timestamp}.{body}",
            },
            "signed",
            "a piece twice",
        ),
        ({**SIGNED, "tolerance": "1m"}, "tolerance", "does nothing"),
        ({"signature": "stripe", "secret": NAME, "tolerance": "2d"}, "tolerance", "too long"),
        ({"signature": "stripe", "secret": NAME, "tolerance": 300}, "tolerance", "no unit"),
        (
            {"signature": "stripe", "secret": NAME, "tolerance": "1h", "dedup_window": "1h"},
            "dedup_window",
            "could come again",
        ),
        ({"signature": "none", "dedup_window": "1s"}, "dedup_window", "too short"),
        ({"signature": "github", "secret": NAME, "prefix": "x"}, "prefix", "does nothing"),
        ({"signature": "none", "idempotency": "header"}, "idempotency", "names no key"),
        ({"signature": "none", "idempotency": {}}, "idempotency", "in one place"),
        (
            {"signature": "none", "idempotency": {"header": "X", "field": "id"}},
            "idempotency",
            "in one place",
        ),
        ({"signature": "none", "idempotency": {"feld": "id"}}, "idempotency.feld", "unknown"),
        ({"signature": "none", "idempotency": {"field": "a..b"}}, "idempotency.field", "no place"),
        ({"signature": "none", "headers": ["Cookie"]}, "headers[0]", "proves who"),
        ({"signature": "none", "headers": ["X-A", "x-a"]}, "headers[1]", "twice"),
        ({"signature": "none", "headers": ["a:b"]}, "headers[0]", "no name of a header"),
        ({"signature": "none", "headers": [f"X-{n}" for n in range(33)]}, "headers", "33 headers"),
        ({**SIGNED, "headers": ["x-signature"]}, "headers", "is the signature"),
        ({"signature": "none", "max_body": 0}, "max_body", "not within"),
        ({"signature": "none", "max_body": 2**24 + 1, "storage": "/s"}, "max_body", "not within"),
        ({"signature": "none", "max_body": BODY_ALONE + 1}, "max_body", "do not fit into a job"),
        ({"signature": "none", "storage": "bucket"}, "storage", "not an address"),
        ({"signature": "none", "keep": "long"}, "keep", "long"),
        ({"signature": "none", "keep": "1h"}, "keep", "does nothing"),
        ({"signature": "none", "secrets": NAME}, "secrets", "unknown setting"),
    ],
)
def test_a_bad_setting_is_told_with_its_place(settings: dict[str, Any], path: str, words: str):
    """Each problem names its key and has a remedy; a secret that was written is not shown."""
    with pytest.raises(SettingsError) as caught:
        WebhookConnector().check(settings)
    problem = caught.value.problems[0]
    assert (problem.path, words in problem.message) == (path, True), problem
    assert problem.remedy
    assert "hunter2" not in str(caught.value)


def test_nobody_is_let_in_by_accident():
    """Without a word about signatures nothing is registered; `none` has to be written."""
    with pytest.raises(SettingsError):
        parse_settings({"secret": NAME})
    assert parse_settings({"signature": "none"}).signature == "none"


def test_sizes_follow_from_where_bodies_go():
    """A body that fits into no job is not taken unless there is a storage."""
    assert parse_settings({"signature": "none"}).body_bytes == BODY_ALONE
    assert parse_settings({"signature": "none", "storage": "/srv"}).body_bytes == BODY_BESIDE
    assert parse_settings({"signature": "none", "max_body": 10}).body_bytes == 10


def test_any_change_goes_without_a_reset():
    """Nothing points into what others bring."""
    connector = WebhookConnector()
    assert connector.identity({"signature": "none"}) == connector.identity(SIGNED)


def test_a_secret_is_named_on_the_command_line_as_in_a_file():
    """One option for each of two secrets, in braces or not."""
    field = fields_of(WebhookConnector())["secret"]
    assert field.value(["{secret: NEW}", "{secret: OLD}"]) == [{"secret": "NEW"}, {"secret": "OLD"}]
    assert field.value(["PLAIN"]) == [{"secret": "PLAIN"}]
