"""Due times: the connectors cron and at pass the kit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from connectors.abc import JSON
from connectors.cron import AtConnector, CronConnector
from connectors.testing import Bad, TimeConformance, TimeHarness


class CronHarness(TimeHarness):
    connector = CronConnector()

    def settings(self) -> Mapping[str, JSON]:
        return {"schedule": "*/7 2-4 * * *", "timezone": "Europe/Berlin", "jitter": "30s"}

    def bad_settings(self) -> Sequence[Bad]:
        return [
            ({"schedule": "61 * * * *"}, "schedule"),
            ({"schedule": None}, ""),
            ({"timezone": "Europe/Berlln"}, "timezone"),
            ({"every": "15s"}, "every"),
            ({"schedule": None, "every": "1ms", "jitter": None}, "every"),
            ({"schedule": None, "at": ["never"]}, "at[0]"),
            ({"jitter": "2d"}, "jitter"),
            ({"start": "soon"}, "start"),
            ({"start": "2026-01-01", "end": "2025-01-01"}, "end"),
        ]

    def examples(self) -> Sequence[Mapping[str, JSON]]:
        return [
            self.settings(),
            {"every": "200ms", "jitter": "0s"},
            {"every": "1h30m", "start": "2026-03-28", "timezone": "America/New_York"},
            {"schedule": "0 0 29 2 1", "timezone": "Pacific/Apia"},
            {"schedule": "30 1 * * *", "timezone": "Europe/London", "end": "2026-11-01"},
            {"at": ["2026-03-29 03:00", "2026-04-01 03:00:30"], "timezone": "Europe/Berlin"},
        ]


class TestCron(TimeConformance):
    """Kind cron."""

    @pytest.fixture
    def harness(self) -> CronHarness:
        return CronHarness()


class AtHarness(TimeHarness):
    connector = AtConnector()

    def settings(self) -> Mapping[str, JSON]:
        return {"when": ["2027-01-01 09:00 Europe/Rome"], "parameters": {"table": "orders"}}

    def bad_settings(self) -> Sequence[Bad]:
        return [
            ({"when": ["tomorrow"]}, "when[0]"),
            ({"when": []}, "when"),
            ({"when": ["2027-01-01 09:00 Europe/Rom"]}, "when[0]"),
            ({"when": ["2027-01-01T08:00:00Z", "2027-01-01 09:00 Europe/Rome"]}, "when[1]"),
            ({"timezone": "Rome"}, "timezone"),
            ({"parameters": {"text": "x" * 20_000}}, "parameters"),
        ]

    def examples(self) -> Sequence[Mapping[str, JSON]]:
        return [
            self.settings(),
            {"when": "2027-01-01T08:00:00Z"},
            {"when": ["2027-03-28 02:30", "2027-10-31 02:30"], "timezone": "Europe/Rome"},
        ]


class TestAt(TimeConformance):
    """Kind at."""

    @pytest.fixture
    def harness(self) -> AtHarness:
        return AtHarness()
