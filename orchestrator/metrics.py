"""What this process counts, for `/metrics`. Nothing is labelled by trigger: there may be a million.

Counts begin at nought with the process, as Prometheus expects; what holds at this moment (open
runs, the cluster's state) is asked for when somebody scrapes, in `orchestrator.web.gauges`.
"""

from __future__ import annotations

import prometheus_client as prometheus
from prometheus_client import CollectorRegistry, Counter, Histogram

_FINE = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)

prometheus.disable_created_metrics()
REGISTRY = CollectorRegistry()
prometheus.ProcessCollector(registry=REGISTRY)
prometheus.PlatformCollector(registry=REGISTRY)
prometheus.GCCollector(registry=REGISTRY)

firings = Counter(
    "orch_firings_total", "Due times and batches taken into the ledger.", registry=REGISTRY
)
firing_lag = Histogram(
    "orch_firing_lag_seconds",
    "From the instant at which a partition was to be looked at until its firings were durable.",
    buckets=_FINE,
    registry=REGISTRY,
)
runs_ended = Counter(
    "orch_runs_ended_total",
    "Runs that ended after an attempt or a cancellation, by the connector's kind and the state.",
    ["kind", "state"],
    registry=REGISTRY,
)
attempts_ended = Counter(
    "orch_attempts_ended_total",
    "Attempts that ended, by how.",
    ["result"],
    registry=REGISTRY,
)
submit_seconds = Histogram(
    "orch_submit_seconds",
    "How long the cluster took to answer a submission, or to fail to.",
    buckets=_FINE,
    registry=REGISTRY,
)
polls = Counter("orch_polls_total", "Questions to the cluster about one job.", registry=REGISTRY)
commit_seconds = Histogram(
    "orch_store_commit_seconds",
    "How long a transaction of the store's writer took, its operations included.",
    buckets=_FINE,
    registry=REGISTRY,
)
commit_operations = Counter(
    "orch_store_operations_total", "Operations that those transactions held.", registry=REGISTRY
)
callbacks = Counter(
    "orch_callbacks_total",
    "Tries to deliver a callback, by what became of them.",
    ["result"],
    registry=REGISTRY,
)
heartbeats = Counter(
    "orch_heartbeats_total",
    "Heartbeats of services' tasks: taken, or refused because the task is to leave.",
    ["result"],
    registry=REGISTRY,
)
http_requests = Counter(
    "orch_http_requests_total",
    "Requests to this API, by method and status.",
    ["method", "status"],
    registry=REGISTRY,
)
http_seconds = Histogram(
    "orch_http_request_seconds",
    "How long the answers to those requests took, streams to their end.",
    buckets=_FINE,
    registry=REGISTRY,
)


def exposition() -> bytes:
    """Everything that is counted here, as Prometheus reads it."""
    return prometheus.generate_latest(REGISTRY)
