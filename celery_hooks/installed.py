"""Which apps the hooks are installed for, and with which options."""

import os
from dataclasses import dataclass
from typing import Any, ClassVar

from celery import Celery, current_app
from celery.local import Proxy

_SPAWNED = "FORKED_BY_MULTIPROCESSING"  # what Celery sets in a child that is not a fork


@dataclass
class Options:
    """What `install` was told, by all its calls for one app.

    Attributes:
        flush: Whether each task waits until its calls have arrived.
        coroutines: Whether tasks that are coroutine functions are run.
    """

    flush: bool = False
    coroutines: bool = False

    def add(self, other: "Options") -> None:
        """Have what another call of `install` asked for as well."""
        self.flush |= other.flush
        self.coroutines |= other.coroutines


class _Installed:
    every_app: Options | None = None
    apps: ClassVar[list[tuple[Celery, Options]]] = []
    instrumented = False


def add(app: Celery | None, options: Options) -> Celery | None:
    """Install the hooks for an app, or for every app for None; return the app behind a proxy."""
    if app is None:
        if _Installed.every_app is None:
            _Installed.every_app = Options()
        _Installed.every_app.add(options)
        return None
    app = _behind(app)
    if not isinstance(app, Celery):
        raise TypeError(f"celery_hooks.install() takes the Celery app, not {type(app).__name__}.")
    for known, its in _Installed.apps:
        if known is app:
            its.add(options)
            return app
    _Installed.apps.append((app, options))
    return app


def note_instrumented() -> None:
    """Note that clients were instrumented for an app, which is undone with it."""
    _Installed.instrumented = True


def remove() -> bool:
    """Install the hooks for no app; tell whether clients were instrumented for one."""
    _Installed.every_app = None
    _Installed.apps.clear()
    instrumented, _Installed.instrumented = _Installed.instrumented, False
    return instrumented


def options_of(app: Celery) -> Options | None:
    """Return with which options the hooks are installed for an app, None if they are not."""
    found = _Installed.every_app
    for known, options in _Installed.apps:
        if known is app:
            return options if found is None else _united(options, found)
    return found


def add_copy(**_: Any) -> None:
    """Install the hooks for what a spawned child runs: a copy of the app that its modules make.

    Celery pickles the app into the child; only the name tells which one it is a copy of.
    """
    if _SPAWNED not in os.environ:
        return
    copy = _behind(current_app)
    for app, options in tuple(_Installed.apps):
        if app is not copy and app.main == copy.main:
            add(copy, _united(options))


def _behind(app: Any) -> Any:
    """Return the app that a proxy stands for."""
    is_proxy = issubclass(type(app), Proxy)  # isinstance would ask the app
    return app._get_current_object() if is_proxy else app  # noqa: SLF001  (its own way)


def _united(*all_options: Options) -> Options:
    united = Options()
    for options in all_options:
        united.add(options)
    return united
