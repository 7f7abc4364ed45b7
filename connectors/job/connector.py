"""The connector ``job``: runs that a program asks for over HTTP, or that follow other triggers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar

import pydantic

from connectors.abc import JSON, Demand, DemandConnector, Overlap
from connectors.job.settings import JobSettings
from connectors.validation import validate


class JobConnector(DemandConnector):
    """A template: a job with parameters."""

    kind: ClassVar[str] = "job"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "a template whose runs are asked for over HTTP, or follow others"
    settings_model: ClassVar[type[pydantic.BaseModel]] = JobSettings
    default_overlap: ClassVar[Overlap] = "allow"
    value_paths: ClassVar[frozenset[str]] = frozenset({"parameters.*", "input.*", "after.*"})

    def demand(self, settings: Mapping[str, JSON]) -> Demand:
        read = _read(settings)
        return Demand(
            after=read.after,
            same_time=read.match == "time",
            default=read.default,
            hidden=read.hidden,
        )

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """Empty: there is no source that a checkpoint could point into."""
        _read(settings)
        return {}

    def parameters(
        self, settings: Mapping[str, JSON], given: Mapping[str, JSON]
    ) -> Mapping[str, JSON]:
        read = _read(settings)
        if read.parameters is None and not given:
            return {}
        # Loaded on use, so that a daemon without parameters stays small.
        from connectors.job.parameters import fill_in

        return fill_in(read.parameters, given)


def _read(settings: Mapping[str, JSON]) -> JobSettings:
    try:
        canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):  # not JSON: the check says what and where
        return validate(JobSettings, settings)
    return _parsed(canonical)


@lru_cache(maxsize=1024)
def _parsed(canonical: str) -> JobSettings:
    return validate(JobSettings, json.loads(canonical))
