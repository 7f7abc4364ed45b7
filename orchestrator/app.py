"""The only place that wires: store, cluster, services and commands become a daemon."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from pathlib import Path

import structlog

from bacalhau_client import BacalhauClient, BasicAuth, BearerAuth, RetryPolicy
from connectors.abc import TimeConnector
from connectors.broker.address import parse
from connectors.broker.library import need
from connectors.registry import Registry
from orchestrator.config import Config
from orchestrator.domain.clock import SECOND, Clock, SystemClock
from orchestrator.domain.signals import Signals
from orchestrator.operations.advice import Advice
from orchestrator.operations.audit import Auditor
from orchestrator.operations.checking import known_paths
from orchestrator.operations.jobs import JobDesk
from orchestrator.operations.registration import Checker, Registrar
from orchestrator.operations.timing import Timing
from orchestrator.services.callbacks import Callbacks, callback_key
from orchestrator.services.canceller import Canceller
from orchestrator.services.chain import Chain
from orchestrator.services.clockwatch import ClockWatch, Steps
from orchestrator.services.cluster import Cluster
from orchestrator.services.completer import Completer
from orchestrator.services.definitions import Definitions
from orchestrator.services.dispatcher import Dispatcher
from orchestrator.services.firing import FiringService
from orchestrator.services.future import Future
from orchestrator.services.heartbeats import HeartbeatDesk
from orchestrator.services.hooks import Hooks
from orchestrator.services.housekeeping import Housekeeping
from orchestrator.services.lease import LeaseKeeper
from orchestrator.services.loop import Service
from orchestrator.services.opening import Opener
from orchestrator.services.placement import Placement
from orchestrator.services.reader import Shelf
from orchestrator.services.reconciler import Reconciler
from orchestrator.services.renderer import Renderer
from orchestrator.services.scaling import Scaling
from orchestrator.services.secrets import Secrets
from orchestrator.services.sender import Sender
from orchestrator.services.serving import Plans, Teller, heartbeat_key
from orchestrator.services.sources import SourceService
from orchestrator.services.watcher import Watcher
from orchestrator.store.announcements import Announcements
from orchestrator.store.claims import Claims
from orchestrator.store.commands import Commands
from orchestrator.store.copies import Copies
from orchestrator.store.database import Database, set_meta, sqlite_url
from orchestrator.store.demand import Demand
from orchestrator.store.endings import Endings
from orchestrator.store.flights import Flights
from orchestrator.store.heartbeats import Heartbeats
from orchestrator.store.inbox import Inboxes
from orchestrator.store.intake import Intake
from orchestrator.store.jobs import Jobs
from orchestrator.store.joins import Joins
from orchestrator.store.leases import Leases
from orchestrator.store.ledger import Ledger
from orchestrator.store.leftovers import Leftovers
from orchestrator.store.lives import Lives
from orchestrator.store.lock import DirectoryLock
from orchestrator.store.outbox import Outbox
from orchestrator.store.putback import PutBack
from orchestrator.store.reads import Reads
from orchestrator.store.retention import Retention
from orchestrator.store.seal import KNOWN_KEY, Seal, key_check, load_key
from orchestrator.store.sources import Sources
from orchestrator.store.streams import Streams
from orchestrator.store.telling import Telling
from orchestrator.store.tokens import Tokens
from orchestrator.store.triggers import Triggers
from orchestrator.store.values import Run
from orchestrator.store.waits import Waits
from orchestrator.web.accesslog import AccessLog
from orchestrator.web.deps import Deps
from orchestrator.web.server import ListenError, Server, is_loopback, own_hosts, public_origin

_log = structlog.get_logger(__name__)


def build_client(config: Config, stop: threading.Event) -> BacalhauClient:
    """The client for the daemon: it tries nothing again by itself, the services do."""
    auth: BearerAuth | BasicAuth | None = None
    if config.bacalhau_token:
        auth = BearerAuth(token=config.bacalhau_token)
    elif config.bacalhau_user:
        auth = BasicAuth(user=config.bacalhau_user, password=config.bacalhau_password or "")
    return BacalhauClient(
        config.bacalhau,
        auth=auth,
        ca=config.bacalhau_ca or True,
        connect_timeout=config.connect_timeout / SECOND,
        read_timeout=config.read_timeout / SECOND,
        pool_size=config.send_threads + config.poll_threads + 4,
        retry=RetryPolicy(attempts=1),
        user_agent="orch",
        stop=stop,
    )


def _owner(data_dir: Path) -> str:
    """This orchestrator's id. It outlives the process, so that a restart goes on with its runs."""
    path = data_dir / "orch.id"
    if path.exists() and (owner := path.read_text().strip()):  # empty after a power cut
        return owner
    owner = secrets.token_hex(8)
    path.write_text(owner + "\n")
    return owner


class App:
    """A daemon. `start` and `stop` may be called twice; `stop` leaves nothing half-done."""

    def __init__(
        self, config: Config, *, clock: Clock | None = None, registry: Registry | None = None
    ) -> None:
        """Open the store and build everything. Raises StoreError (Locked for a second daemon)."""
        self.config = config
        self._public_origin = public_origin(config.public_url)
        self.server = Server(config.listen, tls_cert=config.tls_cert, tls_key=config.tls_key)
        self.clock: Clock = clock or SystemClock()
        self.registry = registry or Registry.load()
        self.signals = Signals()
        self._stop_client = threading.Event()
        self._starter: threading.Thread | None = None
        self._started = False
        self.client = build_client(config, self._stop_client)
        config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = DirectoryLock(config.data_dir)
        try:
            self.database = Database(
                config.database or sqlite_url(config.data_dir),
                clock=self.clock,
                signals=self.signals,
            )
        except BaseException:
            self._lock.release()
            raise
        try:
            self.owner = _owner(config.data_dir)
            self._build_store()
            self._build_services()
        except BaseException:
            self.database.close()
            self._lock.release()
            raise

    def _build_store(self) -> None:
        config, database = self.config, self.database
        self.triggers = Triggers(database)
        self.intake = Intake(database)
        self.flights = Flights(database, self.owner)
        self.endings = Endings(database)
        self.source_store = Sources(database, self.owner)
        self.commands = Commands(database)
        self.reads = Reads(database)
        self.leases = Leases(database, self.owner)
        self.retention = Retention(database)
        self.tokens = Tokens(database)
        self._key_file = config.key_file or config.data_dir / "orch.key"
        self._key = load_key(self._key_file)
        self.seal = Seal(self._key)
        self.definitions = Definitions(self.triggers)
        self.timing = Timing(
            registry=self.registry,
            definitions=self.definitions,
            triggers=self.triggers,
            intake=self.intake,
            commands=self.commands,
            clock=self.clock,
        )
        self.auditor = Auditor(
            Ledger(database), self.definitions, self.registry, self.clock, config.keep
        )
        checker = Checker(self.registry, max_spec_bytes=config.max_spec_bytes)
        self.registrar = Registrar(checker, self.triggers, self.timing, self.clock)
        self.jobs = Jobs(database)
        self.job_desk = JobDesk(
            registry=self.registry,
            definitions=self.definitions,
            triggers=self.triggers,
            registrar=self.registrar,
            jobs=self.jobs,
            clock=self.clock,
        )

    def _build_services(self) -> None:
        config, clock, signals = self.config, self.clock, self.signals
        connectors = {kind: self.registry.get(kind) for kind in self.registry.kinds}
        self.plans = Plans(connectors)
        self.copies = Copies(self.database)
        proof = heartbeat_key(self._key)
        self.cluster = Cluster(self.client, self.database, clock, signals)
        held = Secrets(config.data_dir / "secrets")
        self.advice = Advice(self.registry, held)
        renderer = Renderer(
            instance=self.database.instance,
            clock=clock,
            definitions=self.definitions,
            triggers=self.triggers,
            seal=self.seal,
            secrets=held,
            known_paths={kind: known_paths(self.registry, kind) for kind in self.registry.kinds},
            max_spec_bytes=config.max_spec_bytes,
            lost=self._lost,
            avoid=Placement(self.client, self.reads, clock).avoid,
            teller=Teller(self.plans, self.copies, proof, self._task_url),
        )
        shelf = Shelf(
            sources=self.source_store,
            streams=Streams(self.database),
            lives=Lives(self.database),
            leftovers=Leftovers(self.database),
            inboxes=Inboxes(self.database),
            telling=Telling(self.database),
        )
        demand = Demand(self.database)
        opener = Opener(
            shelf,
            connectors,
            clock,
            instance=self.database.instance,
            secrets=held,
            data_dir=config.data_dir,
            max_in_flight=config.max_in_flight,
            copies=self.copies,
            scaling=lambda scale: Scaling(scale, self.triggers, demand, self._lag, clock),
        )
        self.sources = SourceService(
            clock,
            signals,
            shelf,
            self.definitions,
            opener,
            owner=self.owner,
            threads=config.source_threads,
            hang_after=config.hang_after / SECOND,
        )
        self.hooks = Hooks(
            self.triggers,
            self.definitions,
            self.source_store,
            shelf.inboxes,
            connectors,
            opener,
            clock,
        )
        time_connectors = {
            kind: connector
            for kind, connector in connectors.items()
            if isinstance(connector, TimeConnector)
        }
        self.firing = FiringService(clock, signals, self.intake, self.definitions, time_connectors)
        self.dispatcher = Dispatcher(
            clock,
            signals,
            Claims(self.database, self.owner),
            self.flights,
            renderer,
            Sender(self.cluster, self.flights, self.seal),
            self.cluster,
            max_in_flight=config.max_in_flight,
            threads=config.send_threads,
        )
        self.watcher = Watcher(
            clock,
            signals,
            self.flights,
            self.cluster,
            polls_per_second=config.polls_per_second,
            threads=config.poll_threads,
        )
        self.completer = Completer(clock, signals, self.endings, self.definitions, plans=self.plans)
        steps = Steps(clock)
        self.canceller = Canceller(clock, signals, self.flights, self.cluster, steps)
        self.callbacks = Callbacks(
            clock,
            signals,
            Outbox(self.database),
            Chain(
                self.triggers,
                self.definitions,
                self.commands,
                Joins(self.database, self.commands),
                connectors,
            ),
            instance=self.database.instance,
            key=callback_key(self._key),
            allow_private=config.allow_private_callbacks,
        )
        self.future = Future(clock, signals, self.jobs, self.definitions)
        waits = Waits(self.database, self.owner)
        self.clockwatch = ClockWatch(clock, signals, waits, steps)
        self.lease = LeaseKeeper(clock, signals, self.leases)
        self.housekeeping = Housekeeping(
            clock, self.retention, Telling(self.database), self.cluster, config.keep
        )
        self.reconciler = Reconciler(
            self.client, PutBack(self.database, self.owner), self.database.instance
        )
        self.heartbeats = HeartbeatDesk(
            Heartbeats(self.database), proof, clock, lambda: not self.reconciler.needed
        )
        # In this order, so that what starts first is what later ones rely on.
        self.services: list[Service] = [
            self.lease,
            self.callbacks,
            self.completer,
            self.canceller,
            self.watcher,
            self.dispatcher,
            self.firing,
            self.future,
            self.sources,
            self.clockwatch,
        ]
        self._announce()

    def _announce(self) -> None:
        """Let a broker know how runs do, where one is set up."""
        config = self.config
        announcements = Announcements(self.database)
        announcements.switch(config.announce is not None)
        if config.announce is None:
            return
        need("`announce`")
        # Loaded on use, so that a daemon without it stays small.
        from connectors.broker.security import Login, Tls
        from connectors.broker.terms import Terms
        from orchestrator.services.announcing import Announcing

        user, ca = config.announce_user, config.announce_ca
        terms = Terms(
            address=parse(config.announce),
            client_id=f"orch-{self.database.instance}-{self.owner}",
            lasting=False,
            login=None if user is None else Login(user=user, password=config.announce_password),
            tls=Tls(ca=None if ca is None else str(ca)),
        )
        self.services.append(
            Announcing(
                self.clock,
                self.signals,
                announcements,
                terms,
                instance=self.database.instance,
                keep=config.announce_keep,
            )
        )

    def _lost(self, run: Run) -> str | None:
        return self.sources.lost(run)

    def _lag(self, trigger_uid: str) -> Mapping[str, int]:
        return self.sources.lag(trigger_uid)

    def _task_url(self) -> str:
        """Where tasks reach the API."""
        return (self.config.public_url or self.server.url).rstrip("/")

    def start(self) -> None:
        """Start the services, then the API. A restored store first asks for its jobs."""
        self._check_access()
        self._check_key()
        self.server.bind()
        # The lease is there before any service looks for the runs that are its own.
        self.lease.run_once()
        if self.reconciler.needed:
            self._starter = threading.Thread(target=self._reconcile, name="restore", daemon=True)
            self._starter.start()
        else:
            self._start_services()
        self.server.start(self._web())
        self._started = True
        _log.info(
            "orchestrator started",
            instance=self.database.instance,
            database=self.database.dialect.name,
            bacalhau=self.client.url,
            api=self.server.url,
        )

    def _check_access(self) -> None:
        """Whoever can reach more than loopback needs a token from the first request on."""
        host = self.server.host
        if not is_loopback(host) and not self.tokens.check("").any:
            raise ListenError(
                f"--listen {self.config.listen} can be reached from elsewhere and no token exists: "
                f"make one with `orch token create NAME --data-dir {self.config.data_dir}`, or "
                "listen on 127.0.0.1"
            )

    def _check_key(self) -> None:
        """Another key opens nothing of what was sealed before: that must not go unnoticed."""
        mine = key_check(self._key)
        known = self.database.meta(KNOWN_KEY)
        if known == mine:
            return
        if known is not None:
            _log.error(
                "the key is not the one that this store was written with: attempts that were under "
                "way count as failed; bring back that orch.key before the next start, if it is "
                "there",
                file=str(self._key_file),
            )
        self.database.write(lambda tx: set_meta(tx.conn, KNOWN_KEY, mine), "key")

    def _web(self) -> Deps:
        return Deps(
            data_dir=self.config.data_dir,
            clock=self.clock,
            registry=self.registry,
            database=self.database,
            reads=self.reads,
            triggers=self.triggers,
            intake=self.intake,
            commands=self.commands,
            leases=self.leases,
            tokens=self.tokens,
            definitions=self.definitions,
            registrar=self.registrar,
            advice=self.advice,
            timing=self.timing,
            auditor=self.auditor,
            jobs=self.jobs,
            job_desk=self.job_desk,
            cluster=self.cluster,
            services=self.services,
            sources=self.sources,
            hooks=self.hooks,
            source_store=self.source_store,
            copies=self.copies,
            plans=self.plans,
            heartbeats=self.heartbeats,
            callback_key=callback_key(self._key),
            hosts=own_hosts(self.server.host, self.config.public_url),
            public_origin=self._public_origin,
            token_needed=not is_loopback(self.server.host),
            access_log=AccessLog(self.config.data_dir),
        )

    def _reconcile(self) -> None:
        if self.reconciler.run(self._stop_client):
            self._start_services()

    def _start_services(self) -> None:
        for service in self.services:
            service.start()
        self.housekeeping.start()

    def stop(self) -> None:
        """Stop firing, finish what is under way with the cluster, close the store."""
        if self._stop_client.is_set():
            return
        if self._started:
            _log.info("orchestrator stopping")
        self.server.stop()
        self._stop_client.set()
        if self._starter is not None:
            self._starter.join()
        self.housekeeping.stop()
        for service in reversed(self.services):
            service.stop()
        self.hooks.close()
        self.client.close()
        self.database.close()
        self._lock.release()
        if self._started:
            _log.info("orchestrator stopped")
