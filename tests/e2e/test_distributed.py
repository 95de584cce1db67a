"""Several processes learn what one learns, and go on after all of them were killed."""

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
EVERYTHING = [
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
    """Of the steps and evaluations; a run with weights to start from tells these first."""
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    records = [record for record in records if record["event"] != "start"]
    return [(record["event"], record["step"], record["loss"]) for record in records]


def distance(first, second):
    """How far the second tensors are from the first ones, against their size: over all of them together."""
    apart = sum(float((one - second[name]).double().square().sum()) for name, one in first.items())
    return (apart / sum(float(one.double().square().sum()) for one in first.values())) ** 0.5


def distances(one, two):
    """Of the weights, the averaged weights, and Adam's running gradients."""
    first, second = load_checkpoint(one), load_checkpoint(two)
    assert first.step == second.step
    gradients = [
        {number: state["exp_avg"] for number, state in checkpoint.optimizer["state"].items()}
        for checkpoint in (first, second)
    ]
    return distance(first.model, second.model), distance(first.ema, second.ema), distance(*gradients)


@pytest.mark.parametrize(
    ("frozen", "changes"),
    [(1, []), (0, EVERYTHING)],
    ids=["as usual", "with everything"],
)
def test_two_processes_learn_what_one_learns(stripes, teacher, tmp_path, frozen, changes):
    recipe = write_recipe(tmp_path, stripes, epochs=STEPS / 3, frozen=frozen)
    changes = [*changes, "training.evaluate_steps=1", f"target.teachers=['{teacher}']"]
    alone = train(read_recipe(recipe, changes), tmp_path / "alone")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*torchrun, *MAIN, str(recipe), *changes, "--output", str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("last.ckpt") == 1
    expected, found = losses(tmp_path / "alone"), losses(tmp_path / "two")
    assert [record[:2] for record in found] == [record[:2] for record in expected]
    for (_, step, one), (_, _, two) in zip(expected, found, strict=True):
        assert two == pytest.approx(one, rel=1e-4), f"step {step}"
    weights, averaged, gradients = distances(alone, tmp_path / "two/last.ckpt")
    assert max(weights, averaged) < 1e-3
    assert gradients < 0.1  # rounding puts some activation on the other side of a ReLU's kink
    assert (tmp_path / "two/metrics.json").is_file()


def start_two(recipe, output):
    """Two processes told what torchrun would tell them; torchrun's own kill leaves them alive."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    told = {**os.environ, "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    command = [sys.executable, *MAIN, str(recipe), "training.evaluate_steps=1", "--resume", "-o", str(output)]
    return [
        subprocess.Popen(
            command,
            env={**told, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rank in range(2)
    ]


def test_killed_processes_go_on_to_the_same_weights(stripes, tmp_path):
    recipe = write_recipe(tmp_path, stripes, epochs=STEPS / 3)
    assert [process.wait(900) for process in start_two(recipe, tmp_path / "straight")] == [0, 0]
    processes = start_two(recipe, tmp_path / "killed")
    log, wanted = tmp_path / "killed/log.jsonl", random.Random(0).randrange(4, 9)
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline and not (log.exists() and log.read_text().count("\n") >= wanted):
        assert [process.poll() for process in processes] == [None, None]
        time.sleep(0.01)
    for process in processes:
        process.send_signal(signal.SIGKILL)
    assert [process.wait() for process in processes] == [-signal.SIGKILL] * 2
    assert 0 < load_checkpoint(tmp_path / "killed/last.ckpt").step < STEPS
    assert [process.wait(900) for process in start_two(recipe, tmp_path / "killed")] == [0, 0]
    assert distances(tmp_path / "straight/last.ckpt", tmp_path / "killed/last.ckpt") == (0, 0, 0)
    assert losses(tmp_path / "straight") == losses(tmp_path / "killed")


def test_too_many_processes_are_told(stripes, tmp_path):
    recipe = write_recipe(tmp_path, stripes, epochs=1)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*torchrun, *MAIN, str(recipe), "training.batch=1", "--output", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode != 0
    assert "a step has 1 faces: not one for each of 2 processes" in done.stderr
