from __future__ import annotations

import sys

import pytest

from mien import cpu_features
from mien.cpu_features import has_int8_products, is_int8_faster

X86 = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: A CPU of the year 2024
flags\t\t: fpu sse4_2 avx2 {}
processor\t: 1
flags\t\t: fpu
"""
ARM = """processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd {}
"""


@pytest.fixture
def linux_with(monkeypatch, tmp_path):
    """Return a function that makes /proc/cpuinfo another text."""
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(cpu_features, "CPUINFO", path)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(cpu_features, "cpu_features", cpu_features.cpu_features.__wrapped__)

    def write(text):
        path.write_text(text, encoding="ascii")
        return cpu_features.cpu_features()

    return write


@pytest.mark.parametrize(
    ("text", "names", "has_products"),
    [
        (X86.format(""), ("AVX2",), False),
        (X86.replace("avx2", "").format(""), (), False),
        (X86.format("avx512f avx512_vnni"), ("AVX2", "AVX512-VNNI"), True),
        (X86.format("avx_vnni"), ("AVX2", "AVX-VNNI"), True),
        (ARM.format(""), (), False),
        (ARM.format("asimddp"), ("dotprod",), True),
        (ARM.format("asimddp i8mm"), ("dotprod", "i8mm"), True),
        ("", (), False),
    ],
)
def test_reads_flags_of_linux(linux_with, text, names, has_products):
    assert linux_with(text) == names
    assert has_int8_products() == has_products
    assert is_int8_faster() == bool(names)


def test_missing_cpuinfo_means_no_known_features(linux_with):
    assert cpu_features.cpu_features() == ()
    assert not is_int8_faster()


def test_name_of_the_cpu(linux_with):
    linux_with(X86.format(""))
    assert cpu_features.cpu_name() == "A CPU of the year 2024"
    linux_with(ARM.format(""))
    assert cpu_features.cpu_name()


def test_unknown_platform_has_no_known_features(linux_with, monkeypatch):
    linux_with(X86.format("avx_vnni"))
    monkeypatch.setattr(sys, "platform", "sunos5")
    assert cpu_features.cpu_features() == ()


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_reading_the_features_never_fails(linux_with, monkeypatch, platform):
    """Whatever the system's libraries lack on this machine."""
    monkeypatch.setattr(sys, "platform", platform)
    assert isinstance(cpu_features.cpu_features(), tuple)
