"""Whether MongoDB takes what is sent, and what is said in the log when that changes."""

import logging
from collections.abc import Callable

from pymongo.errors import OperationFailure

from llm_audit.errors import UnavailableError, let_through, log, log_fault, log_once
from llm_audit.settings import Settings
from llm_audit.store.answers.codes import TOO_MANY_REQUESTS, only_this_is_refused
from llm_audit.store.answers.server_words import told
from llm_audit.store.answers.shortfalls import answer_in, fix_of
from llm_audit.store.connection import Connection
from llm_audit.store.delivery.isolation import StuckError

BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 5.0
IN_THE_JOURNAL = "calls stay in the journal"


class Availability:
    """What whoever ships knows of it.

    Args:
        settings: Where it is.
        connection: To it.
        on_gone: Called whenever MongoDB turns out to be gone.
        where_calls_wait: Says where calls are meanwhile.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        on_gone: Callable[[], None],
        where_calls_wait: Callable[[], str] = lambda: IN_THE_JOURNAL,
    ) -> None:
        self.unavailable: str | None = None
        self._failures = 0
        self._settings = settings
        self._connection = connection
        self._on_gone = on_gone
        self._where_calls_wait = where_calls_wait

    def attempt(self, work: Callable[[], object], rest_seconds: float) -> float:
        """Do some work; return for how many seconds there is nothing more to do.

        Args:
            work: Returns whether there was anything to do.
            rest_seconds: How long to wait where there was not.
        """
        try:
            return 0.0 if work() else rest_seconds
        except UnavailableError as error:
            again = self._connection.does_without_retries(error)
            return 0.0 if again else self.went_away(error)
        except BaseException as error:  # noqa: BLE001
            # a fault of ours must not end shipping: the journal still holds everything
            let_through(error)
            log_fault(error)
            return BACKOFF_MAX_SECONDS

    def went_away(self, error: UnavailableError) -> float:
        """Take note that nothing can be sent; return for how many seconds to wait."""
        answer = answer_in(error)
        if isinstance(error, StuckError):
            log_once(f"Calls stay in the journal: {error}.", level=logging.ERROR)
            self.unavailable = str(error)
        elif answer is not None and answer.code == TOO_MANY_REQUESTS:
            log_once(f"MongoDB takes less than is sent ({told(answer)}): the rest follows later.")
        else:
            self._say_away(error, answer)
            self.unavailable = str(error)
            self._on_gone()
        self._failures += 1
        return float(min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(self._failures, 6)))

    def came_back(self) -> None:
        """Take note that something has arrived."""
        if self.unavailable is not None:
            log(logging.WARNING, "MongoDB is available again: the journal is being shipped.")
        self.unavailable = None
        self._failures = 0

    def _say_away(self, error: UnavailableError, answer: OperationFailure | None) -> None:
        if self.unavailable is not None:
            return
        refuses = answer is not None and only_this_is_refused(answer)
        log(
            logging.WARNING,
            "MongoDB is not available at %s%s (%s): %s%s",
            self._settings.hosts() or "mongo_url",
            ", it refuses what is recorded" if refuses else "",
            error,
            self._where_calls_wait(),
            f"; {fix_of(answer)}"
            if refuses and answer
            else ". Start it; if it is elsewhere, set LLM_AUDIT_MONGO_URL.",
        )
