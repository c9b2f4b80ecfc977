"""What `configure(redact=...)` and the environment may say: functions, names of rules, rules."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, cast

from llm_audit.redaction.rule import Operator, Rule
from llm_audit.spelling import did_you_mean, nearest

_PRESIDIO = "presidio"


def read_rules(given: Any, *, slow: bool = False) -> Any:
    """Return what redacts: a function as it is, else a tuple of rules and functions, or None.

    Args:
        given: None, a function, the name of a rule or several with commas, each also with its
            operator ("email:pseudonym"), a `Rule`, or a list of these.
        slow: Whether it may take long.

    Raises:
        ValueError: It is none of that; the message does not repeat it.
    """
    if given is None or _is_function(given):
        return given
    return tuple(_rules(given, slow=slow))


read_slow_rules = partial(read_rules, slow=True)


def _is_function(given: Any) -> bool:
    return callable(given) and not isinstance(given, str | Rule)


def _rules(given: Any, *, slow: bool) -> Iterator[Any]:
    if isinstance(given, list | tuple):
        for one in given:
            yield from _rules(one, slow=slow)
    elif isinstance(given, str):
        for named in given.lower().split(","):
            if name := named.strip():
                yield from _named(name, slow=slow)
    elif isinstance(given, Rule) or _is_function(given):
        yield given
    else:
        raise ValueError("give a function, a Rule, the name of a rule, or a list of these")


def _named(given: str, *, slow: bool) -> Iterator[Rule]:
    name, operator = (part.strip() for part in f"{given}:remove".split(":")[:2])
    if name == _PRESIDIO:
        yield from _rules_of_presidio(operator, slow=slow)
        return
    from llm_audit.redaction.personal import READY_MADE  # most do without, and loading takes time

    if name not in READY_MADE:
        raise ValueError(
            f"the rules with a name are {', '.join(READY_MADE)}; rules and functions of your own "
            f"go to llm_audit.configure(redact=...).{did_you_mean(nearest(name, READY_MADE))}"
        )
    yield Rule(name, operator=cast("Operator", operator))


def _rules_of_presidio(operator: str, *, slow: bool) -> Iterator[Rule]:
    if not slow:
        raise ValueError("presidio is too slow for the thread that calls: use redact_in_shipper")
    from llm_audit.redaction.presidio import with_its_own_model  # an extra

    for rule in with_its_own_model():
        yield replace(rule, operator=cast("Operator", operator))
