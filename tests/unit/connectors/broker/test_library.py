"""Without the extra it is said what to install."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from connectors.broker import library
from connectors.mqtt import MqttConnector
from connectors.queues import Inbox
from connectors.streams import SourceContext


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Settings are checked all the same: whoever writes them need not have it."""
    monkeypatch.setattr(library, "find_spec", lambda _name: None)
    MqttConnector().check({"topic": "a"})
    context = SourceContext(
        instance="i",
        trigger="t",
        trigger_uid="u",
        secrets={},
        data_dir=tmp_path,
        stop=threading.Event(),
    )
    with pytest.raises(library.NoLibrary, match=r"install orch-bacalhau\[mqtt\]"):
        MqttConnector().open({"topic": "a"}, context, Inbox(cursor=None, known=set))
