"""Whether MongoDB takes what is sent, and what is said in the log when that changes."""

import logging
from collections.abc import Callable

from pymongo.errors import OperationFailure

from llm_audit.errors import UnavailableError, log, log_once
from llm_audit.journal.segments.memory import unsaved
from llm_audit.journal.writer import Journal
from llm_audit.settings import Settings
from llm_audit.store.answers.codes import TOO_MANY_REQUESTS, only_this_is_refused
from llm_audit.store.answers.server_words import told
from llm_audit.store.answers.shortfalls import answer_in, fix_of
from llm_audit.store.delivery.isolation import StuckError

BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 5.0


class Availability:
    """What the thread that ships knows of it.

    Args:
        settings: Where it is.
        journal: Where calls wait meanwhile.
        on_gone: Called whenever MongoDB turns out to be gone.
    """

    def __init__(self, settings: Settings, journal: Journal, on_gone: Callable[[], None]) -> None:
        self.unavailable: str | None = None
        self._failures = 0
        self._settings = settings
        self._journal = journal
        self._on_gone = on_gone

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

    def where_calls_wait(self) -> str:
        """Say where calls are meanwhile."""
        if self._journal.disk_refuses or unsaved(self._journal.segments):
            return "calls are in memory only, as the journal in spool_dir cannot be written"
        return "calls stay in the journal"

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
            self.where_calls_wait(),
            f"; {fix_of(answer)}"
            if refuses and answer
            else ". Start it; if it is elsewhere, set LLM_AUDIT_MONGO_URL.",
        )
