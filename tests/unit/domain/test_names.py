"""Names of jobs and runs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import names

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
INSTANCE, UID = "abcd2345", "k3jx7a2q5z"


def name_of(key: str, trigger: str = "nightly", uid: str = UID, attempt: int = 1) -> str:
    return names.job_name(
        instance=INSTANCE, trigger=trigger, trigger_uid=uid, key=key, attempt=attempt
    )


@given(TEXT, TEXT, st.integers(1, 10**6))
def test_shape_and_inverse(key: str, trigger: str, attempt: int) -> None:
    """At most 120 characters of `[a-z0-9-]`, and the name says where it came from."""
    name = name_of(key, trigger, attempt=attempt)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert len(name) <= names.MAX_JOB_NAME
    assert names.parse_job_name(name) == names.JobNameParts(
        instance=INSTANCE, trigger_uid=UID, attempt=attempt
    )


@pytest.mark.parametrize(
    "trigger",
    ["daily-processing", "a-bcdefghij2-cdefghij23", "-processing-", "x-2345672345-y", "processing"],
)
def test_a_word_of_ten_letters_is_no_uid(trigger: str) -> None:
    """A trigger's name may hold words that look like a uid; the uid is still found."""
    parts = names.parse_job_name(name_of("2026-03-29T01:00:00Z", trigger))
    assert parts is not None
    assert parts.trigger_uid == UID


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/b", "a-b"),
        ("a/b", "A/B"),
        ("a", "A"),
        ("a--b", "a-b"),
        ("a b", "a_b"),
        ("é", "e\u0301"),
        ("ß", "ss"),
        ("x" * 300, "x" * 301),
        ("", "-"),
        ("K", "\N{KELVIN SIGN}"),
    ],
)
def test_keys_that_look_alike_have_different_names(one: str, other: str) -> None:
    """The hash is over the exact key, whatever the readable part drops."""
    assert name_of(one) != name_of(other)
    assert names.run_id(INSTANCE, UID, one) != names.run_id(INSTANCE, UID, other)


def test_the_firing_ends_in_80_bits() -> None:
    """What keeps keys apart is at least 80 bits of SHA-256 over the exact key."""
    found = re.search(r"-([0-9a-f]{20})-a7$", name_of("key", attempt=7))
    assert found is not None
    import hashlib

    assert hashlib.sha256(b"key").hexdigest().startswith(found[1])


@given(TEXT, TEXT)
def test_one_firing_one_name(one: str, other: str) -> None:
    """The same key always has the same name and id, another key another."""
    assert (name_of(one) == name_of(other)) == (one == other)
    assert (names.run_id(INSTANCE, UID, one) == names.run_id(INSTANCE, UID, other)) == (
        one == other
    )


def test_ids_depend_on_store_and_trigger() -> None:
    """Two stores, or two triggers, never share a run's id or a job's name."""
    assert names.run_id("one", UID, "k") != names.run_id("two", UID, "k")
    assert names.run_id(INSTANCE, "a", "bk") != names.run_id(INSTANCE, "ab", "k")
    assert name_of("k", uid="a234567abc") != name_of("k", uid="b234567abc")
    assert name_of("k", attempt=1) != name_of("k", attempt=11)


@pytest.mark.parametrize(
    "name",
    ["", "report", "orch-", "orch-a-b-c-d-a1", name_of("k") + "x", name_of("k").upper(), "x\n"],
)
def test_other_names_are_not_ours(name: str) -> None:
    """A name that `job_name` did not make is nobody's."""
    assert names.parse_job_name(name) is None


def test_what_is_given_once() -> None:
    """Instance and uid are random, of one length, and fit into a name."""
    uids = {names.new_trigger_uid() for _ in range(1000)}
    instances = {names.new_instance() for _ in range(1000)}
    assert len(uids) == len(instances) == 1000
    assert all(re.fullmatch(r"[a-z2-7]{10}", uid) for uid in uids)
    assert all(re.fullmatch(r"[a-z2-7]{8}", instance) for instance in instances)
