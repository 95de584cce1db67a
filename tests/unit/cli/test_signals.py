"""Stop signals: which one interrupts a block that waits for its current item."""

from __future__ import annotations

import signal

import pytest

from mien.cli.signals import catch_stop_signals, deferred_stop, finish_before_stop, stop_code


def is_interrupted_by_signal():
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        return True
    return False


def test_only_the_second_signal_interrupts_a_deferring_block():
    with catch_stop_signals(), deferred_stop() as is_stopped:
        assert not is_stopped()
        assert not is_interrupted_by_signal()
        assert is_stopped()
        assert is_interrupted_by_signal()
    assert stop_code() == 130


def test_a_block_inside_another_leaves_it_deferring():
    with catch_stop_signals(), deferred_stop() as is_stopped:
        with deferred_stop():
            pass
        assert not is_interrupted_by_signal()
        assert is_stopped()


@pytest.mark.parametrize("error", [None, ValueError])
def test_the_first_signal_interrupts_after_the_block(error):
    with catch_stop_signals():
        try:
            with deferred_stop():
                if error is not None:
                    raise error
        except ValueError:
            pass
        assert is_interrupted_by_signal()


def test_a_signal_interrupts_after_the_networks_are_loaded():
    is_loaded = []
    with catch_stop_signals():
        with pytest.raises(KeyboardInterrupt), finish_before_stop():
            is_loaded.append(not is_interrupted_by_signal())
        assert is_loaded == [True]
        assert stop_code() == 130
        assert is_interrupted_by_signal()


def fail_after_signal():
    with finish_before_stop():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("no such model")


def test_an_error_of_the_networks_is_raised_before_the_signal():
    with catch_stop_signals(), pytest.raises(ValueError, match="no such model"):
        fail_after_signal()
