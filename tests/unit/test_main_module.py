"""Entry point of the command line: Ctrl-C while its modules are imported."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

# sends the signal when the command line imports its first large package
INTERRUPTED_RUN = """
import signal, sys
{before}
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "cyclopts":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["mien", "--version"]
from mien.__main__ import run
sys.exit(run())
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals reach a process differently on Windows")


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_interrupt_during_the_imports_ends_without_a_traceback():
    process = run_python(INTERRUPTED_RUN.format(before=""))
    assert (process.returncode, process.stdout, process.stderr) == (130, "", "")


def test_ignored_interrupt_stays_ignored():
    process = run_python(INTERRUPTED_RUN.format(before="signal.signal(signal.SIGINT, signal.SIG_IGN)"))
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout


def test_library_installs_no_signal_handlers():
    code = "import signal, mien, mien.cli.main; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    assert run_python(code).stdout == "True\n"


def test_installed_command_uses_the_entry_point():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"] == {"mien": "mien.__main__:run"}
