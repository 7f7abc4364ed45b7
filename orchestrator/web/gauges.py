"""What holds at this moment, asked for at every scrape; counts stand in `orchestrator.metrics`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

import orchestrator
from orchestrator.domain.clock import SECOND
from orchestrator.domain.states import TriggerState
from orchestrator.services.cluster import ClusterState
from orchestrator.store.errors import StoreError
from orchestrator.store.sources import SourceState
from orchestrator.web.deps import Deps


class Gauges(Collector):
    """Reads the store by indexed counts, so that a scrape costs the same at a million runs."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def exposition(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing: whoever registers this need not ask the store."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges; without those of the store while it does not answer."""
        yield self._info()
        yield from self._services()
        yield from self._cluster()
        try:
            store = list(self._store())
        except StoreError:
            store = []
        up = 1.0 if store else 0.0
        yield GaugeMetricFamily("orch_store_up", "Whether the store answers.", value=up)
        yield from store

    def _info(self) -> GaugeMetricFamily:
        labels = {
            "version": orchestrator.__version__,
            "instance_name": self._deps.database.instance,
            "database": self._deps.database.dialect.name,
        }
        family = GaugeMetricFamily("orch_build_info", "Always 1.", labels=list(labels))
        family.add_metric(list(labels.values()), 1.0)
        return family

    def _services(self) -> Iterator[GaugeMetricFamily]:
        services = self._deps.services
        yield _family(
            "orch_service_up",
            "Whether a service's loop goes round.",
            "service",
            {s.name: float(s.running) for s in services},
        )
        yield _family(
            "orch_service_failing",
            "Whether a service's last round failed.",
            "service",
            {s.name: float(bool(s.last_error)) for s in services},
        )

    def _cluster(self) -> Iterator[GaugeMetricFamily]:
        status = self._deps.cluster.status
        yield _family(
            "orch_cluster_state",
            "1 for the state in which the cluster is seen.",
            "state",
            {str(state): float(state is status.state) for state in ClusterState},
        )
        yield GaugeMetricFamily(
            "orch_dispatch_blocked",
            "Whether dispatching stands still until `orch cluster accept`.",
            value=float(status.blocked),
        )

    def _store(self) -> Iterator[GaugeMetricFamily]:
        deps = self._deps
        runs = deps.reads.run_counts()
        dead = runs.pop("dead")
        yield _family("orch_runs_open", "Runs that have not ended.", "state", runs)
        yield GaugeMetricFamily(
            "orch_runs_dead", "Dead runs that nobody has redriven or discarded.", value=float(dead)
        )
        yield _family(
            "orch_runs_waiting", "Pending runs by queue.", "queue", deps.reads.queue_counts()
        )
        yield _family("orch_triggers", "Triggers by state.", "state", deps.reads.trigger_counts())
        yield from self._sources()
        wake_at = deps.intake.next_wake()
        late = 0.0 if wake_at is None else max(0, deps.clock.now() - wake_at) / SECOND
        yield GaugeMetricFamily(
            "orch_firing_overdue_seconds",
            "How long the earliest due time waits to be taken in.",
            value=late,
        )
        yield GaugeMetricFamily(
            "orch_orchestrators",
            "Orchestrators that live on this store.",
            value=float(len(deps.leases.alive())),
        )

    def _sources(self) -> Iterator[GaugeMetricFamily]:
        lag = GaugeMetricFamily(
            "orch_source_lag_events",
            "Events of a source that are in no run yet.",
            labels=["trigger", "partition"],
        )
        for trigger, partitions in self._deps.sources.lags().items():
            for partition, events in partitions.items():
                lag.add_metric([trigger, partition], float(events))
        yield lag
        up = GaugeMetricFamily(
            "orch_source_up", "Whether a source answers as it should.", labels=["trigger"]
        )
        for row in self._deps.source_store.all():
            if row.trigger_state is not TriggerState.DELETED:
                up.add_metric([row.trigger], float(row.state is SourceState.OK))
        yield up


def _family(name: str, help_: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_, labels=[label])
    for key, value in values.items():
        family.add_metric([key], float(value))
    return family
