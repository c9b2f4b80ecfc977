"""One line that records every call: `instrument` puts hooks on, `uninstrument` takes them off."""

from itertools import chain

from llm_audit.capture import (
    aiohttp_client,
    botocore_client,
    dspy_client,
    frameworks,
    httpx_client,
)
from llm_audit.capture.clients import CLIENTS, known
from llm_audit.capture.patches import put_on, take_off
from llm_audit.errors import ConfigurationError, UsageError, log_once
from llm_audit.recorder.captured import ALL, Captured
from llm_audit.settings import get_settings

_HOOKS = (
    *httpx_client.HOOKS,
    *aiohttp_client.HOOKS,
    *botocore_client.HOOKS,
    *dspy_client.HOOKS,
)


def instrument(*names: str) -> None:
    """Record every call to an LLM that this process makes from now on, whatever client makes it.

    Existing clients are covered, and modules that are imported later. It may be called again: names
    are added. Nothing is imported for it.

    Args:
        *names: Of clients, where only theirs are to be recorded: anthropic, bedrock (boto3),
            cohere, google-genai, groq, litellm, mistralai, ollama, openai, together. Without a name
            all calls are recorded that go to the path of a known API, also those of plain httpx;
            frameworks above the clients say to which run they belong, and record their own steps.

    Raises:
        UsageError: There is no client of that name; nothing is changed then.
    """
    new = known(names) if names else (ALL,)
    if ALL in (*Captured.clients, *new):
        Captured.clients = (ALL,)
        put_on((*_HOOKS, *frameworks.HOOKS))
        return
    Captured.clients = tuple(sorted({*Captured.clients, *new}))
    modules = set(chain.from_iterable(CLIENTS[name].modules for name in Captured.clients))
    put_on([hook for hook in _HOOKS if hook.module in modules])


def uninstrument() -> None:
    """Record no more calls by themselves; those that are under way are recorded to their end."""
    Captured.clients = ()
    take_off()


def instrument_as_set() -> None:
    """Do what the setting `instrument` says: `LLM_AUDIT_INSTRUMENT=all`, or names with commas.

    Importing changes nothing in a process, so `configure()`, `lifespan` and
    `celery_hooks.install()` call this.

    Raises:
        ConfigurationError: In strict mode, when it names a client that there is not.
    """
    said = get_settings().instrument
    if not said:
        return
    names = [name.strip() for name in said.split(",") if name.strip()]
    try:
        instrument(*([] if ALL in map(str.lower, names) else names))
    except UsageError as mistake:
        if get_settings().strict:
            raise ConfigurationError(f"LLM_AUDIT_INSTRUMENT: {mistake}") from None
        log_once(f"LLM_AUDIT_INSTRUMENT: {mistake}")
