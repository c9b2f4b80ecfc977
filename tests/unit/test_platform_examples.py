"""The examples for Kubernetes and systemd are what they seem, and name settings that exist."""

import configparser
import re
from pathlib import Path
from typing import Any

import yaml

from llm_audit.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs/how-to/platforms.md").read_text()
DEFAULTS = Settings()


def block(language: str) -> str:
    """Return the one block in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_kubernetes_has_a_volume_with_room_and_time_to_deliver() -> None:
    """The spool lies in a volume that is larger than the spool may grow."""
    pod: dict[str, Any] = yaml.safe_load(block("yaml"))["spec"]["template"]["spec"]
    (container,), (volume,) = pod["containers"], pod["volumes"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    (mount,) = container["volumeMounts"]
    assert mount == {"name": volume["name"], "mountPath": variables["LLM_AUDIT_SPOOL_DIR"]}
    room = int(volume["emptyDir"]["sizeLimit"].removesuffix("Mi")) * 2**20
    assert int(variables["LLM_AUDIT_SPOOL_MAX_BYTES"]) < room
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > pause + 2 * DEFAULTS.exit_timeout_seconds


def test_systemd_has_a_folder_and_time_to_deliver() -> None:
    """The unit can be read, and its spool lies in the folder that systemd makes."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read_string(block("ini"))
    service = unit["Service"]
    assert f"=%S/{service['StateDirectory']}/" in block("ini")
    assert int(service["TimeoutStopSec"]) > 2 * DEFAULTS.exit_timeout_seconds


def test_every_variable_named_is_a_setting() -> None:
    """Nothing is set that nobody reads; the one exception is Kubernetes's own."""
    named = set(re.findall(r"LLM_AUDIT_[A-Z_]+", PAGE)) - {"LLM_AUDIT_PORT"}
    assert named <= {f"LLM_AUDIT_{name.upper()}" for name in Settings.model_fields}
