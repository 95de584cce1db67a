"""Progress without a terminal, and the message of a stopped command."""

from __future__ import annotations

import pytest

from mien.cli import train
from mien.cli.messages import NOTHING_WRITTEN, print_message
from mien.cli.progress import progress_bar


def stop_after(done, total):
    with progress_bar("reading images", on_stop=NOTHING_WRITTEN) as progress:
        progress(done, total)
        raise KeyboardInterrupt


def test_a_stopped_block_says_how_far_it_came(capsys):
    with pytest.raises(KeyboardInterrupt):
        stop_after(1200, 3000)
    assert capsys.readouterr().err == (
        "mien: stopped after 1,200 of 3,000 (reading images); nothing was written; give the command again\n"
    )


def test_a_block_that_is_stopped_before_its_first_item_gives_no_counts(capsys):
    with pytest.raises(KeyboardInterrupt), progress_bar("reading", on_stop="again"):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "mien: stopped (reading); again\n"


def test_other_errors_are_passed_on_without_a_message(capsys):
    with pytest.raises(ValueError, match="x"), progress_bar("reading", on_stop="again"):
        raise ValueError("x")
    assert capsys.readouterr().err == ""


def test_training_prints_a_line_every_two_minutes(monkeypatch, capsys):
    now_s = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now_s[0])
    with progress_bar("training") as bar:
        show = train._Lines(bar)
        for step in range(1, 600):
            now_s[0] = step
            show(step, 5000, "loss 1.234")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"{step:,} of 5,000  loss 1.234" for step in (120, 240, 360, 480)]


def test_control_characters_of_file_names_are_escaped(capsys):
    print_message("a\nb\x1b[2J\u202ec.jpg is broken")
    with progress_bar("reading") as bar:
        bar.print("a\r.jpg, Bildschirmfoto 10.00\u202fUhr.jpg")
    assert capsys.readouterr().err == (
        "mien: a\\nb\\x1b[2J\\u202ec.jpg is broken\na\\r.jpg, Bildschirmfoto 10.00\u202fUhr.jpg\n"
    )
