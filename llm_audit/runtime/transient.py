"""Errors of the operating system that pass: no descriptor or memory to spare, just now."""

import errno

_TRANSIENT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN})


def is_transient(error: BaseException) -> bool:
    """Tell whether the same may well succeed a moment later, so that nothing is given up for it."""
    return isinstance(error, OSError) and error.errno in _TRANSIENT
