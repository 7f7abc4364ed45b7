"""What a run's job writes, line by line: from the cluster while it has it, else what was kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import structlog
from anyio.to_thread import run_sync
from fastapi import Query
from starlette.responses import StreamingResponse

from bacalhau_client import BacalhauError
from orchestrator.domain.states import ATTEMPT_LIVE
from orchestrator.store.errors import Conflict
from orchestrator.store.values import Attempt
from orchestrator.web import query
from orchestrator.web.deps import Deps
from orchestrator.web.logstream import LogStream, TooMany
from orchestrator.web.problems import Trouble, invalid
from orchestrator.web.routes._common import STRICT, D, api_router

_log = structlog.get_logger(__name__)
router = api_router("runs")
_FIRST_WITHIN = 1.0  # seconds; then the answer begins, and the line comes when it comes


@router.get("/runs/{run_id}/logs", dependencies=STRICT, response_class=StreamingResponse)
async def logs(
    d: D,
    run_id: str,
    attempt: Annotated[str | None, Query(description="its number; the last without it")] = None,
    follow: Annotated[str | None, Query(description="go on until the job ends")] = None,
) -> StreamingResponse:
    """Stream the output of an attempt as text; the header `Orch-Logs` says where it is from.

    `cluster`: the whole output, from the node. `kept`: the cluster does not give it, so this is
    what the orchestrator kept of it when the job ended.
    """
    live = query.flag("follow", follow)
    chosen = await run_sync(_choose, d, run_id, attempt)
    live = live and chosen.state in ATTEMPT_LIVE
    try:
        stream = LogStream(d.cluster.client, chosen, follow=live, stopping=d.stopping)
    except TooMany as failure:
        raise Trouble(
            503, "too many logs are read at once: try again", headers={"Retry-After": "5"}
        ) from failure
    try:
        first = await stream.first(_FIRST_WITHIN if live else 60.0)
    except BacalhauError as failure:
        stream.close()
        _log.info("logs from the store", run=run_id, reason=str(failure))
        return _answer(chosen, "kept", _kept(chosen))
    except BaseException:
        stream.close()
        raise
    return _answer(chosen, "cluster", _joined(first, stream))


def _answer(attempt: Attempt, source: str, lines: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(
        lines,
        media_type="text/plain; charset=utf-8",
        headers={"Orch-Logs": source, "Orch-Attempt": str(attempt.number)},
    )


def _choose(d: Deps, run_id: str, number: str | None) -> Attempt:
    run = d.reads.run(run_id)
    attempts = d.reads.attempts([run.id])[run.id]
    if not attempts:
        raise Conflict(f"run {run.id} has no attempt yet, so nothing was written")
    if number is None:
        return attempts[-1]
    found = [a for a in attempts if str(a.number) == number]
    if not found:
        known = ", ".join(str(a.number) for a in attempts)
        raise invalid("attempt", f"there is no attempt {number[:20]!r}", f"Known are {known}")
    return found[0]


async def _kept(attempt: Attempt) -> AsyncIterator[str]:
    for text in (attempt.stdout, attempt.stderr):
        if text:
            yield text if text.endswith("\n") else f"{text}\n"


async def _joined(first: str | None, stream: LogStream) -> AsyncIterator[str]:
    try:
        if first is None:
            return
        yield first
        async for line in stream.lines():
            yield line
    finally:
        stream.close()
