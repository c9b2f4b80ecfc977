"""What stands in the place of what a rule has found: nothing of it, some of it, or a pseudonym."""

import hashlib
import hmac
import re

_HEX_DIGITS = (
    16  # 64 bits: among a million people, the chance that any two are alike is 1 : 37 million
)
_PSEUDONYM = re.compile("pseudonym-[0-9a-f]{16}")
_HIDDEN = "***"
_NETWORK = re.compile(r"[0-9a-fA-F]+[.:][0-9a-fA-F]*[.:]")
_SHOWN = {"phone": 2, "card": 4, "iban": 4}  # of the last characters
_LONG = 16  # the last four characters of what is as long as that tell nothing of the rest


def replacement(operator: str, name: str, text: str, key: bytes | None) -> str:
    """Return what is stored instead of a text.

    Args:
        operator: As a rule names it.
        name: The rule's.
        text: What the rule found.
        key: For pseudonyms.
    """
    if operator == "mask":
        return _mask(name, _canonical(text))
    if operator == "pseudonym" and key:
        return pseudonym_of(text, key)
    return f"[redacted:{name}]"


def pseudonym_of(text: str, key: bytes) -> str:
    """Return a name that is the same for the same text, and that nobody can make without the key.

    Args:
        text: An address, a number, an id; how it is written makes no difference.
        key: Secret.
    """
    if _PSEUDONYM.fullmatch(text):  # it came from another process, which had the rule, too
        return text
    digest = hmac.new(key, _canonical(text).encode("utf-8", "surrogatepass"), hashlib.sha256)
    return f"pseudonym-{digest.hexdigest()[:_HEX_DIGITS]}"


def _canonical(text: str) -> str:
    from llm_audit.redaction.personal import canonical  # most do without, and loading takes time

    return canonical(text)


def _mask(name: str, text: str) -> str:
    """Return what a text may show of itself: the domain of an address, the last of a number."""
    if name == "email" and "@" in text:
        return f"{_HIDDEN}{text[text.rindex('@') :]}"
    if name == "ip" and (network := _NETWORK.match(text)):
        return f"{network[0]}{_HIDDEN}"
    shown = _SHOWN.get(name, 4 if len(text) >= _LONG else 0)
    return f"{_HIDDEN}{text[len(text) - shown :]}"
