"""The benchmark of the stages of one image."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import latency


@pytest.mark.parametrize("pose", [True, False])
def test_measures_every_stage_and_its_networks(pose):
    stages = latency.stages_ms("mobile", 1, 1, pose=pose)
    assert ("mesh + pose" in stages) == pose
    assert all(0 <= network_ms <= all_ms for all_ms, network_ms in stages.values())
    assert stages["detect"][1] > 0
    assert stages["quality"][1] == 0
