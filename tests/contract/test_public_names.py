from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import mien
from mien.cli.main import COMMANDS, build_app, main

NAMES = {
    "EXPRESSIONS",
    "Analyzer",
    "AudioReadError",
    "ConfigError",
    "DatasetError",
    "DeviceError",
    "Expression",
    "Face",
    "HeadPose",
    "ImageReadError",
    "InputError",
    "MienError",
    "MienWarning",
    "MissingExtraError",
    "ModelError",
    "Quality",
    "Result",
    "UnknownModelError",
    "VideoFrame",
    "VideoReadError",
    "VoiceAnalyzer",
    "VoiceResult",
    "VoiceSegment",
    "__version__",
    "adapt",
    "analyze_video",
    "compare",
    "draw_faces",
    "evaluate",
    "explain",
    "predict_frame",
    "read_dataset",
    "read_image",
    "to_pandas",
}


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)


def test_public_names():
    assert set(mien.__all__) == NAMES
    assert set(dir(mien)) == NAMES
    for name in NAMES:
        assert getattr(mien, name) is not None
    with pytest.raises(AttributeError, match="'mien' has no attribute 'nothing'"):
        _ = mien.nothing


def test_version_matches_installed_package():
    assert mien.__version__ == version("mien")


def test_import_is_light():
    heavy = ("numpy", "onnxruntime", "torch", "PIL", "cyclopts", "rich")
    code = f"import sys, mien; print([name for name in {heavy} if name in sys.modules])"
    assert run_python(code).stdout.strip() == "[]"


def test_the_runtime_never_loads_torch(tiny_model, examples):
    code = (
        "import sys, mien\n"
        f"faces = mien.Analyzer({str(tiny_model)!r}).analyze({str(examples / 'astronaut.jpg')!r})\n"
        "print(len(faces), [m for m in ('torch', 'cv2', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    assert run_python(code).stdout.strip() == "1 []"


def test_help_and_version(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in build_app() if not name.startswith("-"))
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == mien.__version__


@pytest.mark.parametrize(
    "words", [*([name] for name in COMMANDS), ["data", "prepare"], ["data", "check"], ["data", "preview"]]
)
def test_every_command_has_help_without_heavy_imports(words):
    code = (
        "import sys; from mien.cli.main import main\n"
        f"code = main([*{words}, '--help'])\n"
        "heavy = [m for m in ('torch', 'onnxruntime', 'numpy', 'PIL') if m in sys.modules]\n"
        "sys.exit(code or bool(heavy))"
    )
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    assert " ".join(words) in result.stdout


def test_predict_says_perceived(capsys):
    assert main(["predict", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "not what the person feels" in shown
