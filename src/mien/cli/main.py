"""Command-line entry point: commands, error reporting and exit codes."""

from __future__ import annotations

import io
import math
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclopts import App, ArgumentCollection, CycloptsError, Group, MissingArgumentError, Parameter

from mien._version import __version__
from mien.addresses import path_problem
from mien.cli.exit_codes import PIPE_CLOSED, USAGE_ERROR
from mien.cli.messages import print_message
from mien.cli.options import ARGUMENTS, OPTIONS
from mien.cli.signals import catch_stop_signals, stop_code
from mien.errors import InputError, MienError, MienWarning, reason

ANALYZE = Group("Analyze", sort_key=1)
EVALUATE = Group("Evaluate", sort_key=2)
TRAIN = Group("Train", sort_key=3)
SERVE = Group("Serve", sort_key=4)
OTHER = Group("Other", sort_key=5)

COMMANDS = {
    "predict": ("mien.cli.predict:predict", ANALYZE, "[OPTIONS] PATH..."),
    "video": ("mien.cli.video:video", ANALYZE, "[OPTIONS] SOURCE..."),
    "camera": ("mien.cli.camera:camera", ANALYZE, "[OPTIONS] [SOURCE]"),
    "voice": ("mien.cli.voice:voice", ANALYZE, "[OPTIONS] FILE..."),
    "batch": ("mien.cli.batch:batch", ANALYZE, "[OPTIONS] SOURCE..."),
    "explain": ("mien.cli.explain:explain", ANALYZE, None),
    "convert": ("mien.cli.convert:convert", ANALYZE, None),
    "models": ("mien.cli.models:models", EVALUATE, "[OPTIONS] [NAME...]"),
    "evaluate": ("mien.cli.evaluate:evaluate", EVALUATE, None),
    "compare": ("mien.cli.compare:compare", EVALUATE, None),
    "prior": ("mien.cli.prior:prior", EVALUATE, "[OPTIONS] PATH..."),
    "adapt": ("mien.cli.adapt:adapt", TRAIN, None),
    "data": ("mien.cli.data:app", TRAIN, None),
    "train": ("mien.cli.train:train", TRAIN, "[OPTIONS] RECIPE [SECTION.KEY=VALUE...]"),
    "export": ("mien.cli.export:export", TRAIN, None),
    "serve": ("mien.cli.serve:serve", SERVE, None),
    "doctor": ("mien.cli.doctor:doctor", OTHER, None),
}
"""Import path, help section and usage of each command; commands are imported on first use."""

PATH_OPTIONS = ("--output", "-o", "--table", "--data", "--leaks", "--write-page", "--token-file", "--media", "--prior")
"""Options that take the path of a file or folder."""

ARGUMENT_NAMES = {"--smoothing": "smoothing_s"}
"""Options with another name than their argument in Python, which messages use."""


def build_app() -> App:
    """Return the command-line app; its commands are not imported yet."""
    app = App(
        name="mien",
        help="Detect faces and predict perceived facial expression in images and video.",
        version=__version__,
        version_flags=["--version"],
        help_flags=["--help", "-h"],
        group_commands=OTHER,
        group_arguments=ARGUMENTS,
        group_parameters=OPTIONS,
        default_parameter=Parameter(negative="", negative_iterable="", consume_multiple=1, show_default=_show_default),
        suppress_keyboard_interrupt=False,
        config=_check_integers,
    )
    for position, (name, (path, group, arguments)) in enumerate(COMMANDS.items()):
        usage = {"usage": f"Usage: mien {name} {arguments}"} if arguments else {}
        app.command(path, name=name, group=group, sort_key=position, **usage)
    app.register_install_completion_command(help="Install completion for the current shell.", group=OTHER)
    app["--help"].group = app["--version"].group = OTHER
    return app


def _check_integers(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Raise `InputError` for a fraction where an integer is expected, which cyclopts would round."""
    for argument in arguments:
        if argument.hint not in (int, int | None):
            continue
        for token in argument.tokens:
            try:
                number = float(token.value)
            except ValueError:
                # reported by cyclopts
                continue
            if math.isfinite(number) and not number.is_integer():
                raise InputError(f"{token.keyword or argument.name} is {token.value}; expected an integer.")


def _show_default(value: Any) -> str | None:
    """Return the default value shown in the help; None for a flag and for an empty value."""
    return None if value is None or isinstance(value, bool) or value in ((), "") else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: arguments after `mien`; those of the process by default.

    Returns:
        Exit code: 0 for success, 1 if some inputs failed, 2 if nothing could be done, 130 after Ctrl-C, 143 after
        SIGTERM.
    """
    _open_streams()
    with catch_stop_signals(), warnings.catch_warnings():
        # the commands print them beside the results
        warnings.simplefilter("ignore", MienWarning)
        return _run(list(sys.argv[1:] if arguments is None else arguments))


def _open_streams() -> None:
    """Discard what is printed to closed streams, and replace characters that the encoding of a stream lacks."""
    nowhere = Path(os.devnull)
    sys.stdout = sys.stdout or nowhere.open("w", encoding="utf-8")
    sys.stderr = sys.stderr or nowhere.open("w", encoding="utf-8")
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _run(tokens: list[str]) -> int:
    try:
        _check_paths(tokens)
        app = build_app()
        if not tokens or tokens[0].startswith("-"):
            # the help shows the first lines of all commands, and shell completion their options
            for name in app:
                app[name]
        code = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        return _fail(_describe(error))
    except MienError as error:
        return _fail(_name_options(str(error), tokens))
    except KeyboardInterrupt:
        return stop_code()
    except BrokenPipeError:
        # Python flushes standard output again at exit: redirect it to nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:  # for example a full disk
        return _fail(f"{error.filename}: {reason(error)}." if error.filename else f"{reason(error)}.")
    return code if isinstance(code, int) else 0


def _check_paths(tokens: Sequence[str]) -> None:
    """Raise `InputError` for an empty argument and for an address where a file is written or read.

    Python's `Path` would turn the empty text of an unset shell variable into the current folder.
    """
    for previous, token in zip(("", *tokens), tokens, strict=False):
        is_option = token.startswith("-") and token != "-"
        option, _, value = token.partition("=") if is_option else (previous, "", token)
        if not value.strip() and (not is_option or token.endswith("=")):
            place = f" of {option}" if option.startswith("-") else ""
            raise InputError(f"the value{place} is empty; is a shell variable unset?")
        if option in PATH_OPTIONS and value == "-":
            raise InputError(f"{option} takes the name of a file, not - (standard output).")
        if option in PATH_OPTIONS and (problem := path_problem(value)) and not Path(value).exists():
            raise InputError(f"{option} {problem}")


def _name_options(message: str, tokens: Sequence[str]) -> str:
    """Replace the names of Python arguments in a message by the options that were given for them."""
    for option in {token.partition("=")[0] for token in tokens if token.startswith("--")}:
        name = ARGUMENT_NAMES.get(option, option.lstrip("-").replace("-", "_"))
        message = re.sub(rf"(?<![\w./-]){re.escape(name)}( \({option}\)|(?= is | \())", option, message)
    return message


def _describe(error: CycloptsError) -> str:
    """Return a usage error in one line, with the choices of a missing option."""
    message = " ".join(str(error).split())
    if isinstance(error, MissingArgumentError) and error.argument and not error.keyword:
        choices = error.argument.get_choices()
        expected = f"; expected one of: {', '.join(choices)}" if choices else ""
        message = f"{error.argument.name} is missing{expected}."
    command = " ".join(("mien", *(error.command_chain or ())))
    return f"{message} Try: {command} --help"


def _fail(message: str) -> int:
    print_message(message)
    return USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main())
