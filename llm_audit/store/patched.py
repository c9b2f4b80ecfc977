"""What PyMongo binds when it is imported, and gevent and eventlet replace."""

import select
import ssl
import sys


def see_patches() -> None:
    """Let PyMongo use what is in place now, also where the app has patched after importing us."""
    now = {
        ("socket_checker", "_HAVE_POLL"): hasattr(select, "poll"),  # which eventlet takes away
        ("ssl_context", "SSLContext"): ssl.SSLContext,
    }
    for (module, name), value in now.items():
        bound = sys.modules.get(f"pymongo.{module}")
        if hasattr(bound, name):
            setattr(bound, name, value)
