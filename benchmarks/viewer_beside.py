"""The viewer beside Phoenix and MLflow, on the same calls in one run.

    python -m benchmarks.viewer_beside [--calls 5000] [--rounds 7]

The others are in a .venv of their own, which this makes: .venv/viewers. Each has its own server on
this machine, with SQLite, as they come; llm-audit asks a MongoDB. All hold the same made-up calls,
which the others are sent as OpenTelemetry spans. They take turns. Measured is what has to be there
before somebody sees something: of llm-audit, the page; of the others, the page, which is empty,
and then what its script asks for, with the fields that it shows: Phoenix's GraphQL, MLflow's JSON.
Scripts and styles (15 KB here, megabytes there) and the browser's own work are left out.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import pymongo

from benchmarks.figures import Table, publish
from benchmarks.history import recorded_bodies
from benchmarks.queries import Calls, LargeMongod, fill
from benchmarks.viewer import DATABASE, served

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".venv" / "viewers"
OTHERS = ("arize-phoenix==20.26.1", "mlflow==3.17.2")
LONGEST = 20_000  # characters of a request or an answer that are sent on
LIST = """query($id: ID!) { node(id: $id) { ... on Project { spans(first: 50,
 sort: {col: startTime, dir: desc}, filterCondition: "parent_id is None") { edges { node { id name
 spanKind statusCode startTime latencyMs trace { id traceId } input { value: truncatedValue }
 output { value: truncatedValue } cumulativeTokenCountTotal costSummary { total { cost } } } }
 pageInfo { endCursor hasNextPage } } } } }"""
TRACE = """query($id: ID!, $trace: ID!) { node(id: $id) { ... on Project { trace(traceId: $trace) {
 id latencyMs spans(first: 1000) { edges { node { id spanId name spanKind statusCode startTime
 endTime parentId latencyMs tokenCountTotal } } } } } } }"""
LOADER = """
import hashlib, json, sys, urllib.request
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

def attribute(name, value):
    kind = "int_value" if isinstance(value, int) else "string_value"
    return KeyValue(key=name, value=AnyValue(**{kind: value}))

def number(call_id):
    return hashlib.sha256(call_id.encode()).digest()[:8]

calls = [json.loads(line) for line in open(sys.argv[1])]
for start in range(0, len(calls), 500):
    request = ExportTraceServiceRequest()
    of = request.resource_spans.add()
    of.resource.attributes.append(attribute("openinference.project.name", "bench"))
    spans = of.scope_spans.add().spans
    for call in calls[start:start + 500]:
        span = spans.add(name=call["name"], trace_id=bytes.fromhex(call["trace"]))
        span.span_id = number(call["id"])
        if call["parent"]:
            span.parent_span_id = number(call["parent"])
        span.start_time_unix_nano, span.end_time_unix_nano = call["times"]
        span.status.code = 1 if call["good"] else 2
        span.attributes.extend(attribute(*pair) for pair in call["attributes"].items())
    for address in sys.argv[2:]:
        headers = {"content-type": "application/x-protobuf", "x-mlflow-experiment-id": "0"}
        body = request.SerializeToString()
        urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=300).read()
"""
Ask: TypeAlias = Callable[[], int]  # asks for everything that is needed, and returns its bytes


def main() -> None:
    """Fill all of them, ask in turns, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    _make_venv()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # which take minutes to start, and do it meanwhile
        phoenix = stack.enter_context(_phoenix(folder))
        mlflow = stack.enter_context(_mlflow(folder))
        mongod = stack.enter_context(LargeMongod())
        client = stack.enter_context(pymongo.MongoClient[Any](mongod.url, tz_aware=True))
        calls: Calls = client[DATABASE]["llm_calls"]
        fill(calls, given.calls, datetime.now(UTC), recorded_bodies(mongod.url))
        for address in (phoenix, mlflow):
            _wait_for(address)
        # an id of nothing but zeros is none in OpenTelemetry
        calls.update_many({"trace_id": "0" * 32}, {"$set": {"trace_id": "f" * 32}})
        _send(calls, folder, [f"{phoenix}/v1/traces", f"{mlflow}/v1/traces"])
        viewer = stack.enter_context(served(mongod.url))
        ordinary = calls.find_one({"trace_id": {"$ne": "f" * 32}}, sort=[("_id", -1)])
        assert ordinary
        project = _project(phoenix)
        asked: dict[str, list[Ask]] = {"the newest 50 traces": []}
        asked["the newest 50 traces"] = [
            lambda: len(viewer.get("/traces").body),
            lambda: _get(phoenix) + _graphql(phoenix, LIST, id=project),
            lambda: _get(mlflow) + _search(mlflow),
        ]
        for trace in (ordinary["trace_id"], "f" * 32):
            count = calls.count_documents({"trace_id": trace})
            _wait_for_spans(phoenix, project, trace, count)
            asked[f"a trace of {count:,} calls"] = _of_trace(
                viewer, phoenix, mlflow, project, trace
            )
        names = ("llm-audit", *OTHERS)
        publish("viewer_beside", [_table(names, asked, given.rounds)])


def _of_trace(viewer: Any, phoenix: str, mlflow: str, project: str, trace: str) -> list[Ask]:
    get = f"{mlflow}/ajax-api/3.0/mlflow/traces/get?trace_id=tr-{trace}"
    return [
        lambda: len(viewer.get(f"/trace?id={trace}").body),
        lambda: _get(phoenix) + _graphql(phoenix, TRACE, id=project, trace=trace),
        lambda: _get(mlflow) + _get(get),
    ]


def _table(names: Sequence[str], asked: dict[str, list[Ask]], rounds: int) -> Table:
    rows = []
    for what, candidates in asked.items():
        times: list[list[float]] = [[] for _ in candidates]
        sizes = [0] * len(candidates)
        for _ in range(rounds):
            for place, ask in enumerate(candidates):
                began = time.perf_counter()
                sizes[place] = ask()
                times[place].append((time.perf_counter() - began) * 1_000)
        cells = [
            f"{statistics.median(took):,.0f} ms, {size / 1_000:,.0f} KB"
            for took, size in zip(times, sizes, strict=True)
        ]
        rows.append((what, *cells))
    return Table("beside others", ("until it can be seen", *names), rows)


def _make_venv() -> None:
    uv = str(ROOT / ".ci" / "uv")
    if not FOLDER.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, FOLDER], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", FOLDER / "bin" / "python", *OTHERS]
    subprocess.run(install, check=True)


@contextmanager
def _phoenix(folder: Path) -> Iterator[str]:
    port, grpc = _free_port(), _free_port()
    more = {"PHOENIX_WORKING_DIR": str(folder / "phoenix"), "PHOENIX_HOST": "127.0.0.1"}
    more |= {"PHOENIX_PORT": str(port), "PHOENIX_GRPC_PORT": str(grpc)}
    more |= {"PHOENIX_TELEMETRY_ENABLED": "false"}
    with _server(["phoenix", "serve"], more, port) as address:
        yield address


@contextmanager
def _mlflow(folder: Path) -> Iterator[str]:
    port = _free_port()
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    more = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    more |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # of which nothing is measured
    with _server(command, more, port) as address:
        yield address


@contextmanager
def _server(command: list[str], more: dict[str, str], port: int) -> Iterator[str]:
    path = f"{FOLDER / 'bin'}:{os.environ['PATH']}"
    program = str(FOLDER / "bin" / command[0])
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        [program, *command[1:]],
        env=os.environ | more | {"PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield address
        finally:
            process.terminate()


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + 900
    while True:
        try:
            _get(address)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _send(calls: Calls, folder: Path, addresses: list[str]) -> None:
    """Send every call on as a span, those of a trace together."""
    lines = folder / "calls.jsonl"
    with lines.open("w") as file:
        for call in calls.find().sort([("trace_id", 1), ("_id", 1)]):
            file.write(f"{json.dumps(_span(call))}\n")
    loader = [str(FOLDER / "bin" / "python"), "-c", LOADER, str(lines), *addresses]
    subprocess.run(loader, check=True)


def _span(call: dict[str, Any]) -> dict[str, Any]:
    ends = (call["created_at"], call.get("completed_at") or call["created_at"])
    attributes = {
        "openinference.span.kind": "LLM",
        "llm.model_name": call["model"],
        "input.value": json.dumps(call.get("messages") or call.get("input"), default=str)[:LONGEST],
        "output.value": json.dumps(call.get("response_message"), default=str)[:LONGEST],
        "session.id": call["session_id"],
        "user.id": call["user_id"],
        "llm.token_count.prompt": call.get("prompt_tokens", 0),
        "llm.token_count.completion": call.get("completion_tokens", 0),
        "llm.token_count.total": call.get("total_tokens", 0),
    }
    return {
        "id": call["_id"],
        "parent": call.get("parent_call_id"),
        "trace": call["trace_id"],
        "name": call["call_type"],
        "times": [int(at.timestamp() * 1e9) for at in ends],
        "good": call["status"] == "SUCCESS",
        "attributes": attributes,
    }


def _get(address: str, said: dict[str, Any] | None = None) -> int:
    return len(_answer(address, said))


def _answer(address: str, said: dict[str, Any] | None = None) -> bytes:
    body = None if said is None else json.dumps(said).encode()
    request = urllib.request.Request(address, body, {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310
        return bytes(answer.read())


def _graphql(phoenix: str, query: str, **variables: str) -> int:
    answer = _answer(f"{phoenix}/graphql", {"query": query, "variables": variables})
    if "errors" in json.loads(answer):
        raise RuntimeError(answer[:500])
    return len(answer)


def _project(phoenix: str) -> str:
    """Return the id of the project, once every span is in it."""
    query = {"query": "{ projects { edges { node { id name } } } }"}
    deadline = time.monotonic() + 120
    while True:
        edges = json.loads(_answer(f"{phoenix}/graphql", query))["data"]["projects"]["edges"]
        found = [edge["node"]["id"] for edge in edges if edge["node"]["name"] == "bench"]
        if found or time.monotonic() > deadline:
            return str(found[0])
        time.sleep(0.5)


def _wait_for_spans(phoenix: str, project: str, trace: str, count: int) -> None:
    """Return once all spans of a trace are stored, which is after they were taken."""
    asked = {"query": TRACE, "variables": {"id": project, "trace": trace}}
    deadline = time.monotonic() + 240
    while True:
        answer = _answer(f"{phoenix}/graphql", asked)
        found = json.loads(answer)["data"]["node"]["trace"]
        if found and len(found["spans"]["edges"]) == count:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"Phoenix has not all of {count} spans: {answer[:500]!r}")
        time.sleep(0.5)


def _search(mlflow: str) -> int:
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    said = {"locations": [place], "max_results": 50}
    return _get(f"{mlflow}/ajax-api/3.0/mlflow/traces/search", said)


if __name__ == "__main__":
    main()
