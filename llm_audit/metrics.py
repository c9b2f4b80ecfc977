"""Figures of recording and delivery for Prometheus, by its own client; needs the extra `metrics`.

A process that records offers its own, beside those of the app:

    prometheus_client.REGISTRY.register(llm_audit.metrics.RecordingCollector())

`llm-audit agent --metrics-port 9464` serves those of all the processes that it ships for.
"""

import errno
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from llm_audit.errors import UsageError, in_a_line, log_fault
from llm_audit.journal.spool.agent_state import (
    NOTHING,
    OTHER_SERVICES,
    AgentState,
    Figures,
)
from llm_audit.lifecycle import stats
from llm_audit.settings import get_settings

try:
    from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"Metrics need an extra ({error.name} is missing): pip install 'llm-audit[metrics]'.",
        name=error.name,
    ) from None

SERVICES_MAX = 100
SERVICE_MAX_CHARACTERS = 64
REQUEST_SECONDS = 5.0  # that whoever asks may be silent


_COUNTERS = {
    "recorded": "Operations recorded: the start of a call is one, its end is one.",
    "shipped": "Operations that wait no more: in MongoDB, save those refused or dropped.",
    "refused": "Operations that MongoDB refused.",
    "dropped": "How often something was lost before it reached MongoDB.",
}
_GAUGES = {
    "backlog_bytes": "Bytes of journals that are not shipped yet.",
    "oldest_seconds": "For how long the oldest operation has been waiting; 0 if none is.",
}
_OF_AGENT: dict[str, tuple[str, Callable[[AgentState], float]]] = {
    "processes": ("Processes that the agent ships for.", lambda state: state.processes),
    "mongodb_available": ("1 if MongoDB can be reached.", lambda state: state.unavailable is None),
    "looked_at_seconds": (
        "When the agent last looked at the journals, Unix time.",
        lambda state: state.at.timestamp(),
    ),
}


class _ByService(Collector):
    """A collector of figures by service: never more names than it can bear, nor longer ones."""

    def __init__(self) -> None:
        self._names: set[str] = set()  # the first that came: a counter must not change its name

    def describe(self) -> Iterable[Metric]:
        """Return what there is, without a look at anything."""
        return self._families({})

    def _families(self, services: Mapping[str, Figures]) -> Iterator[Metric]:
        figures = self._named(services)
        kinds = ((_COUNTERS, CounterMetricFamily), (_GAUGES, GaugeMetricFamily))
        for texts, family in kinds:
            for name, text in texts.items():
                metric = family(f"llm_audit_{name}", text, labels=["service"])
                for service, its in figures.items():
                    metric.add_metric([service], getattr(its, name))
                yield metric

    def _named(self, services: Mapping[str, Figures]) -> dict[str, Figures]:
        """Return the figures by what a service is called here, those of one name together."""
        named: dict[str, Figures] = {}
        for service, figures in services.items():
            name = self._name(service)
            named[name] = named.get(name, NOTHING).together(figures)
        return named

    def _name(self, service: str) -> str:
        name = in_a_line(service)[:SERVICE_MAX_CHARACTERS]
        if name not in self._names:
            if len(self._names) >= SERVICES_MAX:
                return OTHER_SERVICES
            self._names.add(name)
        return name


class RecordingCollector(_ByService):
    """What became of what this process recorded, whoever ships it: its thread, or an agent."""

    def collect(self) -> Iterable[Metric]:
        """Return the figures of `llm_audit.stats()`; none before anything was recorded."""
        its = stats()
        if not its:
            return self._families({})
        figures = Figures(
            recorded=its["recorded"],
            shipped=its["acked_through"],
            refused=_counted(its["rejected"]),
            dropped=_counted(its["dropped"]),
            backlog_bytes=its["backlog_bytes"],
            oldest_seconds=its["backlog_age_seconds"],
        )
        return self._families({get_settings().service or "": figures})


class AgentCollector(_ByService):
    """What became of what all the processes recorded that an agent ships for.

    Args:
        state: Returns what the agent says of itself; None where it has not said anything yet.
    """

    def __init__(self, state: Callable[[], AgentState | None]) -> None:
        super().__init__()
        self._state = state

    def describe(self) -> Iterable[Metric]:
        """Return what there is, without a look at anything."""
        return [*self._families({}), *self._of_agent(None)]

    def collect(self) -> Iterable[Metric]:
        """Return the figures of now."""
        state = self._state()
        return [*self._families({} if state is None else state.services), *self._of_agent(state)]

    def _of_agent(self, state: AgentState | None) -> Iterator[Metric]:
        for name, (text, value_in) in _OF_AGENT.items():
            gauge = GaugeMetricFamily(f"llm_audit_agent_{name}", text, labels=())
            if state is not None:
                gauge.add_metric((), value_in(state))
            yield gauge


def _counted(entries: list[dict[str, Any]]) -> int:
    return sum(entry["count"] for entry in entries)


class Served:
    """The figures of a collector, at an address until it is closed.

    One who asks is answered at a time: however many come, they take nothing from the work.

    Args:
        collector: Whose; and those of this process, its memory and CPU.
        host: Where it listens.
        port: 0 for any that is free.

    Raises:
        UsageError: It cannot listen there.
    """

    def __init__(self, collector: Collector, *, host: str, port: int) -> None:
        registry = CollectorRegistry()
        registry.register(collector)
        ProcessCollector(registry=registry)
        try:
            self._server = _server(host, port)
        except (OSError, ValueError) as error:
            where = f"--metrics-host {host} --metrics-port {port}"
            raise UsageError(f"{where}: {_why(error)}") from None
        self._server.set_app(make_wsgi_app(registry))
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{self._server.server_port}/metrics"
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="llm-audit-metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(REQUEST_SECONDS)


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_SECONDS

    def log_message(self, *_: Any) -> None:
        """Log no requests."""


class _Server(WSGIServer):
    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Say what is a fault of ours; that somebody has gone away is none."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            log_fault(error)


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, socket.gaierror):
        return f"{error.strerror}."
    if isinstance(error, OSError):
        free = " --metrics-port 0 takes any that is free." * (error.errno == errno.EADDRINUSE)
        return f"{os.strerror(error.errno or 0)}.{free}"
    return "no address and no name of a machine."  # not to be encoded


def _server(host: str, port: int) -> WSGIServer:
    (family, *_), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)

    class OfFamily(_Server):
        address_family = family

    return OfFamily((host, port), _Handler)
