"""`mien doctor` as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from mien import diagnosis
from mien.cli.main import main
from mien.devices import available_devices


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "mien", "doctor", *arguments]
    return subprocess.run(
        command, capture_output=True, check=False, timeout=120, env={**os.environ, "COLUMNS": "80", **environment}
    )


def test_prints_versions_networks_and_timings():
    process = doctor("--device", "cpu")
    text = process.stdout.decode()
    assert process.returncode == 0, text
    for word in ("versions", "CPU", "usable cores", "devices", "expression", "float32", "whole image", "passed"):
        assert word in text


def test_output_fits_any_encoding():
    process = doctor("--device", "cpu", PYTHONIOENCODING="ascii")
    assert process.returncode == 0, process.stderr
    assert b"passed" in process.stdout


def test_json_is_one_object(capsys):
    assert main(["doctor", "--json", "--device", "cpu", "--threads", "1", "--precision", "float32"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["is_healthy"] is True
    assert record["networks"]["expression"] == {"file": "expression.onnx", "device": "cpu", "precision": "float32"}


def test_failed_self_test_is_exit_code_1(capsys, monkeypatch):
    monkeypatch.setattr(diagnosis, "EXPECTED_LABEL", "sadness")
    assert main(["doctor", "--device", "cpu"]) == 1
    output = capsys.readouterr().out
    assert "failed" in output
    assert "expected sadness" in output


def test_fits_80_columns(capsys, monkeypatch):
    import mien.cli.console

    monkeypatch.setattr(mien.cli.console, "PIPE_WIDTH", 80)
    assert main(["doctor", "--device", "cpu"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize("command", ["doctor", "predict"])
def test_absent_device_is_one_line_and_exit_code_2(capsys, command, examples):
    absent = next(kind for kind in ("openvino", "cuda") if kind not in available_devices())
    images = [str(examples / "astronaut.jpg")] if command == "predict" else []
    assert main([command, *images, "--device", absent]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert f'device "{absent}"' in output.err
    assert "pip" in output.err
