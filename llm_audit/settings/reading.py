"""Reads the settings that a program gives together with those of the environment.

What a program gives is code: a mistake in it raises. The environment of a process may come
from others: what is wrong there is logged once, and never harms the audited code.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

from pydantic import SecretStr, ValidationError

from llm_audit.errors import ConfigurationError, let_through, log_once
from llm_audit.settings.content import Content
from llm_audit.settings.fields import SHORTEST_KEY, Settings
from llm_audit.settings.mongo_url import MONGO_URL_SHAPE
from llm_audit.spelling import did_you_mean, nearest

PREFIX = "LLM_AUDIT_"
_FIX_ARGUMENT = "Fix the argument of llm_audit.configure(), or the option of the command."
# Kubernetes sets these in every pod next to a service called llm-audit or llm-audit-...
_SERVICE_LINK = re.compile(r"(^|_)(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP).*)?)$")
# Where a journal is impossible: a path that nobody can make, so calls stay in memory.
_IMPOSSIBLE_SPOOL = Path(os.devnull, "llm-audit")


def read(given: dict[str, Any]) -> Settings:
    """Return the settings: what is given, else in the environment, else the default.

    Args:
        given: Values by name.

    Raises:
        ConfigurationError: What is given is wrong; in strict mode also the environment.
    """
    environment = _from_environment()
    settings, problems = _validated(environment | given)
    if mistakes := {name: problem for name, problem in problems.items() if name in given}:
        raise ConfigurationError(f"{_listed(mistakes)} {_FIX_ARGUMENT}")
    if settings is None:
        fallbacks = {name: _fallback(name) for name in problems}
        if "content_by_call_type" in problems:  # of which types nobody knows
            fallbacks["content"] = Content.METADATA
        settings = Settings(**environment | fallbacks | given)
    if not settings.hosts():
        problems["mongo_url"] = f"it is no MongoDB connection string: {MONGO_URL_SHAPE}"
    if "mongo_url" in problems.keys() & given.keys():
        raise ConfigurationError(f"{_listed(problems)} {_FIX_ARGUMENT}")
    if problems and settings.strict:
        variables = {f"{PREFIX}{name.upper()}": problem for name, problem in problems.items()}
        raise ConfigurationError(f"{_listed(variables)} Fix the environment.")
    for name, problem in problems.items():
        until_then = _until_then(name, settings)
        log_once(
            f"{_listed({PREFIX + name.upper(): problem})} Fix it; until then {until_then}.",
            key=f"setting {name}",
        )
    _name_unknown_variables()
    return settings


def _from_environment() -> dict[str, Any]:
    """Return the variables that are settings, in any case; an empty one counts as not given."""
    variables = {variable.upper(): value for variable, value in os.environ.items() if value}
    named = {name: variables.get(f"{PREFIX}{name.upper()}") for name in Settings.model_fields}
    found: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    return hide_secrets(found)


def hide_secrets(values: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the secrets where no frame of a traceback and no error shows them."""
    hidden = {}
    if not isinstance(url := values.get("mongo_url", SecretStr("")), SecretStr):
        hidden["mongo_url"] = SecretStr(_as_text(url))
    if isinstance(key := values.get("redaction_key"), str):
        hidden["redaction_key"] = SecretStr(key)
    return values | hidden


def _as_text(url: object) -> str:
    try:
        return str(url)  # a URL may be an object
    except Exception as error:  # noqa: BLE001  (of the program's own)
        let_through(error)
        return ""  # which is no connection string, as will be said


def _validated(values: dict[str, Any]) -> tuple[Settings | None, dict[str, str]]:
    """Return the settings, or what is wrong by name, without repeating any value."""
    try:
        return Settings(**values), {}
    except ValidationError as error:
        problems: dict[str, str] = {}
        for each in error.errors(include_url=False, include_context=False, include_input=False):
            name = str(each["loc"][0])
            problem = each["msg"].removeprefix("Value error, ")
            if each["type"] == "extra_forbidden":
                problem = f"no such setting.{did_you_mean(nearest(name, Settings.model_fields))}"
            problems[name] = f"{problems[name]}, or {problem}" if name in problems else problem
        return None, problems


def _fallback(name: str) -> Any:
    """Return what takes the place of a wrong variable."""
    if name in {"redact", "redact_in_shipper"}:
        from llm_audit.redaction.failing import no_rules  # knows BSON, which takes time to load

        return no_rules  # who sets it wants less to be stored, not all
    if name == "redaction_key":
        return SecretStr(token_hex(SHORTEST_KEY))
    if name == "content":
        return Content.METADATA  # the same
    default = Settings.model_fields[name].get_default(call_default_factory=True)
    if name == "spool_dir":
        try:
            return default.expanduser().absolute()
        except (RuntimeError, OSError) as error:
            let_through(error)
            return _IMPOSSIBLE_SPOOL
    return default


def _until_then(name: str, settings: Settings) -> str:
    if name == "mongo_url":
        return "calls wait in the spool"
    if name in {"redact", "redact_in_shipper"}:
        return "calls are recorded without their text and ids"
    if name in {"content", "content_by_call_type"}:
        return "nothing of what was said is recorded"
    if name == "redaction_key":
        return "a pseudonym is the same within this process only"
    if name == "spool_dir" and settings.spool_dir == _IMPOSSIBLE_SPOOL:
        return "calls are kept in memory only"
    return "its default is used"


def _listed(problems: Mapping[str, str]) -> str:
    """Return all that is wrong as one text, which ends as a sentence does."""
    listed = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
    return listed if listed.endswith(("?", ".")) else f"{listed}."


def _name_unknown_variables() -> None:
    """Say once which variables look like settings and are none; others may use our prefix too."""
    for variable, value in os.environ.items():
        name = variable.upper().removeprefix(PREFIX)
        if name == variable.upper() or not value or _SERVICE_LINK.search(name):
            continue
        if name.lower() not in Settings.model_fields:
            near = nearest(name, Settings.model_fields)
            meant = did_you_mean(near and f"{PREFIX}{near.upper()}")
            log_once(f"The variable {variable} is no setting of llm-audit.{meant}")
