"""Tests in forked processes: what becomes of each is told, and so is the end of a process."""

from pathlib import Path

import forked
import pytest

pytest_plugins = "pytester"

TESTS = """
    import os, signal, time
    import pytest

    @pytest.mark.parametrize("number", range(20))
    def test_many(number):
        print("said by", number)
        assert number != 13

    def test_skipped():
        pytest.skip("for a reason")

    def test_last():
        {last}
"""


def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, last: str) -> pytest.RunResult:
    monkeypatch.setenv("PYTHONPATH", str(Path(forked.__file__).parent))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take most of the time
    pytester.makepyfile(TESTS.replace("{last}", last))
    return pytester.runpytest_subprocess("-pforked", "--forks=2")


def test_all_is_told(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test counts once, and one that fails shows what it printed."""
    result = run(pytester, monkeypatch, "pass")
    result.assert_outcomes(passed=20, failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*test_many?13?*", "said by 13"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_process_that_ends_fails_the_run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Its test is named, whatever its exit status."""
    result = run(pytester, monkeypatch, end)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*a process ended with * in *::test_last*"])


def test_an_interrupt_ends_all(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C that only the first process gets reaches the others."""
    result = run(pytester, monkeypatch, "os.kill(os.getppid(), signal.SIGINT); time.sleep(60)")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert result.duration < 60
