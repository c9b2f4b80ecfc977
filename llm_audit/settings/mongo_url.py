"""MongoDB's connection strings: which hosts they name, and how they look without secrets."""

import re
from urllib.parse import unquote

_HOST = r"(\[[^][@/?#]+\]|[^][:,@/?#\ud800-\udfff]+)(:\d+)?"
_MONGO_URL = re.compile(
    rf"mongodb(\+srv)?://(?P<user>[^@/?#]*@)?(?P<hosts>{_HOST}(,{_HOST})*)"
    # without a user, an @ would end one whose password has a / or a ?
    r"(?(user)([/?].*)?|([/?][^@]*)?)$"
)
MONGO_URL_SHAPE = (
    "it has to look like mongodb://host:27017 or mongodb+srv://host, with user and password "
    "percent-encoded"
)

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


def hosts_in(url: str) -> str:
    """Return the hosts, always in the same order, without credentials.

    Empty for what is no connection string, as with a password that is not percent-encoded.
    """
    match = _MONGO_URL.match(url)
    return ",".join(sorted(match["hosts"].lower().split(","))) if match else ""


def meaning_of(url: str) -> object:
    """Return what is equal for connection strings that lead to the same in the same way.

    Args:
        url: Where it is none, it means nothing but itself.
    """
    match = _MONGO_URL.match(url)
    if not match:
        return url
    path, _, options = url[match.end("hosts") :].partition("?")
    pairs = [option.partition("=")[::2] for option in _OPTION.findall(options)]
    return (
        match[1],
        match["user"] and tuple(map(unquote, match["user"][:-1].partition(":"))),
        tuple(sorted(_full_name(host, srv=bool(match[1])) for host in match["hosts"].split(","))),
        unquote(path.removeprefix("/")),
        # of an option that is there more than once, the order counts
        tuple(
            sorted(((name.lower(), unquote(value)) for name, value in pairs), key=lambda o: o[0])
        ),
    )


def _full_name(host: str, *, srv: bool) -> str:
    if "%" in host:  # the path of a socket
        return unquote(host)
    has_port = srv or re.search(r":\d+$", host)
    return host.lower() if has_port else f"{host.lower()}:27017"


def option_names(url: str) -> frozenset[str]:
    """Return the names of the options in a connection string, in lower case."""
    _, _, options = url.partition("?")
    return frozenset(option.partition("=")[0].lower() for option in _OPTION.findall(options))


def without_secrets(url: str) -> str:
    """Return a connection string without its password and the options that may hold secrets."""
    if not hosts_in(url):  # the password may be anywhere in it
        return HIDDEN
    hosts, mark, options = url.partition("?")
    shown = _USER_AND_PASSWORD.sub(_without_password, hosts)
    return shown + mark + _OPTION.sub(_option_without_secret, options)


def _without_password(user: re.Match[str]) -> str:
    return f"{user[1]}:{HIDDEN}@" if user[2] else user[0]


def _option_without_secret(option: re.Match[str]) -> str:
    name, equals, _ = option[0].partition("=")
    if not equals:  # it may be the end of a secret that is not percent-encoded
        return HIDDEN
    return option[0] if name.lower() in _SHOWN_OPTIONS else f"{name}={HIDDEN}"
