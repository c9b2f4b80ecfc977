"""What must not be stored is replaced before anything is written: secrets, and what you name.

`rule` says what a rule is, `secrets` and `personal` hold ours, `walk` goes through the values of a
document, `operators` make what stands in the place of what was found, and `apply` puts them to work
on what is about to be journaled.
"""

from llm_audit.errors import ConfigurationError
from llm_audit.redaction.rule import Rule

__all__ = ["Rule", "pseudonym"]


def pseudonym(text: str) -> str:
    """Return what stands in recorded calls where a rule with the operator "pseudonym" found a text.

    So a person can be looked up: `list_by_filters(user_id=pseudonym("ada@example.com"))`.

    Args:
        text: An address, a number, an id; how it is written makes no difference.

    Raises:
        ConfigurationError: There is no `redaction_key`.
    """
    from llm_audit.redaction.operators import pseudonym_of
    from llm_audit.settings import get_settings  # it reads rules, so it imports this package

    key = get_settings().redaction_key
    if key is None:
        raise ConfigurationError(
            "redaction_key is not set: pseudonyms are made with it. Call "
            "llm_audit.configure(redaction_key=...), or set LLM_AUDIT_REDACTION_KEY."
        )
    return pseudonym_of(text, key.get_secret_value().encode())
