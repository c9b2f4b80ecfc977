"""A real agent, in a process of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

from children import child
from waiting import until

from llm_audit.journal.spool.agents import agent_of
from llm_audit.settings import Settings

AGENT = """
import signal
from llm_audit.agent.agent import Agent
from llm_audit.settings import get_settings

agent = Agent(get_settings())
signal.signal(signal.SIGTERM, lambda *_: agent.stop())
agent.run()
"""


@contextmanager
def agent(settings: Settings, *, complains: bool = False) -> Iterator[None]:
    """Have an agent ship what is recorded with these settings, until the block is left.

    Args:
        settings: Where, and how.
        complains: Whether it has something to say.
    """
    with child(AGENT, settings) as process:
        target_folder = settings.spool_dir / settings.target("agent")

        def is_there() -> bool:
            found = agent_of(target_folder)
            return found is not None and found.lives

        until(is_there)
        yield
        process.terminate()
        errors = process.communicate()[1]
        assert (process.returncode, bool(errors)) == (0, complains), (process.returncode, errors)
