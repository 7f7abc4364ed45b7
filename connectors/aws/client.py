"""Clients of AWS's services, and of what speaks like them.

Credentials come the way that boto3 finds them: environment, shared files, the machine's or the
container's role. They are looked for anew with each client.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any


def make_client(
    service: str,
    *,
    region: str | None,
    endpoint: str | None,
    profile: str | None = None,
    connections: int,
    read_timeout: float = 30.0,
    attempts: int = 1,
    **config: Any,
) -> Any:
    """boto3's client of a service, by its name there (``sqs``). Thread-safe, and not connected yet.

    `attempts` is how often a call is tried in all: whether and when to ask again is mostly decided
    by whoever knows what the call is for. `config` is more of ``botocore.config.Config``. Raises
    what botocore raises: see :mod:`connectors.aws.errors`.
    """
    sessions: Any = importlib.import_module("botocore.session")
    configs: Any = importlib.import_module("botocore.config")
    session = sessions.Session(profile=profile)
    # Descriptions of services weigh 8 MB for each session that reads its own.
    session.register_component("data_loader", _loader())
    return session.create_client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        config=configs.Config(
            retries={"total_max_attempts": attempts},
            connect_timeout=5,
            read_timeout=read_timeout,
            max_pool_connections=connections,
            **config,
        ),
    )


@lru_cache(maxsize=1)
def _loader() -> Any:
    sessions: Any = importlib.import_module("botocore.session")
    return sessions.Session().get_component("data_loader")
