"""What stands in the place of what a rule has found."""

import hashlib
import hmac
import re

_CHARACTERS = re.compile(r"\w")


def replacement(operator: str, name: str, text: str, key: bytes | None) -> str:
    """Return what is stored instead of a text.

    Args:
        operator: As a rule names it.
        name: The rule's.
        text: What the rule found.
        key: For pseudonyms.
    """
    if operator == "mask":
        return _CHARACTERS.sub("*", text)
    if operator == "pseudonym" and key:
        digest = hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return f"[{name}:{digest.hexdigest()[:16]}]"
    return f"[{name}]"
