"""Templates of jobs: the job connector passes what the kit asks of every kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from connectors.abc import JSON
from connectors.job import JobConnector
from connectors.testing import Bad, ConnectorConformance
from connectors.testing.harness import Harness


class JobHarness(Harness[JobConnector]):
    connector = JobConnector()

    def settings(self) -> Mapping[str, JSON]:
        return {
            "parameters": {"properties": {"table": {"type": "string"}}, "required": ["table"]},
            "default": True,
            "after": ["load", "clean"],
            "match": "time",
        }

    def bad_settings(self) -> Sequence[Bad]:
        return [
            (
                {"parameters": {"properties": {"table": {"type": "text"}}}},
                "parameters.properties.table.type",
            ),
            ({"default": "yes"}, "default"),
            ({"after": ["load", "load"]}, "after[1]"),
            ({"after": [""]}, "after[0]"),
            ({"after": None}, "match"),
            ({"match": "all"}, "match"),
        ]


class TestJob(ConnectorConformance):
    """Kind job."""

    @pytest.fixture
    def harness(self) -> JobHarness:
        return JobHarness()
