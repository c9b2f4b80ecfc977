"""What `configure(redact=...)` and the environment may say: functions, names of rules, rules."""

from typing import Any, cast

from llm_audit.redaction.rule import Operator, Rule


def read_rules(given: Any) -> Any:
    """Return what redacts: a function as it is, else a tuple of rules and functions, or None.

    Args:
        given: None, a function, the name of a rule or several with commas, each also with its
            operator ("email:pseudonym"), a `Rule`, or a list of these.

    Raises:
        ValueError: It is none of that; the message does not repeat it.
    """
    if given is None or (callable(given) and not isinstance(given, str | Rule)):
        return given
    several = given if isinstance(given, list | tuple) else [given]
    return tuple(rule for one in several for rule in _rules(one))


def _rules(given: Any) -> list[Any]:
    if isinstance(given, Rule) or (callable(given) and not isinstance(given, str)):
        return [given]
    if not isinstance(given, str):
        raise ValueError(  # noqa: TRY004 - pydantic makes one error of it
            "give a function, a Rule, the name of a rule, or a list of these"
        )
    return [_named(name.strip()) for name in given.split(",") if name.strip()]


def _named(given: str) -> Rule:
    name, _, operator = (part.strip() for part in given.lower().partition(":"))
    try:
        return Rule(name, operator=cast("Operator", operator or "remove"))
    except ValueError as error:
        own = "Rules and functions of your own go to llm_audit.configure(redact=...)"
        raise ValueError(f"{error} {own}") from None
