"""The agents that ship what others record into this machine's spool, as far as they show it."""

import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from llm_audit.diagnosis.results import AgentReport, OfService
from llm_audit.journal.spool import looking
from llm_audit.journal.spool.agent_state import STUCK_SECONDS
from llm_audit.journal.spool.seen_agents import SeenAgent, agents_of
from llm_audit.settings import Settings
from llm_audit.settings.fields import AGENT

ALIVE = "alive"
SILENT = "silent"
ENDED = "ended"
CLOCKS_SECONDS = 60.0  # by how much that of a file system may be ahead


def examine_agents(settings: Settings) -> list[AgentReport]:
    """Report on every agent of this spool, for whatever target, or the last one of each kernel."""
    ours = targets_of(settings)
    return [
        _examine(agent, settings, ours=target.name in ours)
        for target in looking.folders_in(settings.spool_dir, own=0)
        for agent in agents_of(target)
    ]


def targets_of(settings: Settings) -> tuple[str, str]:
    """Return the names of the folders for what goes where these settings say, whoever ships it."""
    return settings.target("thread"), settings.target(AGENT)


def kernels_served(target_folder: Path, settings: Settings) -> frozenset[str]:
    """Return the boot ids of the kernels for the processes of which an agent ships to a target."""
    seen = agents_of(target_folder)
    return frozenset(agent.boot_id for agent in seen if _runs(agent, settings))


def _runs(agent: SeenAgent, settings: Settings) -> bool:
    """Tell whether an agent runs; locks of another kernel do not tell."""
    if agent.is_here:
        return agent.owner.lives
    return _silent_seconds(agent) <= settings.lease_seconds


def _silent_seconds(agent: SeenAgent) -> float:
    return max(0.0, time.time() - _seen_at(agent))


def _seen_at(agent: SeenAgent) -> float:
    """Return when an agent last showed life; what is to come is none: a clock was put back."""
    signs = [agent.touched_at, agent.state.at.timestamp() if agent.state else 0.0]
    return max((at for at in signs if at <= time.time() + CLOCKS_SECONDS), default=0.0)


def _examine(agent: SeenAgent, settings: Settings, *, ours: bool) -> AgentReport:
    owner, state = agent.owner, agent.state
    report = AgentReport(
        path=str(agent.path),
        ours=ours,
        here=agent.is_here,
        host=owner.host,
        pid=owner.pid,
        boot_id=agent.boot_id,
        version=owner.version,
        target=owner.target,
        state=ALIVE if _runs(agent, settings) else ENDED,
        silent_seconds=_silent_seconds(agent),
    )
    if report.state == ALIVE and report.silent_seconds > STUCK_SECONDS:
        report.state = SILENT
    with suppress(OverflowError, ValueError, OSError):  # of what is no date
        report.seen_at = datetime.fromtimestamp(_seen_at(agent), UTC)
    if state is not None:
        report.started_at, report.unavailable = state.started_at, state.unavailable
        report.processes = state.processes
        report.services = {
            name: OfService(**figures._asdict()) for name, figures in state.services.items()
        }
    return report
