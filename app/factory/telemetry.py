"""Telemetry of the server: traces, the access log, and where the metrics of all parts are read."""

from __future__ import annotations

import socket
import sys

from app.clock import Timer
from app.config.settings import Settings
from app.core import Core
from app.factory.sockets import Sockets
from app.live.broadcaster import Broadcasters
from app.live.event_log import EventLogWithFallback
from app.live.events import Events
from app.market.bars import Floats
from app.model.artefact import ModelSet
from app.model.drift import Drift, Reference, reference_of
from app.notify.notifier import Notifier
from app.telemetry import logs
from app.telemetry.access_log import AccessLog
from app.telemetry.core_metrics import core_metrics
from app.telemetry.exposition import Expose, Exposition
from app.telemetry.live_metrics import live_metrics
from app.telemetry.metrics import Metric, Values
from app.telemetry.notify_metrics import notify_metrics
from app.telemetry.pushgateway import PushgatewayClient
from app.telemetry.server_metrics import access_log_metrics, connection_metrics, pushed_metrics, telemetry_metrics
from app.telemetry.setup import Telemetry, build_telemetry
from app.telemetry.socket_metrics import socket_metrics
from app.telemetry.worker_metrics import MergedExposition, WorkerGroup
from middleware import Dependencies
from middleware.metrics import limit_metrics, response_cache_metrics
from serving.connections import REASONS, Connections
from serving.outbox import Slow


def telemetry_of(settings: Settings, timer: Timer, emit: Events, traces_to: str | None) -> Telemetry:
    """The telemetry of this process. traces_to: the collector's URL, None: there is none."""
    return build_telemetry(
        traces_to,
        service=settings.service_name,
        instance=_instance(settings),
        region=settings.replica.region,
        share=settings.traces_share,
        emit=emit,
        now=timer.now,
        epoch=timer.epoch,
    )


def access_log_of(settings: Settings) -> AccessLog:
    """The access log, which writes nothing if the log's level is above INFO."""
    write = sys.stderr.write if settings.log_level in ("DEBUG", "INFO") else lambda text: None
    return AccessLog(write, as_json=logs.is_json(settings.log_format))


def drift_of(core: Core) -> Drift:
    """Measures every decision from now on against the training of the models that are served; others restart it."""
    drift = Drift(_references(core.pipeline.models))

    def saw(ticker: str, hour: int, inputs: Floats, model: str) -> None:
        if core.pipeline.models.that_decided(ticker, model) is not None:
            drift.saw(ticker, hour, inputs)

    core.events.subscribe("predicted", saw)
    core.events.subscribe("models_changed", lambda **_: drift.restart(_references(core.pipeline.models)))
    return drift


def _references(models: ModelSet) -> dict[str, Reference]:
    references = {ticker: reference_of(model) for ticker, model in models.models.items()}
    return {ticker: reference for ticker, reference in references.items() if reference is not None}


class Metrics:
    """The metrics of this process, and how they leave it. expose: the text of `/metrics`, with the series of all workers of
    this server; gateway: pushes this process's series, None without a Pushgateway."""

    def __init__(
        self,
        core: Core,
        deps: Dependencies,
        access_log: AccessLog,
        connections: Connections,
        live: Broadcasters,
        log: EventLogWithFallback,
        sockets: Sockets,
        notifier: Notifier | None,
    ) -> None:
        self._emit = core.events
        self._instance = _instance(core.settings)
        read = [*_all(core, deps, access_log, connections), *_live(core, live, log), *_sockets(core, sockets)]
        read += _notifications(core, notifier)
        own = Exposition(deps.telemetry.latencies, read, core.timer.now, core.timer.sleep)
        folder, address = core.settings.workers_dir, core.settings.pushgateway
        self._own = own
        self._workers = None if folder is None else WorkerGroup(folder, core.timer.now, core.timer.sleep)
        self.expose: Expose = own if self._workers is None else MergedExposition(own, self._workers)
        self.gateway = None
        if address is not None:
            self.gateway = PushgatewayClient(address.get_secret_value(), self._labels, own, core.events)

    def join_workers(self) -> None:
        """Share the series with the other workers of this server, if it has any. If that fails, this worker exposes its own
        series alone."""
        if self._workers is not None:
            try:
                self._workers.join(self._own)
            except OSError as exc:
                self._emit("workers_apart", error=str(exc))

    def leave_workers(self) -> None:
        if self._workers is not None:
            self._workers.close()

    def _labels(self) -> dict[str, str]:
        """The labels that distinguish this process's pushed series from those of others."""
        own = {} if self._workers is None else {"worker": str(self._workers.number)}
        return {"instance": self._instance, **own}


def _all(core: Core, deps: Dependencies, access_log: AccessLog, connections: Connections) -> list[Metric]:
    return [
        *core_metrics(core, drift_of(core), deps.response_cache.lookups),
        *limit_metrics(deps.limits, deps.concurrency_limits),
        *response_cache_metrics(deps.response_cache),
        *access_log_metrics(access_log),
        *telemetry_metrics(deps.telemetry),
        *connection_metrics(connections, REASONS),
        *pushed_metrics(connections.pushed, tuple(Slow)),
    ]


def _live(core: Core, live: Broadcasters, log: EventLogWithFallback) -> list[Metric]:
    told = core.events.counts_by_field["live_event"]
    return live_metrics(live, lambda kinds: {kind: told[kind] for kind in kinds}, lambda: log.is_in_memory)


def _sockets(core: Core, sockets: Sockets) -> list[Metric]:
    counts = core.events.counts_by_field
    return socket_metrics(sockets.links, sockets.server.sessions_kept, lambda event: dict(counts[event]))


def _notifications(core: Core, notifier: Notifier | None) -> list[Metric]:
    def counted(outcome: str) -> Values:
        return core.events.counts_by_field[f"notification_{outcome}"]

    if notifier is None:
        return notify_metrics([], lambda: None, counted)
    return notify_metrics([target.name for target in notifier.targets], notifier.status, counted)


def _instance(settings: Settings) -> str:
    """What distinguishes this replica from others; all of its workers have the same."""
    return settings.replica.id or f"{socket.gethostname()}:{settings.port}"
