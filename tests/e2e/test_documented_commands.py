"""Every command in README and docs/ is valid, and is executed here or listed with the reason why it is not."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest
from PIL import Image

from mien.cli.main import build_app
from mien.emotions import EXPRESSIONS
from support.clips import write_clip
from support.images import portrait

COMMAND = re.compile(
    r"(\w+=\S+ )?(mien|python3?|pip|curl|docker|kubectl|npm|npx|node|torchrun|mkdocs|nox|source|echo|unzip|adb)\b"
)
TRAINS = "trains for hours; tests/e2e/test_training.py and test_export.py train, export and evaluate small networks"
DATA = "needs a data set that cannot be shipped; tests/e2e/test_evaluate.py and test_training.py use generated ones"
SERVES = "serves until it is stopped; tests/e2e/test_server.py and test_page.py start it"
NOT_EXECUTED = {
    r"(python3 -m venv|pip|source)\b": "installs packages; .ci/run and nox -s release do",
    r"(\w+=\S+ )?(docker|kubectl)\b": "needs a container engine or a cluster; tests/contract/test_containers.py",
    r"(npm|npx|node)\b": "web/ and the packages have tests of their own: .ci/run, tests/e2e/test_npm_package.py",
    r"curl\b|echo .*base64": "needs a running server; tests/e2e/test_server.py sends such requests",
    r"mien serve(?! --write-page)": SERVES,
    r"mien camera\b": "needs a camera; tests/e2e/test_streams.py",
    r"mien video rtsp:": "needs a camera on the network; tests/e2e/test_streams.py",
    r"mien (train|export|data)\b|torchrun\b": TRAINS,
    r"mien \w+ .*(ferplus|rafdb|KIND)\b": DATA,
    r"mien evaluate .*(emodb|crema-d|meld)": "needs recordings; tests/e2e/test_evaluate_voice.py uses generated ones",
    r"mien batch .*--cluster": "needs Ray; tests/e2e/test_batch_ray.py runs where it is installed",
    r"mien .*(mine|fusion)\.onnx": TRAINS,
    r"mien .*--device (cuda|tensorrt|openvino)": "needs the hardware; tests/parity/test_devices.py runs where it is",
    r"python (benchmarks|recipes)/": "needs data that cannot be shipped; tests/contract/test_benchmarks.py",
    r"mien video .*--resume": "continues an interrupted run; tests/e2e/test_interrupt.py",
}
"""Commands that are not executed here, by a pattern of their beginning, and the reason or the test that does it."""
PLACEHOLDER = re.compile(r"\b(RECIPE|RUN|DATA|KIND|MODEL|FILE|TABLE|SOURCE)\b|\.\.\.")


def read_commands(path):
    """Return the commands in the code blocks of a document, without comments; a line that ends with | or \\ goes on."""
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:bash|sh|console)\b.*\n((?:.*\n)*?)```", text, re.MULTILINE)
    blocks += re.findall(r"^(?: {4}.*\n)+", re.sub(r"^```(?:.*\n)*?```", "", text, flags=re.MULTILINE), re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").replace("|\n", "| ").splitlines()
    return [line.strip().partition("   #")[0].strip() for line in lines if COMMAND.match(line.strip())]


def reason(command):
    return next((text for pattern, text in NOT_EXECUTED.items() if re.match(pattern, command)), None)


@pytest.fixture(scope="module")
def documents(root):
    paths = [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]
    return {path.relative_to(root).as_posix(): read_commands(path) for path in paths}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, root):
    """Return a folder with the files that the commands name, and a `mien` on its search path."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "examples").symlink_to(root / "examples")
    script = folder / "bin/mien"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mien "$@"\n')
    script.chmod(0o755)
    portraits = {name: Image.fromarray(portrait(name)).resize((256, 256)) for name in ("astronaut", "obama", "biden")}
    for name in ("photos", "faces/happiness", "faces/neutral", "recordings", "videos"):
        (folder / name).mkdir(parents=True)
    for name in ("photo.jpg", "a.jpg", "b.png", "photos/a.jpg", "faces/happiness/1.jpg"):
        portraits["astronaut"].save(folder / name)
    portraits["obama"].save(folder / "faces/happiness/2.jpg")
    portraits["biden"].save(folder / "faces/neutral/1.jpg")
    images = [portrait("astronaut")[:, index : index + 480] for index in range(0, 30, 2)]
    for name in ("clip.mp4", "videos/P01.mp4", "interview.mp3", "recordings/talk.mp4", "a.wav", "b.m4a"):
        # libav recognizes the content, whatever the name
        write_clip(folder / name, images=images, size_hw=(512, 480), sound="aac", format_name="mp4")
    (folder / "labels.csv").write_text("image,label\na.jpg,happiness\nb.png,happiness\n")
    frequencies = dict.fromkeys(EXPRESSIONS, 0.0) | {"neutral": 0.8, "happiness": 0.2}
    (folder / "setting.json").write_text(json.dumps(frequencies))
    return folder


def test_documents_have_commands(documents):
    assert len(documents["docs/tutorial.md"]) >= 6
    assert sum(map(len, documents.values())) > 100


def test_every_mien_command_is_valid(documents):
    app = build_app()
    for name, commands in documents.items():
        for command in commands:
            words = shlex.split(command.partition(" > ")[0].partition(" | ")[0].partition("&&")[0])
            if words[0] != "mien" or PLACEHOLDER.search(command):
                continue
            try:
                app.parse_args(words[1:], exit_on_error=False, print_error=False)
            except Exception as error:
                pytest.fail(f"{name}: {command}: {error}")


def test_every_reason_applies_to_a_command(documents):
    commands = [command for one in documents.values() for command in one]
    assert [pattern for pattern in NOT_EXECUTED if not any(re.match(pattern, line) for line in commands)] == []


@pytest.mark.slow
def test_every_other_command_succeeds(documents, workspace):
    environment = os.environ | {"PATH": f"{workspace / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    commands = {command: name for name, lines in documents.items() for command in lines if not reason(command)}
    assert len(commands) > 20
    failures = []
    for command, name in commands.items():
        shell = ["bash", "-c", command]
        done = subprocess.run(shell, cwd=workspace, env=environment, capture_output=True, text=True, timeout=120)
        if done.returncode:
            failures.append(f"{name}: {command}\n{done.stderr}")
    assert not failures, "\n".join(failures)
