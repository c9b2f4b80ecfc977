"""Finding e-mail addresses and IP addresses."""

import ipaddress
import re
from collections.abc import Iterator

_AT = re.compile(r"[@%&(\[](?:(?<=@)|(?<=%)40|(?<=&)#64;|(?<=[(\[])at[)\]] ?)")
_OTHER_SIGNS = ("%40", "&#64;", "(at)", "[at]")
_LOCAL_MAX = 64  # RFC 5321, 4.5.3.1.1
_LOCAL_BACKWARDS = re.compile(rf"[\w.+'-]{{1,{_LOCAL_MAX}}}")
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_DOT = r"(?:\.| ?[(\[]dot[)\]] ?)"
_TOP = r"(?:[xX][nN]--[A-Za-z0-9-]{1,59}|[^\W\d_]{2,63})"
_DOMAIN = re.compile(rf"(?:{_LABEL}{_DOT}){{1,8}}{_TOP}")
_BRACKETED_DOT = re.compile(r" ?[(\[]dot[)\]] ?")
_PICTURE = re.compile(r"[1-9]x\.\w+")  # logo@2x.png


def emails(text: str) -> Iterator[tuple[int, int]]:
    """Yield where e-mail addresses stand, in any alphabet, also with "(at)", "%40" and "&#64;"."""
    if "@" not in text and not any(
        sign[0] in text and sign in text  # one character is found fast
        for sign in _OTHER_SIGNS
    ):
        return
    for at in _AT.finditer(text):
        end_of_name = at.start() - (text[at.start() - 1 : at.start()] == " " and at[0] != "@")
        before = text[max(0, end_of_name - _LOCAL_MAX) : end_of_name]
        name = _LOCAL_BACKWARDS.match(before[::-1])
        domain = _DOMAIN.match(text, at.end())
        if name is None or domain is None or _PICTURE.fullmatch(domain[0]):
            continue
        first = name[0].rstrip(".+'-")  # backwards
        if first and first != "tig":  # git@github.com is nobody
            yield end_of_name - len(first), domain.end()


def as_typed(email: str) -> str:
    """Return an e-mail address as one types it, however its signs are written."""
    at = _AT.search(email)
    if at is None:
        return email
    return f"{email[: at.start()].rstrip()}@{_BRACKETED_DOT.sub('.', email[at.end() :])}"


_V4 = re.compile(
    r"[0-9](?<![\w.].)(?<![\w.]/.)(?<![=~^<>!]=.)[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?!\w|\.\w|-[A-Za-z])"
)
_SHORTEST_HOST = 8  # 1.2.3.4 is a version, or a chapter
_VERSION = re.compile(
    r"(?<![^\W_])(?:v|ver|version|release|build|rev)\.?[ :=]{1,3}\Z", re.IGNORECASE
)
_VERSION_MAX = 12
_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:")
_GROUP_BACKWARDS = re.compile(r"[0-9A-Fa-f]{0,4}")
_V6 = re.compile(r"[0-9A-Fa-f:]{2,39}")
_JOINS_BEFORE = re.compile(r"[\w:.]")
_JOINS_AFTER = re.compile(r"[\w:]|\.\w")


def ips(text: str) -> Iterator[tuple[int, int]]:
    """Yield where addresses of hosts stand; no loopback, unspecified, reserved or multicast ones.

    Four parts of one digit each are a version or a chapter, and so is what stands after "version",
    "==" or a product's name and a slash.
    """
    yield from sorted([*_v4(text), *_v6(text)])


def _v4(text: str) -> Iterator[tuple[int, int]]:
    for found in _V4.finditer(text):
        start, end = found.span()
        is_version = _VERSION.search(text, max(0, start - _VERSION_MAX), start)
        if end - start >= _SHORTEST_HOST and not is_version and _is_of_a_host(found[0]):
            yield start, end


def _v6(text: str) -> Iterator[tuple[int, int]]:
    at = 0
    while colons := _COLONS.search(text, at):
        group = _GROUP_BACKWARDS.match(text[max(0, colons.start() - 4) : colons.start()][::-1])
        start = colons.start() - (len(group[0]) if group else 0)
        address = _V6.match(text, start)
        at = max(colons.end(), address.end() if address else 0)
        if (
            address is None
            or (start and _JOINS_BEFORE.match(text, start - 1))
            or _JOINS_AFTER.match(text, at)
        ):
            continue
        end = at - (address[0][-1] == ":" and address[0][-2] != ":")  # the colon after it
        if _is_of_a_host(text[start:end]):
            yield start, end


def _is_of_a_host(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (
        address.is_loopback
        or address.is_unspecified
        or address.is_reserved
        or address.is_multicast
        or text.startswith("0.")
    )
