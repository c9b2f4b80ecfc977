"""`llm-audit config`: the settings in force, and where each comes from."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import typer
from rich.text import Text

from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_lines import print_json_rows
from llm_audit.cli.options import AsJson
from llm_audit.settings import Settings

HIDDEN = "***"
_USER_AND_PASSWORD = re.compile(r"(?<=://)([^@/?#:]*)(:[^/?#]*)?@")
_OPTION = re.compile("[^&;]+")
# Of the driver's options those without secrets; others, those of a later version say, are hidden.
_SHOWN_OPTIONS = frozenset(
    (
        *("appname", "authmechanism", "authsource", "compressors", "connecttimeoutms"),
        *("directconnection", "heartbeatfrequencyms", "journal", "loadbalanced"),
        *("localthresholdms", "maxconnecting", "maxidletimems", "maxpoolsize"),
        *("maxstalenessseconds", "minpoolsize", "readconcernlevel", "readpreference"),
        *("readpreferencetags", "replicaset", "retryreads", "retrywrites"),
        *("servermonitoringmode", "serverselectiontimeoutms", "sockettimeoutms", "srvmaxhosts"),
        *("srvservicename", "ssl", "timeoutms", "tls", "tlsallowinvalidcertificates"),
        *("tlsallowinvalidhostnames", "tlscafile", "tlscertificatekeyfile", "tlscrlfile"),
        *("tlsdisableocspendpointcheck", "tlsinsecure", "uuidrepresentation", "w"),
        *("waitqueuetimeoutms", "wtimeoutms", "zlibcompressionlevel"),
    )
)


def config(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show the settings in force and where each comes from; passwords are hidden.

    These are the settings of this shell: an app that calls llm_audit.configure() may have others.
    """
    rows = list(_settings(context.obj))
    if as_json:
        print_json_rows(rows)
        return
    table = terminal.table("setting", "value", "from", cut="value")
    table.columns[1].overflow = "fold"
    for row in rows:
        style = "dim" if row["source"] == "default" else ""
        value = "" if row["value"] is None else terminal.safe(row["value"])
        table.add_row(Text(row["setting"], style), Text(value, style), Text(row["source"], style))
    terminal.console().print(table)


def without_secrets(mongo_url: str) -> str:
    """Return a connection string without its password and the options that may hold secrets."""
    hosts, mark, options = mongo_url.partition("?")
    shown = _USER_AND_PASSWORD.sub(lambda url: f"{url[1]}:{HIDDEN}@" if url[2] else url[0], hosts)
    return shown + mark + _OPTION.sub(_option_without_secret, options)


def _option_without_secret(option: re.Match[str]) -> str:
    name, equals, _ = option[0].partition("=")
    if not equals:  # it may be the end of a secret that is not percent-encoded
        return HIDDEN
    return option[0] if name.lower() in _SHOWN_OPTIONS else f"{name}={HIDDEN}"


def _settings(options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    settings = Settings(**options)
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if name in options:
            source = f"--{name.replace('_', '-')}"
        elif name in settings.model_fields_set:
            source = f"LLM_AUDIT_{name.upper()}"
        else:
            source = "default"
        if name == "mongo_url":
            value = without_secrets(value)
        plain = value if isinstance(value, str | int | float | None) else str(value)
        yield {"setting": name, "value": plain, "source": source}
