"""The commands of development: `nox -s tests`, `lint`, `docs` ...; CONTRIBUTING.md lists them."""

import re
import shutil
import subprocess
import time
from pathlib import Path
from urllib.request import urlopen

import nox

nox.options.sessions = ["lint", "tests"]
DEVELOPMENT = ("-e", ".[train,dev]")


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Run the tests; arguments go to pytest."""
    session.install(*DEVELOPMENT)
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, lint, types and import layers."""
    session.install(*DEVELOPMENT)
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("pyright", "--venvpath", session.virtualenv.location)
    session.run("lint-imports")


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure the line and branch coverage of the tests."""
    session.install(*DEVELOPMENT)
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "report")


@nox.session
def openvino(session: nox.Session) -> None:
    """Compare OpenVINO with the CPU provider, in an environment with its build of ONNX Runtime only."""
    session.install(".", "pytest", "hypothesis", "beartype", "jaxtyping", "onnx")
    session.run("pip", "uninstall", "--yes", "onnxruntime")
    session.install("--force-reinstall", "--no-deps", "onnxruntime-openvino")
    session.run("mien", "doctor", "--device", "openvino")
    session.run("pytest", "tests/parity/test_devices.py", "-q", *session.posargs)


@nox.session
def formats(session: nox.Session) -> None:
    """Convert a model to the formats of other runtimes and compare the outputs, with all converters installed."""
    session.install("-e", ".[train,dev,litert,executorch,coreml]")
    session.run("pytest", "tests/parity/test_formats.py", "-q", "-rs", *session.posargs)


@nox.session
def ray(session: nox.Session) -> None:
    """Run `mien batch` on a Ray cluster of this machine, with lost workers and a killed driver."""
    session.install("-e", ".[train,dev,ray]")
    session.run("pytest", "tests/e2e/test_batch_ray.py", "-q", *session.posargs)
    session.run("python", "benchmarks/batch_faults.py", "--images", "600", "--shard-size", "30")


@nox.session(python=False)
def page(session: nox.Session) -> None:
    """Check, test and build the browser page."""
    session.run("npm", "--prefix", "web", "ci")
    for command in ("check", "test", "build"):
        session.run("npm", "--prefix", "web", "run", command)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site into build/site; `nox -s docs -- serve` shows it and follows changes."""
    session.install("-e", ".[docs,serve]")
    session.run("mkdocs", *(session.posargs or ["build"]), env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def release(session: nox.Session) -> None:
    """Build the distributions twice, compare and check them, and run the tutorial with only the wheel."""
    session.install("build", "twine")
    builds = [Path(session.create_tmp()) / name for name in ("first", "second")]
    for folder in builds:
        shutil.rmtree(folder, ignore_errors=True)
        session.run("python", "-m", "build", "--outdir", str(folder), env={"SOURCE_DATE_EPOCH": "1577836800"})
    first, second = ([(path.name, path.read_bytes()) for path in sorted(folder.iterdir())] for folder in builds)
    if first != second:
        session.error("two builds of one source differ")
    files = [str(path) for path in sorted(builds[0].iterdir())]
    session.run("twine", "check", "--strict", *files)
    (wheel,) = (path for path in files if path.endswith(".whl"))
    tutorial = Path("docs/tutorial.md").read_text(encoding="utf-8")
    (extras,) = re.findall(r"pip install '\.(\[.*\])'", tutorial)
    session.install(f"{Path(wheel).resolve()}{extras}")
    folder = Path(session.create_tmp()).resolve() / "tutorial"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree("examples", folder / "examples")
    with session.chdir(folder):
        session.run("mien", "doctor")
        for program, command in re.findall(
            r"^```python\n(.+?)^```|^    (mien [^\n]+)", tutorial, re.MULTILINE | re.DOTALL
        ):
            if command == "mien serve":
                check_server(session)
            else:
                session.run(*(command.split() or ["python", "-c", program]))


def check_server(session: nox.Session) -> None:
    """Start the server, wait until it answers, and end it."""
    server = subprocess.Popen([f"{session.bin}/mien", "serve"])
    try:
        for _ in range(60):
            time.sleep(0.5)
            if server.poll() is not None:
                break
            try:
                session.log(urlopen("http://127.0.0.1:8000/readyz", timeout=5).read().decode())
            except OSError:
                continue
            return
        session.error("the server does not answer")
    finally:
        server.terminate()
        server.wait()


@nox.session
def lock(session: nox.Session) -> None:
    """Resolve the newest allowed versions of all dependencies into requirements.lock."""
    session.install("uv")
    session.run(
        "uv", "pip", "compile", "pyproject.toml", "--universal", "--python-version", "3.11",
        "--extra", "train", "--extra", "dev", "--no-emit-index-url", "--no-annotate",
        "--custom-compile-command", "nox -s lock", "--output-file", "requirements.lock", *session.posargs,
    )  # fmt: skip
