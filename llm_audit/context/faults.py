"""What could not be learned of the context of calls: it is counted, and the calls go on without."""

from llm_audit.errors import let_through, log_once
from llm_audit.runtime.forks import begin_anew
from llm_audit.runtime.kept import kept


@kept
class ContextFaults:
    """The one place where it is counted."""

    count = 0

    @classmethod
    def note(cls, what: str, fault: BaseException) -> None:
        """Count a fault, and log it once.

        Args:
            what: Could not be learned; one of a few texts of ours.
            fault: What was caught; what struck from outside, a time limit say, is raised again.
        """
        let_through(fault)
        cls.count += 1
        log_once(
            f"The {what} could not be read ({type(fault).__name__}); its calls are recorded "
            "without. llm_audit.stats() counts such faults.",
            key=f"context {what}",
        )


@begin_anew
def _begin_anew() -> None:
    ContextFaults.count = 0
