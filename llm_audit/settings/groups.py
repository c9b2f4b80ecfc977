"""The group of users that shares a spool, by its name or number."""

import grp
from typing import Any

from llm_audit.errors import let_through

_LARGEST = 2**32 - 2  # the one above means: no group


def read_group(given: Any) -> Any:
    """Return the number of a group.

    Args:
        given: Its name, or its number, which need not have a name here: in a container few have.

    Raises:
        ValueError: There is none.
    """
    if given is None or type(given) is int:
        number = given
    elif not isinstance(given, str):
        raise ValueError("give the name of a group, or its number")
    else:
        try:
            number = grp.getgrnam(given).gr_gid
        except (KeyError, ValueError) as error:
            let_through(error)
            if not (given.isascii() and given.isdecimal()):
                raise ValueError(
                    "there is no such group on this machine: make it (groupadd), or give its number"
                ) from None
            number = int(given)
    if number is not None and not 0 <= number <= _LARGEST:
        raise ValueError("no group has such a number")
    return number
