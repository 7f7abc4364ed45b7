"""The conformance kit: tests that every connector passes, to be run by the author of one.

Describe yours by a harness, and derive a class of the suite that fits::

    class TestMailbox(QueueConformance):
        @pytest.fixture
        def harness(self, tmp_path: Path) -> Iterator[MailboxHarness]:
            yield MailboxHarness(tmp_path)

Needs pytest, which is no dependency of what runs: nothing but tests imports this package.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in ("checks", "runners", "watching", "settings", "streams", "lives")
    ),
    *(f"{__name__}.{module}" for module in ("queues", "push", "times")),
)

from connectors.testing.crashes import Crash, CrashingQueue, CrashingStream, Fuse  # noqa: E402
from connectors.testing.harness import (  # noqa: E402
    Bad,
    LifeHarness,
    PushHarness,
    QueueHarness,
    StreamHarness,
    TimeHarness,
)
from connectors.testing.lives import LifeConformance  # noqa: E402
from connectors.testing.push import PushConformance  # noqa: E402
from connectors.testing.queues import QueueConformance  # noqa: E402
from connectors.testing.runners import QueueRunner, StreamRunner  # noqa: E402
from connectors.testing.settings import ConnectorConformance  # noqa: E402
from connectors.testing.streams import (  # noqa: E402
    StreamConformance,
    numbered,
)
from connectors.testing.times import TimeConformance  # noqa: E402

__all__ = [
    "Bad",
    "ConnectorConformance",
    "Crash",
    "CrashingQueue",
    "CrashingStream",
    "Fuse",
    "LifeConformance",
    "LifeHarness",
    "PushConformance",
    "PushHarness",
    "QueueConformance",
    "QueueHarness",
    "QueueRunner",
    "StreamConformance",
    "StreamHarness",
    "StreamRunner",
    "TimeConformance",
    "TimeHarness",
    "numbered",
]
