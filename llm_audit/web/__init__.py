"""The viewer: pages over recorded calls, for a browser; needs the extra `web`.

llm-audit ui                                       # on this machine
app.mount("/llm", llm_audit.web.create_app())      # in an app of your own, behind its login
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_audit.web.app import create_app as create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    if name != "create_app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from llm_audit.web.app import create_app
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"The viewer needs an extra ({error.name} is missing): pip install 'llm-audit[web]'.",
            name=error.name,
        ) from None
    return create_app
