"""What ships the journals of all processes of this machine that leave that to an agent."""

from dataclasses import dataclass

from llm_audit.errors import LLMAuditError
from llm_audit.journal.spool.agent_state import AgentState
from llm_audit.settings import Settings


class AgentRunsError(LLMAuditError):
    """Another agent is here already; the text names it."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """What `Agent.once` reached: true if all that was there is in MongoDB.

    Attributes:
        operations: How many of them were shipped.
        left_bytes: What of the journals is not in MongoDB.
        reason: Why, if something is left.
    """

    operations: int
    left_bytes: int = 0
    reason: str | None = None

    def __bool__(self) -> bool:
        return self.left_bytes == 0 and self.reason is None


class Agent:
    """Ships the journals of the processes on this machine that record with shipper="agent".

    Args:
        settings: Where to ship, and how; which shipper they name does not matter.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def run(self) -> None:
        """Ship until `stop`; while another agent is there, stand by.

        Raises:
            OSError: The spool cannot be written.
        """
        raise NotImplementedError

    def stop(self) -> None:
        """Have `run` end after the batches it is at; a signal handler may call it."""
        raise NotImplementedError

    def state(self) -> AgentState | None:
        """Return what it last wrote of itself with `agent_state.write_state`; from any thread.

        None before it has looked, and while it stands by.
        """
        raise NotImplementedError

    def once(self, timeout_seconds: float) -> Shipped:
        """Ship what is there now, whether or not its processes live, and end.

        Args:
            timeout_seconds: How long at the most; what is left stays in the journals.

        Raises:
            AgentRunsError: An agent is there already, which ships all that.
            OSError: The spool cannot be written.
        """
        raise NotImplementedError
