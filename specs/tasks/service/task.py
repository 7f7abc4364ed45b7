"""Follows the lines of a file from where it was, says that it is well, and is never there twice.

It begins once its first heartbeat was taken, from the checkpoint in the answer: nobody else works
then. It ends itself when a heartbeat is refused, or none was taken for the lease. Without
SERVICE_FILE it counts. Exit codes: 0 left in time, 3 told to leave, 75 nobody has answered.

Environment: ORCH_RUN_ID, ORCH_URL, ORCH_TOKEN, ORCH_HEARTBEAT, ORCH_LEASE, ORCH_DEADLINE, and
SERVICE_FILE (what to follow), SERVICE_OUT (where each line goes).
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

LEFT, UNHEARD = 3, 75
REFUSED = (401, 403, 409, 410)
MARGIN = 2.0
"""Seconds before ORCH_DEADLINE at which it leaves."""


class Pulse:
    """Says that the task is well, and knows how long it may go on."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.every, self.lease = float(env["ORCH_HEARTBEAT"]), float(env["ORCH_LEASE"])
        self.url = f"{env['ORCH_URL']}/api/v1/runs/{env['ORCH_RUN_ID']}/heartbeat"
        self.token, self.execution = env["ORCH_TOKEN"], env.get("BACALHAU_EXECUTION_ID", "")
        self.heard = time.monotonic()  # when the last one that was taken had been *sent*

    def beat(self, **said: Any) -> dict[str, Any] | None:
        """Send one; returns the answer, or None. Ends the task when it has to leave."""
        sent = time.monotonic()
        body = json.dumps({"execution": self.execution, **said}).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = Request(self.url, body, headers, method="PUT")  # noqa: S310 - orch's own
        try:
            with urlopen(request, timeout=self.lease / 3) as answer:  # noqa: S310
                self.heard = sent
                return json.load(answer)
        except HTTPError as error:
            if error.code in REFUSED:
                sys.exit(LEFT)
        except OSError:
            pass  # it may be heard the next time
        if time.monotonic() - self.heard >= self.lease - self.lease / 3:
            sys.exit(UNHEARD)  # before the lease is over, also when the next try takes its time
        return None


def step(env: Mapping[str, str], at: int) -> int:
    """Do a piece of work; returns from where the next one begins. Your own work goes here."""
    if not env.get("SERVICE_FILE"):
        return at + 1
    with open(env["SERVICE_FILE"], "rb") as source:
        source.seek(at)
        line = source.readline()
    if not line.endswith(b"\n"):
        return at
    with open(env.get("SERVICE_OUT", os.devnull), "ab") as sink:
        sink.write(line)
    return at + len(line)


def main(env: Mapping[str, str]) -> None:
    """Work for one life."""
    deadline = datetime.fromisoformat(env["ORCH_DEADLINE"]).timestamp() - MARGIN
    pulse = Pulse(env)
    while (begun := pulse.beat()) is None:
        time.sleep(pulse.every / 4)
    at, due = begun["checkpoint"] or 0, 0.0
    while time.time() < deadline:
        before, at = at, step(env, at)
        if time.monotonic() >= due:
            taken = pulse.beat(checkpoint=at, progress={"at": at})
            due = time.monotonic() + (pulse.every if taken else pulse.every / 4)
        if at == before or not env.get("SERVICE_FILE"):
            time.sleep(0.1)
    pulse.beat(checkpoint=at)


if __name__ == "__main__":
    main(os.environ)
