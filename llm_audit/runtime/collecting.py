"""Whether the garbage collector is at work, and what runs here is a finalizer that it has called.

It may come wherever memory is asked for. Before Python 3.12 that is within `ContextVar.set`, too,
and Python crashes if a context variable is set there.
"""

import gc


def is_collecting() -> bool:
    """Tell whether the collector is at work: asked to collect what is youngest, it then does not.

    That takes some ten microseconds, so ask only where a finalizer may be running.
    """
    if not gc.isenabled():
        return False  # it does not come, and what is youngest may be all that there is
    before = _collections()
    gc.collect(0)
    return _collections() == before


def _collections() -> int:
    return int(gc.get_stats()[0]["collections"])
