"""Which name may be meant by one that is unknown."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return the known name that is most like a name, whatever its case, or None.

    Args:
        name: As it was given.
        known: Names in lower case.
        likeness: What counts as like, from 0 to 1, see `difflib.get_close_matches`.
    """
    plain = {known_name.replace("_", ""): known_name for known_name in known}
    found = get_close_matches(name.lower().replace("_", ""), plain, n=1, cutoff=likeness)
    return plain[found[0]] if found else None


def did_you_mean(name: str | None) -> str:
    """Return the question that ends an error, with the space before it; "" for None."""
    return f" Did you mean {name}?" if name else ""
