"""Names of images."""

from __future__ import annotations

import pytest

from orchestrator.images import ImageError, references

_DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "repository", "tag", "registry"),
    [
        ("report", "report", "", ""),
        ("report:1", "report", "1", ""),
        ("me/report", "me/report", "", ""),
        ("localhost:5000/a/b:x_1", "localhost:5000/a/b", "x_1", "localhost:5000"),
        ("Registry.example/a__b/c-d.e", "Registry.example/a__b/c-d.e", "", "Registry.example"),
        (f"r.example:443/a:t@{_DIGEST}", "r.example:443/a", "t", "r.example:443"),
        (f"localhost/a@{_DIGEST}", "localhost/a", "", "localhost"),
    ],
)
def test_the_parts_of_a_name(text: str, repository: str, tag: str, registry: str) -> None:
    """A port is no tag, a first part with a dot or a port is the registry."""
    found = references.parse(text)
    assert (found.repository, found.tag, found.registry) == (repository, tag, registry)
    assert found.has_owner == ("/" in text)
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    ["", "Report", "-v", "a b", "a:", "a@sha256:1", "a//b", "/a", "a:b:c", "a\nb", "ä", "x" * 400],
)
def test_what_is_no_name(text: str) -> None:
    """Nothing that an engine could take for an option or for something else."""
    with pytest.raises(ImageError, match="is not the name of an image"):
        references.parse(text)
