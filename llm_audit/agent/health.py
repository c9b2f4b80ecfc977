"""How the agent of this machine is, for whoever watches over it from outside."""

from datetime import UTC, datetime
from typing import NamedTuple

from llm_audit.journal.spool.agent_state import STUCK_SECONDS, AgentState, Figures, read_state
from llm_audit.journal.spool.agents import agent_of
from llm_audit.journal.spool.owners import Owner
from llm_audit.settings import Settings
from llm_audit.settings.fields import AGENT

__all__ = ["AgentState", "Figures", "Health", "examine"]


class Health(NamedTuple):
    """How it is.

    Attributes:
        agent: Who holds the lock, or has held it last; None if there has been none.
        state: What that has said last.
        silent_seconds: For how long it has said nothing.
    """

    agent: Owner | None
    state: AgentState | None
    silent_seconds: float

    @property
    def runs(self) -> bool:
        """Whether there is one."""
        return self.agent is not None and self.agent.lives

    @property
    def is_well(self) -> bool:
        """Whether it runs and looks at the journals; whether MongoDB answers is not its fault."""
        return self.runs and self.silent_seconds < STUCK_SECONDS


def examine(settings: Settings) -> Health:
    """Look how the agent is that ships on this machine what these settings name.

    Args:
        settings: The spool, database and collection are of importance, MongoDB is not asked.
    """
    folder = settings.spool_dir / settings.target(AGENT)
    state = read_state(folder)
    silent = 0.0 if state is None else (datetime.now(UTC) - state.at).total_seconds()
    return Health(agent_of(folder), state, max(0.0, silent))
