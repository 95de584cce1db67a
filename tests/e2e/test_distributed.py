"""Training with several processes: equal to one process, and resumable after kills."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import pytest

from mien.export.onnx import export_model
from mien.training.checkpoint import load_checkpoint
from mien.training.config import read_recipe
from mien.training.loop import train
from support.training import write_recipe, write_stripes

pytestmark = pytest.mark.slow

STEPS = 12
MAIN = ["-m", "mien.cli.main", "train"]
ALL_OPTIONS = [
    "training.batch=7",
    "training.accumulate=2",
    "training.sam=0.05",
    "training.consistency=1",
    "training.lr=1e-4",
    "augment.mixup=0.4",
    "target.teacher=1",
]


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    return write_stripes(tmp_path_factory.mktemp("stripes") / "data", train=8, valid=5)


@pytest.fixture(scope="module")
def teacher(stripes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    checkpoint = train(read_recipe(write_recipe(folder, stripes, epochs=0.1)), folder / "run")
    export_model(checkpoint, folder / "teacher.onnx")
    return folder / "teacher.onnx"


def losses(run):
    """Return the losses of steps and evaluations from the log."""
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    records = [record for record in records if record["event"] != "start"]
    return [(record["event"], record["step"], record["loss"]) for record in records]


def distance(first, second):
    """Return the relative L2 distance between two sets of tensors."""
    squared = sum(float((one - second[name]).double().square().sum()) for name, one in first.items())
    return (squared / sum(float(one.double().square().sum()) for one in first.values())) ** 0.5


def distances(one, two):
    """Return the distances of the weights, the averaged weights, and Adam's mean gradients."""
    first, second = load_checkpoint(one), load_checkpoint(two)
    assert first.step == second.step
    gradients = [
        {number: state["exp_avg"] for number, state in checkpoint.optimizer["state"].items()}
        for checkpoint in (first, second)
    ]
    return distance(first.model, second.model), distance(first.ema, second.ema), distance(*gradients)


@pytest.mark.parametrize(("frozen", "changes"), [(1, []), (0, ALL_OPTIONS)], ids=["defaults", "all options"])
def test_two_processes_equal_one(stripes, teacher, tmp_path, frozen, changes):
    recipe = write_recipe(tmp_path, stripes, epochs=STEPS / 3, frozen=frozen)
    changes = [*changes, "training.evaluate_steps=1", f"target.teachers=['{teacher}']"]
    single = train(read_recipe(recipe, changes), tmp_path / "single")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*torchrun, *MAIN, str(recipe), *changes, "--output", str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("last.ckpt") == 1
    expected = losses(tmp_path / "single")
    records = losses(tmp_path / "two")
    assert [record[:2] for record in records] == [record[:2] for record in expected]
    for (_, step, one), (_, _, two) in zip(expected, records, strict=True):
        assert two == pytest.approx(one, rel=1e-4), f"step {step}"
    weights, averaged, gradients = distances(single, tmp_path / "two/last.ckpt")
    assert max(weights, averaged) < 1e-3
    assert gradients < 0.1  # rounding changes the sign of some ReLU inputs
    assert (tmp_path / "two/metrics.json").is_file()


def start_two(recipe, output):
    """Start two processes with torchrun's environment; killing torchrun itself would leave them running."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    command = [sys.executable, *MAIN, str(recipe), "training.evaluate_steps=1", "--resume", "-o", str(output)]
    return [
        subprocess.Popen(
            command,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rank in range(2)
    ]


def test_killed_processes_resume_to_the_same_weights(stripes, tmp_path):
    steps = 3 * STEPS  # enough to be killed in between
    recipe = write_recipe(tmp_path, stripes, epochs=steps / 3)
    assert [process.wait(900) for process in start_two(recipe, tmp_path / "uninterrupted")] == [0, 0]
    processes = start_two(recipe, tmp_path / "killed")
    log = tmp_path / "killed/log.jsonl"
    min_records = random.Random(0).randrange(4, 9)
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline and not (log.exists() and log.read_text().count("\n") >= min_records):
        assert [process.poll() for process in processes] == [None, None]
        time.sleep(0.01)
    for process in processes:
        process.send_signal(signal.SIGKILL)
    assert [process.wait() for process in processes] == [-signal.SIGKILL] * 2
    assert 0 < load_checkpoint(tmp_path / "killed/last.ckpt").step < steps
    assert [process.wait(900) for process in start_two(recipe, tmp_path / "killed")] == [0, 0]
    assert distances(tmp_path / "uninterrupted/last.ckpt", tmp_path / "killed/last.ckpt") == (0, 0, 0)
    assert losses(tmp_path / "uninterrupted") == losses(tmp_path / "killed")


def test_rejects_too_many_processes(stripes, tmp_path):
    recipe = write_recipe(tmp_path, stripes, epochs=1)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*torchrun, *MAIN, str(recipe), "training.batch=1", "--output", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode != 0
    assert "a batch of 1 faces is too small for 2 processes" in done.stderr
