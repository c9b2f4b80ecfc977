"""Methods of other packages' classes, replaced by ones that call them, and put back.

So are functions of modules, and what a function has closed over: who has taken the function itself
out of its module has that replaced, too.

A module that is not imported yet is waited for: a finder in `sys.meta_path` lets the others find
it, and has its classes patched when it has run. It imports nothing itself, and once all have come
it is gone.
"""

import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CellType, FunctionType, ModuleType
from typing import Any, ClassVar, NamedTuple

from llm_audit.capture.faults import harmless
from llm_audit.errors import log_once
from llm_audit.recorder.captured import Captured
from llm_audit.runtime.forks import OwnLock
from llm_audit.runtime.kept import kept

Method = Callable[..., Any]


class Hook(NamedTuple):
    """Where a hook is put.

    Attributes:
        module: Whose classes these are.
        owner: The class, or a function that has closed over another; empty for a function of the
            module itself.
        name: Of the method, or of the variable that the other is in.
        make: Returns what takes the place of a method.
        is_optional: Whether it is in some versions only.
    """

    module: str
    owner: str
    name: str
    make: Callable[[Method], Method]
    is_optional: bool = False


Owner = type | ModuleType | FunctionType


class _Put(NamedTuple):
    owner: Any  # an Owner, which a type checker would bind
    name: str
    ours: Method
    before: Method


@kept
class _Patches:
    lock = OwnLock()
    put: ClassVar[list[_Put]] = []
    missed: ClassVar[set[str]] = set()
    finder: "_Finder | None" = None


def put_on(hooks: Sequence[Hook]) -> None:
    """Put hooks on the classes of modules that are loaded, and on others when they are."""
    with _Patches.lock:
        _await([hook for hook in hooks if hook.module not in sys.modules])
    for hook in hooks:  # without the lock, which a thread that is loading one of them may want
        if hook.module in sys.modules:
            # it only waits until that thread has done so
            patch(importlib.import_module(hook.module), hook)


def take_off() -> None:
    """Put back every method that is still ours; what others have wrapped does nothing any more."""
    with _Patches.lock:
        _await([])
        for put in (*_Patches.put,):
            if _value(put.owner, put.name) is put.ours:
                _replace(put.owner, put.name, put.before)
                _Patches.put.remove(put)


@harmless
def patch(module: ModuleType, hook: Hook) -> None:
    """Put one hook on, unless it is there.

    Args:
        module: As it was loaded.
        hook: Its class may be another module's by another name, as after `alias_httpx()`.
    """
    owner: Any = vars(module).get(hook.owner) if hook.owner else module
    before: Any = _value(owner, hook.name) if isinstance(owner, Owner) else None
    if before is None:
        _miss(hook)
        return
    if _is_ours(before):
        return
    method: Method = before
    ours = functools.wraps(before)(hook.make(before))
    with _Patches.lock:
        if _value(owner, hook.name) is not before:
            return  # another thread was faster
        _Patches.put.append(_Put(owner, hook.name, ours, method))
        _replace(owner, hook.name, ours)


def _miss(hook: Hook) -> None:
    """Count, and say once, that what is to be hooked is not there."""
    place = ".".join(filter(None, hook[:3]))
    if not hook.is_optional and place not in _Patches.missed:
        _Patches.missed.add(place)
        Captured.counts.faults += 1
        log_once(
            f"{place} is not in this version of {hook.module.partition('.')[0]}: what it does is "
            "not captured as it should be.",
            key=f"capture missed {place}",
        )


def _value(owner: Owner, name: str) -> Any:
    if isinstance(owner, FunctionType):
        cell = _cell(owner, name)
        return None if cell is None else cell.cell_contents
    return vars(owner).get(name)


def _replace(owner: Owner, name: str, value: Method) -> None:
    if not isinstance(owner, FunctionType):
        setattr(owner, name, value)
    elif cell := _cell(owner, name):
        cell.cell_contents = value


def _cell(function: FunctionType, name: str) -> CellType | None:
    """Return where a function keeps what it has closed over; others may have wrapped it since."""
    inner: Any = function
    while isinstance(inner, FunctionType):
        if name in inner.__code__.co_freevars and inner.__closure__:
            return inner.__closure__[inner.__code__.co_freevars.index(name)]
        inner = getattr(inner, "__wrapped__", None)
    return None


def _is_ours(method: Any) -> bool:
    """Tell whether a method is ours, or wraps it."""
    ours = {id(put.ours) for put in _Patches.put}
    seen: set[int] = set()
    while method is not None and id(method) not in seen:
        if id(method) in ours:
            return True
        seen.add(id(method))
        method = getattr(method, "__wrapped__", None)
    return False


def _await(hooks: Sequence[Hook]) -> None:
    """Wait for the modules of these hooks, and for no others."""
    if _Patches.finder in sys.meta_path:
        sys.meta_path.remove(_Patches.finder)
    _Patches.finder = _Finder(hooks) if hooks else None
    if _Patches.finder is not None:
        sys.meta_path.insert(0, _Patches.finder)


class _Finder(MetaPathFinder):
    """Has others find a module, and patches it when it is loaded."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self.hooks = {hook.module: [h for h in hooks if h.module == hook.module] for hook in hooks}
        self._finding: set[str] = set()  # others may ask for it again meanwhile

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return what the others find, loaded by a loader that patches what it has loaded."""
        if name not in self.hooks or name in self._finding:
            return None
        self._finding.add(name)
        try:
            for finder in (*sys.meta_path,):
                find = None if finder is self else getattr(finder, "find_spec", None)
                spec: ModuleSpec | None = find(name, path, target) if find else None
                if spec is not None:
                    if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                        spec.loader = _Loader(spec.loader, self, name)
                    return spec
            return None
        finally:
            self._finding.discard(name)

    def loaded(self, module: ModuleType, name: str) -> None:
        """Patch a module that was awaited, and wait no more once there are no others."""
        with _Patches.lock:
            for hook in self.hooks.pop(name, ()):
                patch(module, hook)
            if not self.hooks and self in sys.meta_path:
                sys.meta_path.remove(self)


class _Loader(Loader):
    """Loads a module as its own loader does, and leaves no trace on it."""

    def __init__(self, loader: Any, finder: _Finder, name: str) -> None:
        self._loader = loader
        self._finder = finder
        self._name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Do what its own does."""
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do what its own does, then patch."""
        for holder, name in ((module, "__loader__"), (module.__spec__, "loader")):
            if getattr(holder, name, None) is self:
                setattr(holder, name, self._loader)
        self._loader.exec_module(module)
        self._finder.loaded(module, self._name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
