"""Wheel and source distribution contain what users need, and nothing else."""

import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser

import pytest

import mien

MAX_WHEEL_MB = 40


@pytest.fixture(scope="module")
def distributions(root, tmp_path_factory):
    if not (root / ".ci").is_dir():
        pytest.skip("not a checkout")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=root, check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def wheel(distributions):
    (path,) = distributions.glob("*.whl")
    assert path.stat().st_size < MAX_WHEEL_MB * 1e6
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def source_names(distributions):
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_wheel_contains_every_file_of_the_package(root, wheel):
    package = root / "src/mien"
    files = {path.relative_to(root / "src").as_posix() for path in package.rglob("*") if path.is_file()}
    expected = {name for name in files if "__pycache__" not in name}
    assert "mien/py.typed" in expected
    assert {name for name in wheel.namelist() if name.startswith("mien/")} == expected


def test_wheel_contains_nothing_but_the_package_and_its_metadata(wheel):
    folders = {name.partition("/")[0] for name in wheel.namelist()}
    assert folders == {"mien", f"mien-{mien.__version__}.dist-info"}


def test_wheel_metadata_has_version_licenses_and_readme(root, wheel):
    folder = f"mien-{mien.__version__}.dist-info"
    metadata = HeaderParser().parsestr(wheel.read(f"{folder}/METADATA").decode())
    assert metadata["Version"] == mien.__version__
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (root / "README.md").read_text(encoding="utf-8")
    licenses = {name.removeprefix(f"{folder}/licenses/") for name in wheel.namelist() if "/licenses/" in name}
    assert licenses == set(metadata.get_all("License-File"))
    assert {"LICENSE", "NOTICE", "LICENSES/Apache-2.0.txt"} <= licenses


def test_source_distribution_can_build_and_test_the_package(source_names):
    for name in (
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "src/mien/py.typed",
        "tests/conftest.py",
        "web/package.json",
    ):
        assert name in source_names
    assert not [name for name in source_names if "node_modules" in name or name.startswith("runs/")]
