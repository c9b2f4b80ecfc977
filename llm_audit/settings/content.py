"""Which content of calls is recorded: what the settings say of it, for all and by call type."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from llm_audit.open_enum import NAME_MAX_CHARACTERS


class Content(StrEnum):
    """What is recorded of what people, programs and models said."""

    FULL = "full"
    METADATA = "metadata"  # nothing: who, when, how much, and how it ended
    SAMPLED = "sampled"  # of some traces, and of what failed or was slow


def read_by_call_type(given: Any) -> Any:
    """Return the policies by call type, e.g. of `EMBEDDING=metadata,CHAT=sampled`.

    Raises:
        ValueError: It says none.
    """
    if isinstance(given, str):
        pairs = [one.partition("=") for one in given.split(",") if one.strip()]
        if any(not sign for _, sign, _ in pairs):
            raise ValueError("say it like EMBEDDING=metadata,CHAT=sampled")
        given = {name.strip(): said.strip() for name, _, said in pairs}
    if not isinstance(given, Mapping):
        raise ValueError("give a dict of call types")  # noqa: TRY004 - pydantic makes one error
    policies: dict[str, Content] = {}
    known = [policy.value for policy in Content]
    for name, said in given.items():
        kind = str(name).strip().upper()
        if not 0 < len(kind) <= NAME_MAX_CHARACTERS:
            raise ValueError(f"a call type has 1 to {NAME_MAX_CHARACTERS} characters")
        policy = str(said).lower()
        if policy not in known:
            raise ValueError(f"{kind} can be {', '.join(known)}")
        policies[kind] = Content(policy)
    return policies
