"""What docker-compose.yml and the Dockerfile name is there, they agree, and they are shut."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pymongo.uri_parser import parse_uri

from llm_audit.cli.app import app
from llm_audit.settings import Settings

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
BY_DIGEST = re.compile(r"[a-z]+:[\w.-]+@sha256:[0-9a-f]{64}")
BUILT = ("worker", "agent", "viewer")  # from the Dockerfile
PASSWORD = re.compile(r"\$\{(\w+):\?is missing, see \.env\.example\}")


@pytest.fixture
def passwords() -> dict[str, str]:
    """Give the variables of .env.example, filled in."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    names = [line.removesuffix("=") for line in lines if not line.startswith("#")]
    return {name: f"{number}Of{name.replace('_', '')}" for number, name in enumerate(names)}


@pytest.fixture
def services(passwords: dict[str, str]) -> dict[str, Any]:
    """Give the services as Compose reads them, each with the volumes that it declares."""
    text = PASSWORD.sub(
        lambda found: passwords[found[1]], (ROOT / "docker-compose.yml").read_text()
    )
    compose = yaml.safe_load(text)
    assert "$" not in json.dumps(compose).replace("$$", "")  # nothing else is filled in
    for service in compose["services"].values():
        service["volumes"] = dict(volume.split(":") for volume in service.get("volumes", ()))
        assert service["volumes"].keys() <= compose["volumes"].keys()
    return dict(compose["services"])


@pytest.fixture
def image() -> list[tuple[str, str]]:
    """Give the Dockerfile's instructions as (name, arguments), continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def test_each_service_is_checked_keeps_its_data_and_is_out_of_reach(
    services: dict[str, Any],
) -> None:
    """A service says whether it works, has a volume, and publishes ports on loopback only."""
    for name, service in services.items():
        assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}, name
        assert service["volumes"] or name == "viewer", name  # which keeps nothing
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    assert services["viewer"]["depends_on"] == {"mongo": {"condition": "service_healthy"}}
    assert services["agent"]["depends_on"] == {"mongo": {"condition": "service_healthy"}}
    waits_for = services["worker"]["depends_on"]
    assert {name: wait["condition"] for name, wait in waits_for.items()} == {
        "agent": "service_started",
        "redis": "service_healthy",
    }


def test_no_service_may_do_more_than_it_needs(
    services: dict[str, Any], image: list[tuple[str, str]]
) -> None:
    """Each runs as a user without rights, may gain none, and writes to its volume and memory."""
    users = dict.fromkeys(BUILT, [rest for name, rest in image if name == "USER"][-1])
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "/tmp" in service["tmpfs"], name
        assert service.get("user", users.get(name)) not in {None, "root", "0"}, name
        more = {"cap_add", "privileged", "network_mode", "pid", "ipc", "devices", "userns_mode"}
        assert service.keys().isdisjoint(more), name
        assert not any(volume.startswith(("/", ".")) for volume in service["volumes"]), name


def test_images_are_named_by_what_is_in_them(
    services: dict[str, Any], image: list[tuple[str, str]]
) -> None:
    """A tag means something else tomorrow; a digest does not. Packages have hashes, too."""
    bases = [rest.split()[0] for name, rest in image if name == "FROM"]
    stages = {rest.split()[-1] for name, rest in image if name == "FROM" and " AS " in rest}
    images = [service["image"] for name, service in services.items() if name not in BUILT]
    for name in [*images, *(base for base in bases if base not in stages)]:
        assert BY_DIGEST.fullmatch(name), name

    (version,) = {base.split(":")[1].split("-")[0] for base in bases if base not in stages}
    assert f"--python-version {version} --generate-hashes" in MAKEFILE
    installs = [rest for name, rest in image if name == "RUN" and "pip install" in rest]
    for install in installs:
        assert "--require-hashes" in install or "--no-deps --no-index" in install, install
    constraints = (ROOT / "constraints.txt").read_text()
    for file in ("build", "worker"):
        locked = (ROOT / f"docker/{file}.txt").read_text()
        for pinned in re.findall(r"^\S+==\S+", locked, re.MULTILINE):
            assert f"\n{pinned}\n" in constraints or f"\n{pinned} ;" in constraints, pinned


def test_passwords_are_asked_for_and_in_no_command_line(
    services: dict[str, Any], passwords: dict[str, str]
) -> None:
    """Who has not set one is told so; each reaches server, worker and check, unseen by `ps`."""
    worker, mongo, redis = (services[name] for name in ("worker", "mongo", "redis"))
    uri = parse_uri(services["agent"]["environment"]["LLM_AUDIT_MONGO_URL"])
    assert (uri["username"], uri["password"]) == ("recorder", passwords["MONGO_PASSWORD"])
    assert uri["options"]["authSource"] == "llm_audit" == Settings().database
    assert mongo["environment"]["RECORDER_PASSWORD"] == passwords["MONGO_PASSWORD"]
    assert mongo["environment"]["MONGO_INITDB_ROOT_PASSWORD"] == passwords["MONGO_ROOT_PASSWORD"]
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"):
        assert f"redis://:{passwords['REDIS_PASSWORD']}@redis:6379/" in worker["environment"][name]
    assert redis["environment"]["REDISCLI_AUTH"] == passwords["REDIS_PASSWORD"]

    viewer = parse_uri(services["viewer"]["environment"]["LLM_AUDIT_MONGO_URL"])
    assert (viewer["username"], viewer["password"]) == (
        "viewer",
        passwords["MONGO_VIEWER_PASSWORD"],
    )
    assert mongo["environment"]["VIEWER_PASSWORD"] == passwords["MONGO_VIEWER_PASSWORD"]

    for name, service in services.items():
        said = json.dumps([service["command"], service["healthcheck"]["test"]])
        assert not any(password in said for password in passwords.values()), name
    assert "--keyFile" in mongo["command"][-1]  # without it nobody is asked for a password
    assert "requirepass $$REDISCLI_AUTH" in redis["command"][-1]
    assert redis["healthcheck"]["test"] == ["CMD", "redis-cli", "-e", "ping"]  # -e: else it exits 0
    assert "/.env" in (ROOT / ".gitignore").read_text().split()


def options_of(service: dict[str, Any], command: str) -> dict[str, Any]:
    """Return what a service tells a command of llm-audit, as that understands it."""
    program, its, *options = service["command"].split()
    assert (program, its) == ("llm-audit", command)
    return dict(typer.main.get_command(app).commands[command].make_context(its, options).params)


def test_the_agent_ships_what_the_worker_leaves_in_the_volume_of_both(
    services: dict[str, Any], passwords: dict[str, str]
) -> None:
    """The worker connects to no MongoDB; the agent looks for what it records, and is looked at."""
    worker, agent = services["worker"]["environment"], services["agent"]["environment"]
    assert worker["LLM_AUDIT_SHIPPER"] == "agent"
    assert passwords["MONGO_PASSWORD"] not in json.dumps(services["worker"])
    names = {name.removeprefix("LLM_AUDIT_").lower(): name for name in worker | agent}
    records, ships = (
        Settings(**{name: its[variable] for name, variable in names.items() if variable in its
                    and name in Settings.model_fields})
        for its in (worker, agent)
    )  # fmt: skip
    assert records.target() == ships.target("agent")
    assert records.spool_dir == ships.spool_dir
    assert services["worker"]["volumes"] == services["agent"]["volumes"]

    told = options_of(services["agent"], "agent")
    assert not told["once"]
    assert services["agent"]["ports"] == [
        f"127.0.0.1:{told['metrics_port']}:{told['metrics_port']}"
    ]
    how, *words = services["agent"]["healthcheck"]["test"]
    assert how == "CMD"
    assert options_of({"command": " ".join(words)}, "agent")["health"]


def test_the_viewer_may_only_read_and_asks_for_a_token(services: dict[str, Any]) -> None:
    """Its user has one role, `read`; its options are some that it has; its token is a secret."""
    viewer, compose = services["viewer"], yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    check = services["mongo"]["healthcheck"]["test"][-1]
    (roles,) = re.findall(r'user: "viewer", pwd: VIEWER_PASSWORD, roles: (\[.*?\])', check)
    assert json.loads(roles) == ["read"]

    told = options_of(viewer, "ui")
    (secret,) = viewer["secrets"]
    assert str(told["token_file"]) == f"/run/secrets/{secret}"
    file = compose["secrets"][secret]["file"]
    assert f"/{file}" in (ROOT / ".gitignore").read_text().split()
    assert f"> {file}\n" in (ROOT / "docker-compose.yml").read_text()  # how it is made
    assert viewer["ports"] == [f"127.0.0.1:{told['port']}:{told['port']}"]
    *_, script = viewer["healthcheck"]["test"]
    assert f"http://127.0.0.1:{told['port']}/health" in script
    compile(script, "healthcheck", "exec")


def test_the_scripts_of_the_servers_are_scripts(services: dict[str, Any]) -> None:
    """A shell can read them."""
    for name in ("mongo", "redis"):
        shell, option, script = services[name]["command"]
        assert option == "-euc"
        subprocess.run([shell, "-n", "-euc", script.replace("$$", "$")], check=True)


def test_mongo_is_a_replica_set_of_one(services: dict[str, Any]) -> None:
    """MongoDB runs as the replica set that its health check makes and the agent names."""
    command, check = services["mongo"]["command"], services["mongo"]["healthcheck"]["test"][-1]
    (replica_set,) = re.findall(r"--replSet (\w+)", command[-1])
    url = services["agent"]["environment"]["LLM_AUDIT_MONGO_URL"]

    assert f'rs.initiate({{_id: "{replica_set}"' in check
    assert check.count("host:") == 1
    assert url.endswith(f"replicaSet={replica_set}")


def test_the_worker_runs_an_app_that_exists(services: dict[str, Any]) -> None:
    """The worker and its health check name the same app, a module of the package."""
    worker = services["worker"]
    apps = re.findall(r"-A (\S+):app", f"{worker['command']} {worker['healthcheck']['test'][-1]}")

    assert len(apps) == 2
    for module in apps:
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_the_spool_is_a_volume_in_both_files(
    services: dict[str, Any], image: list[tuple[str, str]]
) -> None:
    """The journal is written to the volume, so it outlives the container; settings are real."""
    known = {f"LLM_AUDIT_{name.upper()}" for name in Settings.model_fields}
    for name in ("worker", "agent"):
        service = services[name]
        spool = service["environment"]["LLM_AUDIT_SPOOL_DIR"]
        assert list(service["volumes"].values()) == [spool]
        assert ("VOLUME", spool) in image
        assert ("ENV", f"LLM_AUDIT_SPOOL_DIR={spool}") in image
        assert {each for each in service["environment"] if each.startswith("LLM_AUDIT_")} <= known


def test_the_image_is_made_of_what_is_there(image: list[tuple[str, str]]) -> None:
    """What is copied exists and is not ignored, the extras exist, and the user is not root."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ignored = (ROOT / ".dockerignore").read_text().split()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {rest.split()[0].split("/")[0] for name, rest in image if name == "COPY"} - {"."}
    (compiled,) = [line for line in MAKEFILE.splitlines() if "docker/worker.txt" in line]

    assert copied <= allowed
    assert [name for name in allowed if not (ROOT / name).exists()] == []
    extras = re.findall(r"--extra (\w+)", compiled)
    assert extras == ["celery", "cli", "metrics", "openai", "web"]
    assert set(extras) <= project["optional-dependencies"].keys()
    assert [rest for name, rest in image if name == "USER"][-1] not in {"root", "0"}
