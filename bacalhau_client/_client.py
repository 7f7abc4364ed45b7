"""The client itself."""

import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bacalhau_client._auth import BasicAuth, BearerAuth
from bacalhau_client._cluster import Agent, Nodes
from bacalhau_client._jobs import DEFAULT_NAMESPACE, Jobs
from bacalhau_client._retry import RetryPolicy
from bacalhau_client._transport import Params, Transport

DEFAULT_USER_AGENT = "bacalhau-client-python/1"


class BacalhauClient:
    """A node's REST API. Safe to share between threads; close it, or use it in a ``with``.

    ``url`` is the node's address without ``/api/v1``; ValueError for what is none. Times are in
    seconds: ``connect_timeout`` bounds each step of connecting, ``read_timeout`` the silence
    while waiting for an answer and then the time that its body takes. The read timeout should
    be above 30, after which a node cuts its own work off. Threads that send more than
    ``pool_size`` requests at once wait for one another.

    ``ca`` is a PEM file of the authorities to trust instead of the usual ones, or False to trust
    everyone, which is for trying only and warned about. ``stop``, when set by somebody, ends
    pauses between tries and log streams early; ``close`` ends those of a client without one.

    Proxies, CA bundles and ``.netrc`` in the environment are not used and redirects are not
    followed: credentials go to ``url`` and nowhere else.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        auth: BearerAuth | BasicAuth | None = None,
        ca: str | Path | bool = True,
        connect_timeout: float = 5.0,
        read_timeout: float = 40.0,
        pool_size: int = 32,
        retry: RetryPolicy | None = None,
        user_agent: str = DEFAULT_USER_AGENT,
        stop: threading.Event | None = None,
    ) -> None:
        if not namespace:
            raise ValueError("namespace: must not be empty; leave it out for 'default'")
        self._own_stop = threading.Event()
        self._transport = Transport(
            url,
            auth=auth,
            ca=ca,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            pool_size=pool_size,
            retry=retry or RetryPolicy(),
            user_agent=user_agent,
            stop=self._own_stop if stop is None else stop,
        )
        self.namespace = namespace
        self.jobs = Jobs(self._transport, namespace)
        self.nodes = Nodes(self._transport)
        self.agent = Agent(self._transport)

    @property
    def url(self) -> str:
        """The node's address, without a trailing slash."""
        return self._transport.endpoint.url

    def get_json(self, path: str, params: Params | None = None) -> Mapping[str, Any]:
        """GETs a JSON object from a path of the API that has no method here."""
        if not path.startswith("/"):
            raise ValueError(f"path {path!r}: must begin with '/'")
        return self._transport.read(path, params, lambda f: f.raw)

    def close(self) -> None:
        """Ends pauses and log streams, closes idle connections. May be called twice."""
        self._own_stop.set()
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"BacalhauClient({self.url!r}, namespace={self.namespace!r})"
