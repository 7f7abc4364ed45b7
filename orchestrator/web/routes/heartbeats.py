"""Heartbeats: a task of a service says that it is well, with the token of its own attempt."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from orchestrator.domain.clock import SECOND
from orchestrator.domain.keeping import BadCheckpoint
from orchestrator.services.heartbeats import ForeignToken, NoToken, TooLarge, TooMany
from orchestrator.store.heartbeats import Leave, OtherExecution, Unheard
from orchestrator.web.body import JsonBody, Strict, openapi_model
from orchestrator.web.guard import bearer
from orchestrator.web.problems import Trouble, invalid
from orchestrator.web.routes._common import STRICT, D, api_router, reply

router = api_router("runs")
_EXECUTION_AT_MOST = 200


class Said(Strict):
    """What a task says: how far it is, and what its next life is to begin from. `execution` is its
    BACALHAU_EXECUTION_ID."""

    progress: Any = None
    checkpoint: Any = None
    execution: str = ""


@router.put("/runs/{run_id}/heartbeat", dependencies=STRICT, openapi_extra=openapi_model(Said))
def heartbeat(d: D, request: Request, run_id: str, body: JsonBody) -> JSONResponse:
    """Say that the task of a service's run is well. The only token that counts is that of the
    attempt itself. Answers `lease` (seconds for which it may go on) and `checkpoint` (the last one
    of this copy). After 401, 403, 409 or 410 the task has to end itself."""
    said = body.check(Said)
    if len(said.execution) > _EXECUTION_AT_MOST:
        raise invalid("execution", "is too long", "Send BACALHAU_EXECUTION_ID")
    checkpoint = (said.checkpoint,) if "checkpoint" in said.model_fields_set else None
    try:
        heard = d.heartbeats.beat(
            run_id,
            bearer(request),
            execution=said.execution,
            progress=said.progress,
            checkpoint=checkpoint,
        )
    except NoToken as error:
        challenge = {"WWW-Authenticate": 'Bearer realm="orch run"'}
        detail = f"{error}: send `Authorization: Bearer $ORCH_TOKEN`"
        raise Trouble(401, detail, headers=challenge) from error
    except ForeignToken as error:
        raise Trouble(403, f"{error}: leave") from error
    except OtherExecution as error:
        raise Trouble(409, f"{error}: leave") from error
    except Leave as error:
        raise Trouble(410, f"{error}: leave") from error
    except TooMany as error:
        raise Trouble(429, str(error), headers={"Retry-After": "1"}) from error
    except Unheard as error:
        raise Trouble(503, str(error), headers={"Retry-After": "1"}) from error
    except TooLarge as error:
        raise invalid("progress", "is too large", str(error)) from error
    except BadCheckpoint as error:
        raise invalid("checkpoint", "cannot be kept", str(error)) from error
    return reply(
        {
            "lease": heard.lease_us / SECOND,
            "checkpoint": None if heard.checkpoint is None else json.loads(heard.checkpoint),
        }
    )
