"""Whole training runs: overfitting, bit-identical resume, recovery from kills."""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.errors import CheckpointError, ConfigError, DatasetError, TrainingError
from mien.export.onnx import export_model
from mien.training import loop
from mien.training.checkpoint import load_checkpoint
from mien.training.config import read_recipe
from mien.training.loop import train
from support.training import write_recipe, write_stripes


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    return write_stripes(tmp_path_factory.mktemp("stripes") / "data")


@pytest.fixture(autouse=True)
def _without_report(request, monkeypatch):
    """Plots would take longer than these runs."""
    if "report" not in request.node.name:
        monkeypatch.setattr(loop, "write_run_report", lambda *_, **__: [])


def weights(path):
    checkpoint = load_checkpoint(path)
    return {**{f"model.{k}": v for k, v in checkpoint.model.items()}, **checkpoint.ema}


def assert_same(first, second):
    one, two = weights(first), weights(second)
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


def test_overfits_sixteen_faces_per_class(stripes, tmp_path):
    config = read_recipe(write_recipe(tmp_path, stripes, epochs=60, strength=0))
    losses = []
    train(config, tmp_path / "run", on_step=lambda _done, _count, loss, _rate: losses.append(loss))
    records = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    evaluations = [record for record in records if record["event"] == "eval"]
    assert sum(losses[-6:]) / 6 < 0.2
    assert evaluations[-1]["accuracy"] > 0.9
    assert evaluations[-1]["step"] == len(losses) == 360


@pytest.mark.parametrize("frozen", [0, 1])
def test_resumed_run_is_bit_identical(stripes, tmp_path, frozen):
    """The run is interrupted between two checkpoints, and repeats steps after the resume."""
    config = read_recipe(write_recipe(tmp_path, stripes, epochs=2, frozen=frozen))
    uninterrupted = train(config, tmp_path / "uninterrupted")
    assert_same(uninterrupted, interrupt_and_resume(config, tmp_path / "interrupted", 5))
    logs = [
        [{**json.loads(line), "faces_per_s": 0} for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("uninterrupted", "interrupted")
    ]
    assert logs[0] == logs[1]


@pytest.fixture(scope="module")
def trained(stripes, tmp_path_factory):
    """A checkpoint of a short run, and its exported model file."""
    folder = tmp_path_factory.mktemp("trained")
    checkpoint = train(read_recipe(write_recipe(folder, stripes, epochs=1)), folder / "run")
    export_model(checkpoint, folder / "teacher.onnx")
    return checkpoint, folder / "teacher.onnx"


def train_until(config, directory, after):
    """Start a run and interrupt it after a number of steps."""

    def stop(done, *_):
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, directory, on_step=stop)
    path = directory / "last.ckpt"
    assert (load_checkpoint(path).step if path.exists() else 0) == after // 3 * 3


def interrupt_and_resume(config, directory, after):
    """Interrupt a run and resume it, with the partial file of a killed write in its folder."""
    train_until(config, directory, after)
    partial = directory / "last.ckpt.0a1b2c3d.partial"
    partial.write_bytes(b"half")
    checkpoint = train(config, directory, resume=True)
    assert not partial.exists()
    return checkpoint


def eval_losses(run):
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["event"] == "eval"]


@pytest.mark.parametrize(
    "changes",
    [
        ["target.votes=0", "target.teacher=1", "target.temperature=2"],
        ["target.teacher=1", "target.cache=false", "augment.mixup=0.4"],
        ["data.balance=0.5", "training.logit_adjustment=1", "target.smoothing=0.1"],
        ["training.accumulate=3", "training.sam=0.05", "training.consistency=5"],
    ],
)
def test_resume_is_bit_identical_with_every_option(stripes, trained, tmp_path, changes):
    recipe = write_recipe(tmp_path, stripes, epochs=2)
    config = read_recipe(recipe, [*changes, f"target.teachers=['{trained[1]}']"])
    uninterrupted = train(config, tmp_path / "uninterrupted")
    assert_same(uninterrupted, interrupt_and_resume(config, tmp_path / "interrupted", 7))
    train(read_recipe(recipe), tmp_path / "plain")
    assert eval_losses(tmp_path / "uninterrupted") != eval_losses(tmp_path / "plain")


def test_resume_is_bit_identical_in_mixed_precision_with_channels_last(stripes, trained, tmp_path):
    config = read_recipe(
        write_recipe(tmp_path, stripes, epochs=1), ["training.cpu_amp=true", "training.channels_last=true"]
    )
    uninterrupted = train(config, tmp_path / "uninterrupted")
    assert_same(uninterrupted, interrupt_and_resume(config, tmp_path / "interrupted", 4))
    model, plain = load_checkpoint(uninterrupted).model, load_checkpoint(trained[0]).model
    kernels = [name for name, weight in model.items() if weight.ndim == 4]
    assert all(model[name].is_contiguous(memory_format=torch.channels_last) for name in kernels)
    assert any(not torch.equal(model[name], plain[name]) for name in kernels)


def test_resumes_a_checkpoint_that_lacks_keys(stripes, tmp_path):
    config = read_recipe(write_recipe(tmp_path, stripes, epochs=2))
    uninterrupted = train(config, tmp_path / "uninterrupted")
    train_until(config, tmp_path / "interrupted", 7)
    path = tmp_path / "interrupted/last.ckpt"
    record = torch.load(path, weights_only=True)
    del record["scaler"], record["config"]["target"], record["config"]["augment"]["mixup"]
    del record["config"]["training"]["sam"], record["config"]["data"]["balance"]
    torch.save(record, path)
    assert_same(uninterrupted, train(config, tmp_path / "interrupted", resume=True))
    record["model"] = {f"trunk.{name}": value for name, value in record["model"].items()}
    torch.save(record, path)
    with pytest.raises(CheckpointError, match="other layers than this version's"):
        train(config, tmp_path / "interrupted", resume=True)


def test_label_distribution_training_approaches_its_teacher(stripes, trained, tmp_path):
    """The teacher's outputs are cached in a folder that other runs can use."""
    shared = tmp_path / "shared"
    changes = [f"target.teachers=['{trained[1]}']", "target.votes=0", "target.teacher=1", f"target.store={shared}"]
    calls = []
    config = read_recipe(write_recipe(tmp_path, stripes, epochs=15, strength=0), changes)
    train(config, tmp_path / "run", on_teacher=lambda done, count: calls.append((done, count)))
    assert calls == [(48, 48)]
    (cached,) = shared.iterdir()
    teacher = torch.from_numpy(np.load(cached)).softmax(1)
    _start, *steps = map(json.loads, (tmp_path / "run/log.jsonl").read_text().splitlines())
    losses = [record["loss"] for record in steps]
    entropy = -(teacher * teacher.log()).sum(1).mean().item()
    assert abs(losses[-2] - entropy) < 0.05
    config = read_recipe(write_recipe(tmp_path, stripes, epochs=0.1), changes)
    train(config, tmp_path / "another", on_teacher=lambda *_: pytest.fail("not read from the cache"))


def test_run_is_initialized_from_the_weights_of_another(stripes, trained, tmp_path):
    recipe = write_recipe(tmp_path, stripes, epochs=2)
    config = read_recipe(recipe, [f"model.pretrained={trained[0]}", "training.lr=1e-9", "training.head_lr=1e-9"])
    path = train(config, tmp_path / "run")
    first = json.loads((tmp_path / "run/log.jsonl").read_text().splitlines()[0])
    assert (first["event"], first["step"], first["missing"]) == ("start", 0, 0)
    start, end = load_checkpoint(trained[0]).ema, load_checkpoint(path).model
    torch.testing.assert_close(end["classifier.weight"], start["classifier.weight"])
    interrupt_and_resume(config, tmp_path / "interrupted", 2)  # before the first checkpoint
    assert_same(path, tmp_path / "interrupted/last.ckpt")
    log = (tmp_path / "interrupted/log.jsonl").read_text()
    assert log.count('"start"') == 1


def test_run_writes_its_report(stripes, tmp_path):
    config = read_recipe(write_recipe(tmp_path, stripes, epochs=1))
    path = train(config, tmp_path / "run")
    numbers = json.loads((tmp_path / "run/metrics.json").read_text())
    assert numbers["accuracy"] == pytest.approx(load_checkpoint(path).metrics["accuracy"], abs=1e-4)
    (tmp_path / "run/metrics.json").unlink()
    train(config, tmp_path / "run", resume=True)  # as after a kill behind the last checkpoint
    assert json.loads((tmp_path / "run/metrics.json").read_text()) == numbers


def test_rejects_overwriting_and_other_recipes(stripes, tmp_path):
    recipe = write_recipe(tmp_path, stripes, epochs=1)
    train(read_recipe(recipe), tmp_path / "run")
    with pytest.raises(CheckpointError, match="--resume"):
        train(read_recipe(recipe), tmp_path / "run")
    for change in ("training.lr=0.5", "data.margin=0.1", "training.clip=1", "augment.flip=0"):
        with pytest.raises(CheckpointError, match=change.split("=")[0].replace(".", r"\.")):
            train(read_recipe(recipe, [change]), tmp_path / "run", resume=True)
    train(read_recipe(recipe, ["training.evaluate_steps=7"]), tmp_path / "run", resume=True)


@pytest.mark.parametrize("target", ["valid/neutral/moved.png", "train/happiness/moved.png"])
def test_rejects_a_resume_with_other_splits_or_labels(tmp_path, target):
    data = write_stripes(tmp_path / "data", train=4, valid=2)
    config = read_recipe(write_recipe(tmp_path, data, epochs=6, frozen=0), [f"data.store={tmp_path / 'store'}"])
    train_until(config, tmp_path / "run", 4)
    (data / "train/neutral/0.png").rename(data / target)
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(CheckpointError, match="images, or their labels, differ from those of the checkpoint"):
        train(config, tmp_path / "run", resume=True)


@pytest.mark.parametrize("changes", [["target.teacher=1"], ["target.feature_distillation=1"]])
def test_rejects_a_resume_with_an_exchanged_teacher(stripes, trained, tmp_path, changes):
    teacher = tmp_path / "teacher.onnx"
    for suffix in (".onnx", ".json"):
        shutil.copy(trained[1].with_suffix(suffix), teacher.with_suffix(suffix))
    names = [f"target.teachers=['{teacher}']", f"target.feature_teacher={teacher}"]
    config = read_recipe(write_recipe(tmp_path, stripes, epochs=1), [*changes, *names])
    train_until(config, tmp_path / "run", 4)
    before = (tmp_path / "run/last.ckpt").read_bytes()
    export_model(tmp_path / "run/last.ckpt", teacher)
    with pytest.raises(CheckpointError, match=r"teacher .*teacher\.onnx is another model than .* trained with"):
        train(config, tmp_path / "run", resume=True)
    assert (tmp_path / "run/last.ckpt").read_bytes() == before


def test_resumes_a_checkpoint_without_a_hash_of_its_samples(stripes, tmp_path):
    config = read_recipe(write_recipe(tmp_path, stripes, epochs=1, frozen=0))
    train_until(config, tmp_path / "run", 4)
    path = tmp_path / "run/last.ckpt"
    record = torch.load(path, weights_only=True)
    assert len(record.pop("samples")) == 64
    torch.save(record, path)
    assert load_checkpoint(train(config, tmp_path / "run", resume=True)).samples != ""


def test_trains_with_a_large_seed_and_reports_teachers_without_effect(stripes, tmp_path):
    recipe = write_recipe(tmp_path, stripes, epochs=0.2, frozen=0)
    messages = []
    changes = [f"training.seed={2**70}", "target.teachers=['compact']"]
    train(read_recipe(recipe, changes), tmp_path / "run", on_message=messages.append)
    assert "target.teachers have no effect: their weight target.teacher is 0" in messages


@pytest.mark.parametrize(("batch", "balance", "is_reported"), [(32, 0, True), (16, 0, False), (32, 0.5, False)])
def test_reports_many_faces_that_an_epoch_leaves_out(stripes, tmp_path, batch, balance, is_reported):
    recipe = write_recipe(tmp_path, stripes, epochs=0.2, frozen=0)
    messages = []
    changes = [f"training.batch={batch}", f"data.balance={balance}"]
    train(read_recipe(recipe, changes), tmp_path / "run", on_message=messages.append)
    expected = (
        "an epoch uses 32 of 48 training faces, as the others do not fill a batch of 32: lower training.batch to use "
        "more"
    )
    assert (expected in messages) == is_reported
    assert any("an epoch uses" in message for message in messages) == is_reported


def test_resumes_with_a_damaged_log(stripes, tmp_path):
    config = read_recipe(write_recipe(tmp_path, stripes, epochs=1, frozen=0))
    train_until(config, tmp_path / "run", 4)
    log = tmp_path / "run/log.jsonl"
    log.write_bytes(b'{"event": "step", "step": 1, "loss": 0}\n{"event": "st\xff\xfe\n')
    train(config, tmp_path / "run", resume=True)
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 6]


def test_rejects_a_validation_loss_that_is_not_finite(stripes, tmp_path, monkeypatch):
    config = read_recipe(write_recipe(tmp_path, stripes, epochs=1, frozen=0))
    predict = loop._Run.predict_validation
    monkeypatch.setattr(loop._Run, "predict_validation", lambda run: predict(run) * float("nan"))
    with pytest.raises(TrainingError, match="the validation loss is nan: the run has diverged"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run/best.ckpt").exists()


def test_license_and_card_of_a_finished_run_change_on_resume(stripes, tmp_path):
    recipe = write_recipe(tmp_path, stripes, epochs=1, frozen=0)
    run = tmp_path / "run"
    train(read_recipe(recipe), run)
    before = {name: weights(run / name) for name in ("last.ckpt", "best.ckpt")}
    written = (run / "best.ckpt").stat().st_mtime_ns
    train(read_recipe(recipe), run, resume=True)
    assert (run / "best.ckpt").stat().st_mtime_ns == written
    train(read_recipe(recipe, ["data.license=mine", "card.license=MIT", "card.version=2"]), run, resume=True)
    for name, values in before.items():
        checkpoint = load_checkpoint(run / name)
        assert checkpoint.config["card"] == {"version": "2", "license": "MIT"}
        assert checkpoint.data["license"] == "mine"
        assert [source.license for source in checkpoint.trained_on] == ["mine (stated by the user)"]
        assert all(torch.equal(value, values[key]) for key, value in weights(run / name).items())


def test_errors_of_licenses_and_weights_precede_the_preparation_of_faces(stripes, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "load_faces", lambda *_: pytest.fail("faces were prepared"))
    recipe = write_recipe(tmp_path, stripes, frozen=0)
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    (tmp_path / "w.json").write_text('{"sha256": "0", "trained_on": []}')
    with pytest.raises(ConfigError, match=r"w\.json describes another file"):
        train(read_recipe(recipe, [f"model.pretrained={tmp_path / 'w.safetensors'}"]), tmp_path / "run")
    index = replace(loop.read_index(read_recipe(recipe).data), license="MIT")
    monkeypatch.setattr(loop, "read_index", lambda _: index)
    with pytest.raises(ConfigError, match=r"data\.license is for your own data"):
        train(read_recipe(recipe), tmp_path / "run")


def test_tensorboard_contains_the_log_records(stripes, tmp_path):
    train(read_recipe(write_recipe(tmp_path, stripes, epochs=2), ["training.tensorboard=true"]), tmp_path / "run")
    (events,) = (tmp_path / "run/tensorboard").iterdir()
    assert b"eval/accuracy" in events.read_bytes()
    assert b"step/loss" in events.read_bytes()


def test_rejects_a_truncated_checkpoint(stripes, tmp_path):
    path = train(read_recipe(write_recipe(tmp_path, stripes, epochs=1)), tmp_path / "run")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="not a complete checkpoint"):
        load_checkpoint(path)


def script_accuracies(monkeypatch, accuracies):
    """Replace the evaluation of a run by given accuracies, by step; return the weights of each step."""
    weights_by_step = {}

    def evaluate(run):
        weights_by_step[run.step] = run.ema.classifier.weight.detach().clone()
        run.logits = run.predict_validation()
        return {"loss": 1.0, "accuracy": accuracies[run.step], "balanced_accuracy": 0.0, "macro_f1": 0.0}

    monkeypatch.setattr(loop._Run, "evaluate", evaluate)
    return weights_by_step


def best_steps(run):
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [record["step"] for record in records if record["event"] == "eval" and record["is_best"]]


def test_best_checkpoint_has_the_weights_of_the_best_evaluation(stripes, tmp_path, monkeypatch):
    config = read_recipe(write_recipe(tmp_path, stripes, epochs=4, frozen=0), ["training.evaluate_steps=0"])
    weights_by_step = script_accuracies(monkeypatch, {6: 0.5, 12: 0.7, 18: 0.7, 24: 0.6})
    calls = []
    train(config, tmp_path / "run", on_evaluate=lambda step, steps, record: calls.append((step, steps, record)))
    best = load_checkpoint(tmp_path / "run/best.ckpt")
    assert (best.step, best.metrics["accuracy"]) == (12, 0.7)
    assert [(step, record["epoch"], record["is_best"]) for step, _, record in calls] == [
        (6, 1, True),
        (12, 2, True),
        (18, 3, False),
        (24, 4, False),
    ]
    assert best_steps(tmp_path / "run") == [6, 12]
    assert torch.equal(best.ema["classifier.weight"], weights_by_step[12])
    assert not torch.equal(best.ema["classifier.weight"], weights_by_step[24])


@pytest.mark.parametrize("after", [8, 14])
def test_best_checkpoint_survives_a_resume(stripes, tmp_path, monkeypatch, after):
    config = read_recipe(write_recipe(tmp_path, stripes, epochs=4, frozen=0), ["training.evaluate_steps=0"])
    script_accuracies(monkeypatch, {6: 0.8, 12: 0.5, 18: 0.7, 24: 0.6})
    train_until(config, tmp_path / "run", after)
    train(config, tmp_path / "run", resume=True)
    assert load_checkpoint(tmp_path / "run/best.ckpt").step == 6
    assert best_steps(tmp_path / "run") == [6]


def test_resumes_from_the_best_checkpoint_if_the_last_is_gone(stripes, tmp_path, monkeypatch):
    config = read_recipe(write_recipe(tmp_path, stripes, epochs=3, frozen=0), ["training.evaluate_steps=0"])
    uninterrupted = train(config, tmp_path / "uninterrupted")
    train_until(config, tmp_path / "run", 8)
    (tmp_path / "run/last.ckpt").unlink()
    with pytest.raises(CheckpointError, match=r"best\.ckpt exists: add --resume"):
        train(config, tmp_path / "run")
    assert_same(uninterrupted, train(config, tmp_path / "run", resume=True))


def test_best_metric_can_be_the_loss(stripes, tmp_path, monkeypatch):
    changes = ["training.evaluate_steps=0", "training.best_metric=loss"]
    config = read_recipe(write_recipe(tmp_path, stripes, epochs=3, frozen=0), changes)
    train(config, tmp_path / "run")
    losses = eval_losses(tmp_path / "run")
    assert load_checkpoint(tmp_path / "run/best.ckpt").metrics["loss"] == min(losses)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stop_signal_saves_the_current_step(stripes, tmp_path, number):
    """The run ends like an uninterrupted one after a resume, and the message says how."""
    recipe = write_recipe(tmp_path, stripes, epochs=40, frozen=0)
    run = tmp_path / "run"
    changes = ["training.checkpoint_steps=100000", "training.evaluate_steps=100000"]
    command = [sys.executable, "-m", "mien", "train", str(recipe), *changes, "--output", str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and _last_step(run / "log.jsonl") < 20:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(number)
        _, message = process.communicate(timeout=60)
    assert process.returncode != 0
    step = load_checkpoint(run / "last.ckpt").step
    assert 20 <= step < 240
    assert f"interrupted after step {step} of 240: add --resume to continue from {run / 'last.ckpt'}" in message
    config = read_recipe(recipe, changes)
    assert_same(train(config, tmp_path / "uninterrupted"), train(config, run, resume=True))


def test_full_disk_keeps_the_earlier_checkpoint(stripes, tmp_path):
    """A limit on the size of files stands for a full disk."""
    recipe = write_recipe(tmp_path, stripes, epochs=1, frozen=0)
    train_until(read_recipe(recipe), tmp_path / "run", 4)
    path = tmp_path / "run/last.ckpt"
    limit = path.stat().st_size - 20_000
    script = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
    script += "from mien.cli.main import main; import sys; sys.exit(main())"
    command = [sys.executable, "-c", script, "train", str(recipe), "--resume", "--output", str(path.parent)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert re.search(r"run/(last|best)\.ckpt cannot be written \(.*add --resume", result.stderr)
    assert "Traceback" not in result.stderr
    assert not list(path.parent.glob("*.partial"))
    assert load_checkpoint(path).step == 3


def one_class(root):
    for name in ("happiness", "surprise"):
        shutil.rmtree(root / "train" / name)


def one_class_only(root):
    for split in ("train", "valid"):
        for name in ("happiness", "surprise"):
            shutil.rmtree(root / split / name)


@pytest.mark.parametrize("change", [one_class, one_class_only])
def test_rejects_training_faces_of_a_single_class(tmp_path, change):
    root = write_stripes(tmp_path / "data", train=2, valid=1)
    change(root)
    with pytest.raises(DatasetError, match="all 2 training faces show neutral: training needs faces of at least two"):
        train(read_recipe(write_recipe(tmp_path, root, frozen=0)), tmp_path / "run")


def test_trains_on_three_faces_and_reports_what_is_missing(tmp_path):
    root = write_stripes(tmp_path / "data", train=1, valid=1)
    shutil.rmtree(root / "valid/surprise")
    (root / "train/fear").mkdir()
    messages = []
    config = read_recipe(write_recipe(tmp_path, root, epochs=1, frozen=0))
    train(config, tmp_path / "run", on_message=messages.append)
    assert messages[0] == "training/validation faces: neutral 1/1, happiness 1/1, surprise 1/0"
    assert messages[1].startswith("no validation face shows surprise: validation metrics")
    shutil.rmtree(root / "train/happiness")
    train(config, tmp_path / "other", on_message=messages.append)
    assert messages[3].startswith("no training face shows happiness: the model cannot learn it")
    with pytest.raises(
        ConfigError, match="a batch of 2 faces in 2 parts is too small: batch norm needs 2 faces in each"
    ):
        train(read_recipe(tmp_path / "tiny.toml", ["training.accumulate=2"]), tmp_path / "third")


STEPS = 600


@pytest.mark.slow
def test_ten_kills_give_the_weights_of_an_uninterrupted_run(stripes, tmp_path):
    """Each run is killed at a random time after it has passed a further number of steps."""
    recipe = write_recipe(tmp_path, stripes, epochs=STEPS / 6)
    started = time.monotonic()
    uninterrupted = train(read_recipe(recipe), tmp_path / "uninterrupted")
    step_s = (time.monotonic() - started) / STEPS
    command = [sys.executable, "-m", "mien.cli.main", "train", str(recipe)]
    command += ["--resume", "--output", str(tmp_path / "killed")]
    rng = random.Random(0)
    reached = []
    for kill in range(10):
        _kill_after(command, tmp_path / "killed/log.jsonl", 40 * kill, rng.uniform(0, 20 * step_s))
        path = tmp_path / "killed/last.ckpt"
        reached.append(load_checkpoint(path).step if path.exists() else 0)
    assert reached == sorted(reached)
    assert 0 < reached[-1] < STEPS
    subprocess.run(command, check=True, capture_output=True)
    assert_same(uninterrupted, tmp_path / "killed/last.ckpt")


def _kill_after(command, log, step, wait_s):
    """Kill a run some seconds after its log has passed a step."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and _last_step(log) <= step:
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(wait_s)
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)


def _last_step(log):
    lines = log.read_text().splitlines() if log.exists() else []
    try:
        return json.loads(lines[-1])["step"] if lines else 0
    except ValueError:  # incomplete line
        return 0
