"""The import rules of the house. A new room gets its place in LAYERS first."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Lowest first. A room imports from its own layer and from those before it, never from later ones.
LAYERS = [
    {"runtime"},
    {"errors", "open_enum", "spelling"},
    {
        *("call", "causes", "context", "encoding", "field_types", "gate", "ids", "misspelt"),
        *("redaction", "settings", "tolerant"),
    },
    {"providers"},
    {"wire"},
    {"prices"},
    {"given"},
    {"journal"},
    {"store"},
    {"recorder"},
    {"agent"},
    {"references"},
    {"exchange", "recording"},
    {"batches"},
    {"logger"},
    {"decorators", "otel"},
    {"capture"},
    {
        *("background", "configuring", "diagnosis", "documents", "helpers", "lifecycle"),
        *("metrics", "middleware"),
    },
    {"database", "queries"},
    {"display"},
    {"exports"},
    {"__init__"},  # the public names
    {"celery_hooks", "cli", "demo", "embedded", "testing", "web"},
]

# What stands above and is not imported all the same: who asks goes through `queries`, and each user
# interface stands alone.
FORBIDDEN = {"cli": {"journal", "recorder", "web"}, "web": {"cli", "journal", "recorder"}}
SERVES_THE_OTHER = Path("llm_audit/cli/commands/operations/ui.py")

# Who may import what, where not everyone may.
FOREIGN = {
    "anthropic": {"integrations"},
    "beanie": {"database", "documents", "queries"},
    "celery": {"celery_hooks", "demo"},
    "jinja2": {"web"},
    "markdown_it": {"web"},
    "nh3": {"web"},
    "starlette": {"web"},
    "uvicorn": {"web"},
    "kombu": {"celery_hooks"},
    "mongomock_ng": {"testing"},
    "openai": {"demo", "integrations"},
    "opentelemetry": {"otel"},
    "prometheus_client": {"metrics"},
    "pytest": {"testing"},
    "redis": {"demo"},
    "rich": {"cli", "demo"},
    "typer": {"cli"},
}

# What gevent and eventlet replace, perhaps after we were imported.
PATCHED = {"_thread", "queue", "select", "selectors", "socket", "ssl", "subprocess", "threading"}
SLEEP = "time.sleep"
UNPATCHED = {"queue.Empty"}

# Where objects of the app's are read, or functions of its own called.
READ_OBJECTS = {
    *(
        "celery_hooks",
        "context",
        "encoding",
        "errors",
        "given",
        "middleware",
        "prices",
        "providers",
    ),
    *("recording", "redaction"),
}

HEAVY = [
    *("anthropic", "beanie", "celery", "fastapi", "gridfs", "jinja2", "openai"),
    *("prometheus_client", "pymongo", "rich", "starlette", "typer", "uvicorn"),
]

FILES = sorted(
    path.relative_to(ROOT)
    for package in ("celery_hooks", "llm_audit")
    for path in (ROOT / package).rglob("*.py")
)
HOOKS = [path for path in FILES if path.parts[0] == "celery_hooks"]


def room_of(parts: tuple[str, ...]) -> str:
    """Name the room of a file or module, given as the parts of its dotted name."""
    if parts[0] == "celery_hooks":
        return "celery_hooks"
    return parts[1] if len(parts) > 1 else "__init__"


def room_of_file(path: Path) -> str:
    return room_of(path.with_suffix("").parts)


@cache
def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse((ROOT / path).read_text())))


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything that a file imports, wherever in it."""
    package = path.parent.parts
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def rooms_imported(path: Path) -> set[str]:
    """Name the rooms of ours that a file imports from."""
    rooms = set()
    for name in imports(path):
        parts = tuple(name.split("."))
        if parts[0] in {"celery_hooks", "llm_audit"}:
            # `from llm_audit import x` is the public name x, unless x is a module.
            rooms.add(room_of(parts if is_module(".".join(parts[:2])) else parts[:1]))
    return rooms


def is_private(parts: list[str]) -> bool:
    return parts[1:2] == ["recorder"] or any(part.startswith("_") for part in parts)


def layer_of(room: str) -> int:
    return next(number for number, rooms in enumerate(LAYERS) if room in rooms)


def test_there_is_something_to_check() -> None:
    """Both packages are found, so the tests below are not empty."""
    assert {room_of_file(path) for path in FILES} >= {"celery_hooks", "__init__", "recorder"}
    assert HOOKS


def test_every_file_is_in_a_known_room() -> None:
    """Who adds a room decides what it may import."""
    assert {room_of_file(path) for path in FILES} - set().union(*LAYERS) == set()


def test_imports_go_downwards() -> None:
    """A room imports from its own layer and from lower ones only."""
    upwards = [
        f"{path} imports {other}"
        for path in FILES
        if (room := room_of_file(path)) != "__init__"  # it names rooms of every layer
        for other in rooms_imported(path)
        if layer_of(other) > layer_of(room)
    ]

    assert upwards == []


def test_user_interfaces_keep_to_what_is_for_them() -> None:
    """Neither reads a journal or knows the recording process, nor leans on the other."""
    wrong = [
        f"{path} imports {other}"
        for path in FILES
        for other in rooms_imported(path) & FORBIDDEN.get(room_of_file(path), set())
        if (path, other) != (SERVES_THE_OTHER, "web")
    ]

    assert wrong == []


def test_frameworks_stay_in_their_rooms() -> None:
    """A framework or client is imported only by the leaf that is about it."""
    strangers = [
        f"{path} imports {name}"
        for path in FILES
        for name in imports(path)
        if (rooms := FOREIGN.get(name.partition(".")[0])) and room_of_file(path) not in rooms
    ]

    assert strangers == []


def test_celery_hooks_use_public_names_only() -> None:
    """The hooks do what any user's code could do: no underscores, no recorder."""
    private = [
        f"{path} imports {name}"
        for path in HOOKS
        for name in imports(path)
        if name.startswith("llm_audit") and is_private(name.split("."))
    ]
    reached = [
        f"{path}:{node.lineno}: {node.value.id}.{node.attr}"
        for path in HOOKS
        for node in nodes(path)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "llm_audit"
        and is_private([node.value.id, node.attr])
    ]

    assert (private, reached) == ([], [])


def at_import(path: Path) -> Iterator[ast.AST]:
    """Yield the nodes of a file that are evaluated when it is imported."""
    inside = {
        id(inner)
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for part in (node.body if isinstance(node.body, list) else [node.body])
        for inner in ast.walk(part)
    }
    yield from (node for node in nodes(path) if id(node) not in inside)


def test_nothing_is_bound_at_import_that_is_patched_later() -> None:
    """A lock, a queue or a `sleep` of before would stop all greenlets at once."""
    bound = [
        f"{path} imports {name}"
        for path in FILES
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom) and not node.level
        for name in (f"{node.module}.{alias.name}" for alias in node.names)
        if (node.module in PATCHED and name not in UNPATCHED) or name == SLEEP
    ]
    made = [
        f"{path}:{node.lineno}: {node.func.value.id}.{node.func.attr}()"
        for path in FILES
        for node in at_import(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in PATCHED
    ]

    assert (bound, made) == ([], [])


def test_installing_the_hooks_leaves_celerys_consumer_to_celery() -> None:
    """It keeps the tracer that it finds when it is loaded, and other tools replace that later."""
    script = (
        "import sys, celery, celery_hooks\n"
        "celery_hooks.install(celery.Celery(), coroutines=True)\n"
        "print(*(name for name in sys.modules if name.startswith('celery.worker.consumer')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == []


def test_import_llm_audit_is_light() -> None:
    """`import llm_audit` pulls in no driver, no framework and no client."""
    script = f"import sys, llm_audit; print(*sorted(sys.modules.keys() & {set(HEAVY)}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_guards_around_foreign_code_catch_everything() -> None:
    """A panic of Rust and `sys.exit` are no `Exception`; `let_through` tells what has to go on."""
    narrow = [
        f"{path}:{node.lineno}"
        for path in FILES
        if room_of_file(path) in READ_OBJECTS
        for node in nodes(path)
        if isinstance(node, ast.ExceptHandler)
        and isinstance(node.type, ast.Name)
        and node.type.id == "Exception"
        and any(
            isinstance(inner, ast.Name) and inner.id == "let_through"
            for statement in node.body
            for inner in ast.walk(statement)
        )
    ]

    assert narrow == []
