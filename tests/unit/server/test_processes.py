"""Analysis processes: results, errors, and the replacement of lost processes."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from mien.errors import MienError, ModelError
from mien.inference.options import AnalysisOptions
from mien.server.model_pool import ModelPool, Selection
from mien.server.processes import AnalysisProcesses
from mien.server.settings import ServerSettings
from support.models import make_model
from support.server import BAD, jpeg
from support.waiting import wait_until

SELECTION = Selection("tiny", AnalysisOptions())


def settings_of(model, workers=1, **options):
    return ServerSettings(model=(str(model),), workers=workers, device="cpu", **options)


@pytest.fixture(scope="module")
def processes(tiny_model):
    with AnalysisProcesses(settings_of(tiny_model)) as processes:
        yield processes


def pids(processes):
    return [process._process.pid for process in processes._processes]


def test_results_equal_those_of_the_models_of_this_process(processes, tiny_model):
    pool = ModelPool(settings_of(tiny_model))
    for image in (jpeg(), jpeg("group", 640)):
        expected = pool.analyze(SELECTION, image)
        assert len(expected.faces) > 0
        assert processes.analyze(SELECTION, image).to_dict() == expected.to_dict()


def test_unreadable_image_has_an_error(processes):
    result = processes.analyze(SELECTION, BAD)
    assert isinstance(result.error, MienError)
    assert result.error.code == "image_unreadable"


def test_unexpected_exception_has_the_traceback_of_the_process(processes):
    with pytest.raises(RuntimeError, match=r"(?s)model_pool\.py.*KeyError: 'nothing'"):
        processes.analyze(Selection("nothing", AnalysisOptions()), jpeg())
    assert processes.analyze(SELECTION, jpeg()).faces


def test_idle_process_that_was_killed_is_replaced(processes):
    (before,) = pids(processes)
    os.kill(before, signal.SIGKILL)
    processes._processes[0]._process.wait(10)
    assert processes.analyze(SELECTION, jpeg()).faces
    assert pids(processes) != [before]


def test_image_whose_process_is_killed_has_an_error_and_the_next_one_a_result(processes):
    os.kill(pids(processes)[0], signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(processes.analyze, SELECTION, jpeg())
        wait_until(processes._idle.empty)
        os.kill(pids(processes)[0], signal.SIGKILL)
        with pytest.raises(ModelError, match="exit code -9"):
            lost.result(timeout=20)
    assert processes.analyze(SELECTION, jpeg()).faces


def test_process_that_hangs_is_replaced_after_the_time_limit(tiny_model):
    with AnalysisProcesses(settings_of(tiny_model, request_timeout_s=3)) as processes:
        (before,) = pids(processes)
        os.kill(before, signal.SIGSTOP)
        with pytest.raises(ModelError, match="exit code -9"):
            processes.analyze(SELECTION, jpeg())
        assert processes.analyze(SELECTION, jpeg()).faces
        assert pids(processes) != [before]


def test_broken_model_is_reported_and_leaves_no_processes(tmp_path):
    model = make_model(tmp_path / "tiny.onnx")
    model.write_bytes(b"no network")
    processes = AnalysisProcesses(settings_of(model, workers=2))
    with pytest.raises(ModelError, match=r"tiny\.onnx"), processes:
        pass
    assert None not in [process._process.poll() for process in processes._processes]


def test_leaving_the_block_ends_the_processes(tiny_model):
    with AnalysisProcesses(settings_of(tiny_model, workers=2)) as processes:
        assert [process._process.poll() for process in processes._processes] == [None, None]
    assert None not in [process._process.poll() for process in processes._processes]
    with pytest.raises(ModelError, match="have ended"):
        processes.analyze(SELECTION, jpeg())
