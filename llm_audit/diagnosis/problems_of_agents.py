"""What is to be looked at where an agent ships: said once of it, and not of each of its processes.

A process that leaves shipping to an agent is not seen in MongoDB but through it. So where an agent
is missing, stuck or silent, its processes all look the same, and whether they live is not known.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from llm_audit.diagnosis.agents import ENDED
from llm_audit.diagnosis.agents import SILENT as AGENT_SILENT
from llm_audit.diagnosis.journals import IN_USE, NO_AGENT, OTHER_KERNEL, OTHER_TARGET, WAITING
from llm_audit.diagnosis.problems_of_processes import LATE_SECONDS, MISSED_BEATS, counted, name_of
from llm_audit.diagnosis.processes import PROCESSES_THAT_RECORD, SILENT, local_time
from llm_audit.diagnosis.results import AgentReport, Diagnosis, JournalReport, ProcessReport
from llm_audit.settings.fields import AGENT, WITH_STAGE
from llm_audit.store.processes import ProcessState

HOSTS_NAMED = 3
PAGE = "docs/how-to/agent.md"
LONGEST_SECONDS = 1e9
_LEFT = (WAITING, OTHER_TARGET)


def of_agents(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield the agents that are missing, stuck or silent, each with all its processes."""
    told = {journal.nonce for journal in _without_agent(diagnosis.journals, diagnosis.agents)}
    yield from _missing_for(diagnosis.journals, diagnosis.agents)
    for agent in diagnosis.agents:
        if not _is_here(agent):
            continue
        theirs = _left_to(agent, diagnosis.journals)
        trouble = _stuck(agent, theirs) or _unseen(agent, theirs, diagnosis)
        if trouble is not None:
            yield trouble
            told |= {journal.nonce for journal in theirs}
    yield from _of_their_processes(diagnosis, told)


def of_agents_here(
    journals: Sequence[JournalReport], agents: Sequence[AgentReport]
) -> Iterator[str]:
    """Yield what the spool alone tells of agents that are missing or stuck, with the fix."""
    yield from _missing_for(journals, agents)
    for agent in agents:
        trouble = _stuck(agent, _left_to(agent, journals)) if _is_here(agent) else None
        if trouble is not None:
            yield trouble


def _missing_for(journals: Sequence[JournalReport], agents: Sequence[AgentReport]) -> Iterator[str]:
    """Yield for each target what waits for an agent, where none is there, and what to start."""
    without = _without_agent(journals, agents)
    for target in dict.fromkeys(map(_target, without)):
        theirs = [journal for journal in without if _target(journal) == target]
        yield _missing(theirs, agents)


def _stuck(agent: AgentReport, journals: Sequence[JournalReport]) -> str | None:
    """Say what keeps an agent that runs from shipping; None if nothing does.

    Args:
        agent: It.
        journals: Those that are left to it.
    """
    if agent.state == AGENT_SILENT:
        return (
            f"{_name_of(agent)} holds its lock, but has shown no sign of life for "
            f"{agent.silent_seconds:.0f} s: it is frozen, or cannot write into "
            f"{Path(agent.path).parent}. If its log does not say why, end it and start llm-audit "
            "agent anew: what is recorded waits meanwhile."
        )
    if agent.unavailable is not None:
        return (
            f"{_name_of(agent)} cannot reach MongoDB ({agent.unavailable}), at {agent.target}: "
            f"{_waiting_in(journals)}. It goes on when MongoDB is back; if it is, look at the "
            "LLM_AUDIT_MONGO_URL of the agent."
        )
    late = [one for one in journals if (one.oldest_seconds or 0.0) > LATE_SECONDS]
    if late:
        first = max(late, key=lambda one: one.oldest_seconds or 0.0)
        return (
            f"{_name_of(agent)} reports no problem, but does not ship the journals of "
            f"{counted(len(late), 'process')}: the oldest record has waited for "
            f"{first.oldest_seconds:.0f} s, in {first.path}. Its log says why."
        )
    return None


def _unseen(
    agent: AgentReport, journals: Sequence[JournalReport], diagnosis: Diagnosis
) -> str | None:
    """Say that MongoDB, as these settings have it, does not hear of those whom an agent serves."""
    living = {journal.nonce for journal in journals if journal.state == IN_USE}
    if PROCESSES_THAT_RECORD in diagnosis.not_looked_at or not (agent.ours and living):
        return None
    known = [process for process in diagnosis.processes if process.nonce in living]
    if not known and agent.sums.shipped:
        return (
            f"{_name_of(agent)} ships to {agent.target}, and none of its "
            f"{counted(len(living), 'process')} is known where these settings look: give "
            "both the same LLM_AUDIT_MONGO_URL."
        )
    silent = [process for process in known if not _shows_life(process)]
    if not silent:
        return None
    seconds = max(process.silent_seconds for process in silent)
    return (
        f"{_name_of(agent)} runs, but has shown no sign of life of "
        f"{counted(len(silent), 'process')} in MongoDB for {seconds:.0f} s: MongoDB takes "
        "nothing from it, or not that. Its log says why."
    )


def _of_their_processes(diagnosis: Diagnosis, told: set[str]) -> Iterator[str]:
    """Yield what MongoDB tells of agents, wherever they run, by the processes that they serve.

    Args:
        diagnosis: All that was found.
        told: The processes of which the spool has told more.
    """
    theirs = [process for process in diagnosis.processes if process.shipped_by == AGENT]
    for kernel in dict.fromkeys(process.boot_id for process in theirs):
        served = [process for process in theirs if process.boot_id == kernel]
        untold = [process for process in served if process.nonce not in told]
        silent = [one for one in untold if one.state in (SILENT, ProcessState.LOST)]
        if silent and any(map(_shows_life, served)):  # then it is not the agent
            for process in silent:
                yield f"{name_of(process)} is {process.state}: {process.summary}."
        elif silent:
            yield _silent_together(silent)
        alive = [one for one in untold if one.state == ProcessState.ALIVE]
        late = [one for one in alive if one.backlog_age_seconds > LATE_SECONDS]
        if late:
            waiting = sum(process.recorded - process.acked_through for process in late)
            seconds = max(process.backlog_age_seconds for process in late)
            yield (
                f"The agent on {_hosts_of(late)} has {counted(waiting, 'operation')} of "
                f"{counted(len(late), 'process')} that MongoDB has not taken, the oldest "
                f"for {seconds:.0f} s: its log says why."
            )


def _silent_together(silent: list[ProcessReport]) -> str:
    since = max((one.beat_at for one in silent if one.beat_at is not None), default=None)
    whose = counted(len(silent), "process")
    return (
        f"An agent is silent: MongoDB has had no sign of life of {whose} on {_hosts_of(silent)} "
        f"since {local_time(since)}. They may still run and record; their calls then wait in their "
        "journals. Calls that are open end as ABANDONED when the lease is over, and get their true "
        "end when the journals are shipped. Start llm-audit agent there, or look in its log why it "
        f"cannot reach MongoDB ({PAGE}). If that machine is gone, so is what it had not shipped."
    )


def _missing(journals: list[JournalReport], agents: Sequence[AgentReport]) -> str:
    living = sum(journal.state == NO_AGENT for journal in journals)
    dead = len(journals) - living
    parts = [f"{counted(living, 'living process')}"] if living else []
    parts += [f"{counted(dead, 'dead process')}"] if dead else []
    first, here = journals[0], [agent for agent in agents if agent.here]
    which = "these settings" if first.ours else "this database and collection"
    if str(first.target).endswith(WITH_STAGE):
        which += ", and the redact_in_shipper of these processes"
    sentence = (
        f"No agent ships the calls of {' and '.join(parts)} on this machine"
        f"{_what(first.target)}: {_waiting_in(journals)}. Start llm-audit agent here, with "
        f"{which} ({PAGE})."
    )
    last = next((agent for agent in here if _serves(agent) == _target(first)), None)
    if last is not None:
        sentence += f" The last agent, pid {last.pid}, ran until {local_time(last.seen_at)}."
    others = [agent for agent in here if _is_here(agent)]
    if others:
        ships = " and ".join(f"pid {agent.pid} to {agent.target}" for agent in others)
        sentence += f" An agent runs here, but ships something else: {ships}."
    return sentence


def _what(target: str | None) -> str:
    """Return what an agent would have to ship, of the name of a target of agents."""
    _, _, what = str(target or "").partition(", ")
    return f" ({what})" if what else ""


def _without_agent(
    journals: Sequence[JournalReport], agents: Sequence[AgentReport]
) -> list[JournalReport]:
    """Return the journals that wait for an agent, where none is there."""
    served = {_serves(agent) for agent in agents if _is_here(agent)}
    return [
        journal
        for journal in journals
        if journal.shipper == AGENT
        and _target(journal) not in served
        and (journal.state == NO_AGENT or (journal.segments and journal.state in _LEFT))
    ]


def _left_to(agent: AgentReport, journals: Sequence[JournalReport]) -> list[JournalReport]:
    """Return the journals that an agent of this machine has to ship."""
    return [
        journal
        for journal in journals
        if _target(journal) == _serves(agent)
        and journal.shipper == AGENT
        and journal.state != OTHER_KERNEL
    ]


def _waiting_in(journals: Sequence[JournalReport]) -> str:
    waiting = sum(journal.waiting_bytes or 0 for journal in journals)
    if not waiting:
        return "nothing waits yet"
    seconds = max(journal.oldest_seconds or 0.0 for journal in journals)
    since = datetime.now(UTC) - timedelta(seconds=min(seconds, LONGEST_SECONDS))
    return f"{counted(waiting, 'byte')} wait, the oldest since {local_time(since)}"


def _shows_life(process: ProcessReport) -> bool:
    most = MISSED_BEATS * process.heartbeat_seconds
    return process.state == ProcessState.ALIVE and process.silent_seconds <= most


def _hosts_of(processes: list[ProcessReport]) -> str:
    hosts = sorted({str(process.host) for process in processes})
    more = len(hosts) - HOSTS_NAMED
    named = ", ".join(hosts[:HOSTS_NAMED])
    return f"{named} and {more} more" if more > 0 else named


def _is_here(agent: AgentReport) -> bool:
    return agent.here and agent.state != ENDED


def _name_of(agent: AgentReport) -> str:
    return f"The agent (pid {agent.pid} on {agent.host})"


def _target(journal: JournalReport) -> Path:
    return Path(journal.path).parent


def _serves(agent: AgentReport) -> Path:
    return Path(agent.path).parents[1]
