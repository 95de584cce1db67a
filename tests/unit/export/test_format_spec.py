"""Formats of `mien export` and the checks of their arguments, which need no extra."""

import subprocess
import sys

import pytest

from mien.cli.main import main
from mien.errors import InputError
from mien.export.format_spec import check_arguments


@pytest.mark.parametrize(
    ("name", "precision", "file", "message"),
    [
        ("tensorrt", "float32", "a.engine", "expected one of: onnx"),
        ("executorch", "float16", "a.pte", "expected one of: float32, int8"),
        ("litert", "float32", "a.onnx", "must end in .tflite"),
    ],
)
def test_refuses_unknown_formats_precisions_and_suffixes(name, precision, file, message, tmp_path):
    with pytest.raises(InputError, match=message):
        check_arguments(name, precision, tmp_path / file)


def test_formats_are_described_without_torch_and_onnx():
    heavy = "[name for name in ('torch', 'onnx', 'numpy') if name in sys.modules]"
    code = f"import sys, mien.export.format_spec; print({heavy})"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "[]\n"


@pytest.mark.parametrize(("file", "message"), [("a.onnx", "must end in .tflite"), ("a.tflite", "mien[litert]")])
def test_wrong_suffix_is_reported_before_a_missing_extra(file, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "mien.export.formats", None)
    assert main(["export", "mobile", "--format", "litert", "-o", str(tmp_path / file)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
