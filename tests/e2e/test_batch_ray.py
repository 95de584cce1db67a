"""`mien batch` on Ray; needs the extra `ray`."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import pytest

pytest.importorskip("ray")

from mien.batch.analysis import ShardAnalyzer
from mien.batch.cluster import RayPool, _count_workers
from mien.batch.pool import map_shards
from mien.errors import InputError
from mien.inference.analyzer import Analyzer
from support.batches import FakeAnalyzer, make_shard

pytestmark = pytest.mark.slow

ENVIRONMENT = {**os.environ, "RAY_agent_register_timeout_ms": "120000"}
"""Ray waits longer for its own processes than by default, for machines that are busy with other tests."""


def test_files_are_those_of_local_workers(tiny_model, examples, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(4):
        (photos / f"{number}.jpg").write_bytes((examples / "astronaut.jpg").read_bytes())
    (photos / "2.jpg").write_bytes(b"broken")
    outputs = []
    for cluster in ("local", "ray"):
        out = tmp_path / cluster
        options = ["--shard-size", "1", "--workers", "1", "--model", str(tiny_model), "--cluster", cluster]
        command = [sys.executable, "-m", "mien", "batch", str(photos), "-o", str(out), *options]
        process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=ENVIRONMENT)
        assert process.returncode == 1, process.stderr
        outputs.append({path.name: path.read_bytes() for path in out.rglob("*.parquet")})
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 5


def test_cluster_that_cannot_be_reached(monkeypatch):
    """Ray itself tries for minutes before it raises."""
    import ray

    def fail(**options):
        raise ConnectionError("Failed to connect\nto the cluster.")

    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(InputError, match=r"^the Ray cluster at head:1 cannot be reached: Failed to connect to the"):
        RayPool(FakeAnalyzer(), address="head:1")


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_lost_actors_are_replaced_and_errors_end_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_agent_register_timeout_ms", ENVIRONMENT["RAY_agent_register_timeout_ms"])
    shards = [make_shard(0, "die once", str(tmp_path / "died")), make_shard(1, "die"), make_shard(2)]
    with RayPool(FakeAnalyzer(), workers=1) as pool:
        outputs = {shard.name: output and output.table.split()[0] for shard, output in map_shards(pool, shards)}
        with pytest.raises(ValueError, match="a network failed"):
            list(map_shards(pool, [make_shard(3, "fail")]))
    assert outputs == {"images/000000": b"images/000000", "images/000001": None, "images/000002": b"images/000002"}


@pytest.mark.parametrize(
    ("resources", "cpus", "gpus", "workers"),
    [({"CPU": 8.0}, 1, 0, 8), ({"CPU": 8.0}, 3, 0, 2), ({"CPU": 64.0, "GPU": 4.0}, 8, 0.5, 8)],
)
def test_workers_fill_the_cluster(resources, cpus, gpus, workers):
    assert _count_workers(resources, cpus, gpus) == workers


def test_cluster_without_room():
    with pytest.raises(InputError, match=r"has 4 CPU cores and 0 GPUs, too few for a worker"):
        _count_workers({"CPU": 4.0}, 1, 1.0)


def test_work_is_pickled_with_its_options(tiny_model):
    cloudpickle = pytest.importorskip("ray.cloudpickle")
    work = cloudpickle.loads(cloudpickle.dumps(ShardAnalyzer(partial(Analyzer, tiny_model, max_faces=2), 3)))
    assert work._open_analyzer.keywords == {"max_faces": 2}
