"""Jobs as they come over HTTP: one, or a batch of them."""

from __future__ import annotations

import hashlib
from typing import Any, cast

import pydantic

import specs
from connectors import durations
from connectors.abc import SettingsError
from connectors.times import HORIZON
from connectors.validation import validate
from orchestrator.domain.roles import Role
from orchestrator.operations.jobs import Asked
from orchestrator.store.database import canonical
from orchestrator.store.jobs import NewJob
from orchestrator.web import query
from orchestrator.web.body import Body, Strict
from orchestrator.web.deps import Deps
from orchestrator.web.problems import (
    Trouble,
    error,
    invalid,
    settings_errors,
    spec_errors,
    summary,
)
from orchestrator.web.rights import check_role

AT_MOST = 10_000  # jobs in a batch
_PROBLEMS_AT_MOST = 1000
_LONGEST_KEY = 255


class Asking(Strict):
    """A job: of a template, or whole. `input` alone goes to the default template."""

    template: str | None = pydantic.Field(
        default=None, description="Name of a trigger of kind job; the default template without it"
    )
    job: dict[str, Any] | None = pydantic.Field(
        default=None, description="A whole Bacalhau job, in place of a template"
    )
    parameters: dict[str, Any] = pydantic.Field(
        default={}, description="As the template's JSON Schema asks for"
    )
    input: Any = pydantic.Field(default=None, description="`${{ input }}` in the job")
    run_at: str | None = pydantic.Field(default=None, description="When, RFC 3339; now without it")
    delay: str | None = pydantic.Field(
        default=None, description="In how long: 10s, 5m, 7d", examples=["5m"]
    )
    priority: int | None = pydantic.Field(
        default=None, ge=-1_000_000, le=1_000_000, description="Higher ones go first"
    )
    callback_url: str | None = pydantic.Field(
        default=None, description="Told of its end as `callbacks` are, signed"
    )


class _Listed(Asking):
    """The same in a batch."""

    idempotency_key: str | None = pydantic.Field(
        default=None, min_length=1, max_length=_LONGEST_KEY
    )


def read_asked(asking: Asking, now: int, *, key: str | None, body: Body | None = None) -> Asked:
    """What a request asks for. Raises Trouble.

    `key` is the client's own; with one, the content of the request is remembered beside it.
    """
    digest = ""
    if key is not None:
        content = body.mapping() if body is not None else asking.model_dump(exclude_unset=True)
        digest = hashlib.sha256(canonical(content).encode()).hexdigest()[:32]
    if asking.job is not None and asking.template is not None:
        raise invalid("job", "template and job are given together", "Send one of them")
    return Asked(
        template=asking.template,
        job=asking.job,
        parameters=asking.parameters,
        values={"input": asking.input} if "input" in asking.model_fields_set else {},
        run_at=_run_at(asking, now),
        priority=asking.priority,
        callback_url=asking.callback_url,
        client_key=key,
        digest=digest,
    )


def _run_at(asking: Asking, now: int) -> int | None:
    if asking.delay is None:
        return query.instant("run_at", asking.run_at)
    if asking.run_at is not None:
        raise invalid("delay", "run_at and delay are given together", "Send one of them")
    try:
        delay = durations.parse(asking.delay)
    except ValueError as failure:
        raise invalid("delay", str(failure), "Write it as 10s, 5m, 1h30m or 7d") from failure
    if now + delay >= HORIZON:
        raise invalid("delay", f"{asking.delay!r} is too long", "Write a shorter one")
    return now + delay if delay else None


def check_rights(role: Role, *jobs: object) -> None:
    """Raises Trouble if one of `jobs` is there, a whole job, and `role` may not say what runs."""
    if any(job is not None for job in jobs):
        check_role(role, Role.ADMIN, "a whole job")


def read_batch(d: Deps, body: Body, role: Role) -> list[NewJob]:
    """The jobs of a batch, checked. Raises Trouble with every problem; its path begins with the
    place of the job."""
    planned: list[NewJob] = []
    errors: list[dict[str, Any]] = []
    seen: dict[str | None, Any] = {}
    now = d.clock.now()
    items = _items(body)
    check_rights(
        role, *(cast("dict[str, Any]", i).get("job") for i in items if isinstance(i, dict))
    )
    for index, item in enumerate(items):
        place = f"jobs[{index}]"
        try:
            if not isinstance(item, dict):
                raise invalid("", "must be a JSON object", "Send a job")
            asking = validate(_Listed, item)  # pyright: ignore[reportUnknownArgumentType]
            key = asking.idempotency_key
            planned.append(d.job_desk.plan(read_asked(asking, now, key=key), seen))
        except Trouble as failure:
            found = [dict(entry) for entry in failure.errors]
        except SettingsError as failure:
            found = settings_errors(failure)
        except specs.SpecError as failure:
            errors += spec_errors(failure.problems, place)
            found = []
        else:
            continue
        errors += [{**e, "path": f"{place}.{e['path']}" if e["path"] else place} for e in found]
        if len(errors) >= _PROBLEMS_AT_MOST:
            break
    if errors:
        raise Trouble(422, summary(errors), errors=errors)
    return planned


def _items(body: Body) -> list[Any]:
    data = body.mapping()
    unknown = [key for key in data if key != "jobs"]
    if unknown:
        raise invalid(unknown[0][:100], "unknown key", 'Send {"jobs": [job, …]}')
    items = data.get("jobs")
    if not isinstance(items, list) or not items:
        raise invalid("jobs", "the list of jobs is missing", 'Send {"jobs": [job, …]}')
    found = cast("list[Any]", items)
    if len(found) > AT_MOST:
        detail = f"the batch has {len(found):,} jobs"
        raise Trouble(422, detail, errors=[error("jobs", detail, f"Send at most {AT_MOST:,}")])
    return found
