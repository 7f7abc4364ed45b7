"""The connector ``cron``: due times from expressions, intervals and lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar

import pydantic

from connectors.abc import JSON, Overlap, TimeConnector
from connectors.cron.schedule import CronSchedule
from connectors.cron.settings import CronSettings, parse_settings


class CronConnector(TimeConnector):
    """Due times from ``schedule``, ``every`` or ``at``."""

    kind: ClassVar[str] = "cron"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "due times from a cron expression, an interval or a list of times"
    settings_model: ClassVar[type[pydantic.BaseModel]] = CronSettings
    default_overlap: ClassVar[Overlap] = "skip"

    def schedule(self, settings: Mapping[str, JSON]) -> CronSchedule:
        try:
            canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError):  # not JSON: the check says what and where
            return CronSchedule(parse_settings(settings))
        return _schedule(canonical)

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """Empty: time is one source, so a schedule may change without a reset."""
        self.schedule(settings)
        return {}


@lru_cache(maxsize=4096)
def _schedule(canonical: str) -> CronSchedule:
    return CronSchedule(parse_settings(json.loads(canonical)))
