"""Addresses of stores: what they mean, and what is said about bad ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.abc import SettingsError
from connectors.storage.address import (
    Address,
    DirectoryAddress,
    IpfsAddress,
    S3Address,
    parse,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("/srv/orch", DirectoryAddress(path="/srv/orch")),
        ("/srv//orch/./x/", DirectoryAddress(path="/srv/orch/x")),
        ("/srv/what?#", DirectoryAddress(path="/srv/what?#")),
        ("file:///srv/a%20b", DirectoryAddress(path="/srv/a b")),
        ("file://localhost/srv", DirectoryAddress(path="/srv")),
        ("s3://logs", S3Address(bucket="logs")),
        ("s3://logs/", S3Address(bucket="logs")),
        ("s3://logs/a/b/", S3Address(bucket="logs", prefix="a/b")),
        (
            "s3://logs/a?region=eu-central-1&endpoint=http://127.0.0.1:9000/",
            S3Address(
                bucket="logs",
                prefix="a",
                region="eu-central-1",
                endpoint="http://127.0.0.1:9000",
            ),
        ),
        (
            "s3://logs?endpoint=https%3A%2F%2Fs3.example.org",
            S3Address(bucket="logs", endpoint="https://s3.example.org"),
        ),
        ("ipfs://127.0.0.1:5001", IpfsAddress(url="http://127.0.0.1:5001")),
        ("ipfs+http://kubo/", IpfsAddress(url="http://kubo")),
        ("ipfs+https://k:443/a/b", IpfsAddress(url="https://k:443", directory="a/b")),
        ("ipfs://[::1]:5001", IpfsAddress(url="http://[::1]:5001")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    """Every form; what an address prints is an address of the same place."""
    assert parse(text) == address
    assert parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not an address of a store"),
        ("srv/orch", "not an address of a store"),
        ("http://x/y", "not an address of a store"),
        ("/", "not an absolute path of a directory below /"),
        ("/srv/../etc", "not an absolute path of a directory below /"),
        ("file:///srv/%2e%2e/etc", "not an absolute path"),
        ("file:///srv/a%00b", "not an absolute path"),
        ("file://host/srv", "not a directory"),
        ("/srv/a\nb", "control character"),
        ("s3://", "not a bucket's name"),
        ("s3://Logs", "not a bucket's name"),
        ("s3://logs:80/x", "not a bucket's name"),
        ("s3://logs/a//b", "not a plain path"),
        ("s3://logs/a b", "not a plain path"),
        ("s3://logs/../x", "not a plain path"),
        ("s3://logs/x*", "not a plain path"),
        (f"s3://logs/{'x' * 201}", "not a plain path"),
        ("s3://logs?region=EU WEST", "not a region"),
        ("s3://logs?region=", "empty or given twice"),
        ("s3://logs?region=a&region=b", "empty or given twice"),
        ("s3://logs?endpoint=127.0.0.1:9000", "not an endpoint"),
        ("s3://logs?endpoint=http://x/path", "not an endpoint"),
        ("s3://logs?endpoint=http://x:y", "not an endpoint"),
        ("s3://logs?endpoint=file:///x", "not an endpoint"),
        ("s3://logs?part=1", "no option 'part'"),
        ("s3://logs#x", "after #"),
        ("ipfs://kubo", "names no port"),
        ("ipfs://:5001", "not an endpoint"),
        ("ipfs://k:99999", "not an address"),
        ("ipfs://k:5001?pin=no", "no option 'pin'"),
        ("ipfs://k:5001/..", "not a plain path"),
    ],
)
def test_bad_addresses(text: str, says: str) -> None:
    """Said what is wrong, and what to write."""
    with pytest.raises(SettingsError) as caught:
        parse(text)
    [problem] = caught.value.problems
    assert says in problem.message
    assert problem.remedy
    assert problem.path == ""


@pytest.mark.parametrize(
    "text",
    [
        "s3://key:hunter2@logs/x",
        "s3://key:hunter2%20@logs/x",
        "s3://key:hunter2@logs:port",
        "ipfs://user:hunter2@k:5001",
        "s3://logs?secret_access_key=hunter2",
        "s3://logs?endpoint=http://user:hunter2@x",
        "s3://logs?endpoint=http://user:hunter2@x:y",
        "s3://logs?endpoint=http%3A%2F%2Fuser%3Ahunter2%40x",
        "s3://logs?secret=hunter2#x",
        "nothing://logs?token=hunter2",
    ],
)
def test_secrets_are_refused_and_not_repeated(text: str) -> None:
    """An address that holds a password is an error that does not show it."""
    with pytest.raises(SettingsError) as caught:
        parse(text)
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=60) | st.text(max_size=40).map("s3://bucket/{}".format))
def test_any_text_is_an_address_or_an_error(text: str) -> None:
    """Nothing else is raised, and what is taken can be printed and parsed again."""
    try:
        address = parse(text)
    except SettingsError:
        return
    assert parse(str(address)) == address
