"""What sources of these tests run in."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from connectors.streams import SourceContext


@pytest.fixture
def source_context(tmp_path: Path) -> SourceContext:
    """That of a trigger without secrets."""
    return SourceContext(
        instance="i",
        trigger="objects",
        trigger_uid="u-1",
        secrets={},
        data_dir=tmp_path / "data",
        stop=threading.Event(),
    )
