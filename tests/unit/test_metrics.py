"""The figures for Prometheus: their names are bounded, and no name of a service breaks them."""

import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

prometheus = pytest.importorskip("prometheus_client")
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

from llm_audit.errors import UsageError  # noqa: E402
from llm_audit.journal.spool.agent_state import OTHER_SERVICES, AgentState, Figures  # noqa: E402
from llm_audit.metrics import (  # noqa: E402
    SERVICE_MAX_CHARACTERS,
    SERVICES_MAX,
    AgentCollector,
    RecordingCollector,
    Served,
)

HOSTILE = (
    'a"b', "a\\", "a\nb", 'a"} 1\nllm_audit_recorded_total{service="forged', "\r\n# TYPE x gauge\n",
    "\ud800", "\x00\x1b[2J", "\u202e", "é中\U0001f600", "", " ", "{}", "x" * 100_000,
)  # fmt: skip


def said(services: Mapping[str, Figures]) -> AgentState:
    return AgentState(datetime.now(UTC), processes=len(services), services=services)


def scraped(collector: Any) -> dict[tuple[str, str], float]:
    """Return what Prometheus reads, by name and service: none twice, and only names of ours."""
    registry = prometheus.CollectorRegistry()
    registry.register(collector)
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(prometheus.generate_latest(registry).decode()):
        for sample in family.samples:
            assert sample.name.startswith("llm_audit_"), sample
            key = sample.name.removeprefix("llm_audit_"), sample.labels.get("service", "")
            assert key not in found, key
            found[key] = sample.value
    return found


def test_every_figure_of_every_service() -> None:
    """Counters are called so, ages are no sum, and what the agent says of itself is there."""
    services = {"web": Figures(recorded=5, oldest_seconds=2.5), "mail": Figures(shipped=7)}
    state = said(services)

    found = scraped(AgentCollector(lambda: state))

    assert found["recorded_total", "web"] == 5
    assert found["oldest_seconds", "web"] == 2.5
    assert found["shipped_total", "mail"] == 7
    assert found["agent_processes", ""] == 2
    assert found["agent_mongodb_available", ""] == 1
    assert found["agent_looked_at_seconds", ""] == pytest.approx(state.at.timestamp())
    of_web = {name.removesuffix("_total") for name, service in found if service == "web"}
    assert of_web == set(Figures._fields)
    described = {family.name for family in AgentCollector(lambda: None).describe()}
    assert {f"llm_audit_{name.removesuffix('_total')}" for name, _ in found} == described


def test_names_are_no_more_than_prometheus_can_bear() -> None:
    """The first that came keep their names; all others are one, with nothing of theirs lost."""
    collector = AgentCollector(lambda: said(services))
    services = {f"early {number}": Figures(recorded=1) for number in range(SERVICES_MAX - 1)}
    scraped(collector)
    services = {f"{number}": Figures(recorded=2, oldest_seconds=number) for number in range(500)}
    services |= {"early 3": Figures(recorded=9)}

    found = scraped(collector)

    counted = {
        service: value for (name, service), value in found.items() if name == "recorded_total"
    }
    assert len(counted) == 3
    assert counted == {"0": 2, "early 3": 9, OTHER_SERVICES: 2 * 499}
    assert found["oldest_seconds", OTHER_SERVICES] == 499


def test_no_name_of_a_service_breaks_what_prometheus_reads() -> None:
    """What would end a label, a line or a scrape is escaped; names too long become equal."""
    services = {name: Figures(recorded=1) for name in HOSTILE}
    services["x" * 200_000] = Figures(recorded=1, oldest_seconds=3)

    found = scraped(AgentCollector(lambda: said(services)))

    counted = {
        service: value for (name, service), value in found.items() if name == "recorded_total"
    }
    assert sum(counted.values()) == len(HOSTILE) + 1
    assert counted["x" * SERVICE_MAX_CHARACTERS] == 2
    assert "forged" not in counted
    assert all(len(name) <= SERVICE_MAX_CHARACTERS for name in counted)


def test_a_process_that_recorded_nothing_has_no_figures() -> None:
    """The families are there, so that it can be registered twice by nobody, without a value."""
    registry = prometheus.CollectorRegistry()
    registry.register(RecordingCollector())
    with pytest.raises(ValueError, match="llm_audit_recorded"):
        registry.register(RecordingCollector())


def test_they_are_served_on_this_machine() -> None:
    """Any free port of the loopback, with memory and CPU of this process; and not for ever."""
    served = Served(AgentCollector(lambda: said({"web": Figures(recorded=5)})), host="::1", port=0)
    port = urlsplit(served.address).port or 0
    for host, taken, why in (
        ("::1", port, r"Address already in use\. --metrics-port 0 takes"),
        ("x" * 70, 0, r"no address and no name of a machine\."),
        ("192.0.2.1", 0, r"--metrics-host 192\.0\.2\.1 --metrics-port 0: Cannot assign"),
    ):
        with pytest.raises(UsageError, match=why):
            Served(RecordingCollector(), host=host, port=taken)
    with urlopen(served.address) as answer:
        text = answer.read().decode()
    served.close()

    assert 'llm_audit_recorded_total{service="web"} 5.0' in text
    assert "process_resident_memory_bytes" in text
    with pytest.raises(OSError, match="refused"):
        urlopen(served.address)


def test_without_the_extra_it_says_so() -> None:
    """Who has no client of Prometheus gets the fix."""
    script = "import sys; sys.modules['prometheus_client'] = None; import llm_audit.metrics"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert done.stderr.endswith("pip install 'llm-audit[metrics]'.\n")
