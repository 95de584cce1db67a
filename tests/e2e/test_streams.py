"""Closed standard streams, and stop signals while the networks load."""

import os
import pkgutil
import signal
import subprocess
import sys

import pytest

from mien.cli.main import main
from mien.inference import networks

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs POSIX shells and signals")


@posix_only
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_do_not_lose_the_table(examples, tiny_model, tmp_path, closed):
    table = tmp_path / "faces.csv"
    command = (
        f'"{sys.executable}" -m mien predict "{examples}/biden.jpg" --model "{tiny_model}" --table "{table}" {closed}'
    )
    assert subprocess.run(command, shell=True, check=False).returncode == 0
    assert len(table.read_text().splitlines()) == 2


@posix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_while_networks_load_waits_for_them(examples, tiny_model, monkeypatch, capsys, number):
    loaded = []
    original = networks.ExpressionClassifier

    def load(*arguments, **options):
        os.kill(os.getpid(), number)
        classifier = original(*arguments, **options)
        loaded.append(classifier)
        return classifier

    monkeypatch.setattr(networks, "ExpressionClassifier", load)
    assert main(["predict", str(examples / "biden.jpg"), "--model", str(tiny_model)]) == 128 + number
    assert len(loaded) == 1
    assert not capsys.readouterr().out


@posix_only
@pytest.mark.parametrize(
    ("command", "name", "times"),
    [
        ("evaluate --data nowhere --dataset folder", "mien.inference.classifier.ExpressionClassifier", 1),
        ("evaluate --data nowhere --dataset emodb", "mien.voice.classifier.VoiceClassifier", 1),
        ("compare mobile compact --data nowhere --dataset folder", "mien.inference.classifier.ExpressionClassifier", 2),
        ("doctor", "mien.diagnosis.Analyzer", 1),
    ],
)
def test_a_signal_waits_for_the_networks_of_every_command(monkeypatch, capsys, command, name, times):
    loaded = []
    original = pkgutil.resolve_name(name)

    def load(*arguments, **options):
        if not loaded:
            os.kill(os.getpid(), signal.SIGINT)
        network = original(*arguments, **options)
        loaded.append(network)
        return network

    monkeypatch.setattr(name, load)
    assert main(command.split()) == 130
    assert len(loaded) == times
    assert not capsys.readouterr().out
