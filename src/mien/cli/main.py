"""`mien`: the verbs, and what the shell gets to know when something is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from mien._version import __version__
from mien.errors import MienError

VERBS = {
    "predict": "mien.cli.predict:predict",
    "video": "mien.cli.video:video",
    "camera": "mien.cli.camera:camera",
    "explain": "mien.cli.explain:explain",
    "evaluate": "mien.cli.evaluate:evaluate",
    "compare": "mien.cli.compare:compare",
    "models": "mien.cli.models:models",
    "data": "mien.cli.data:app",
    "train": "mien.cli.train:train",
    "export": "mien.cli.export:export",
    "serve": "mien.cli.serve:serve",
}
"""Where every verb's function is, or its `App` when it has verbs of its own; imported on first use."""

USAGE, INTERRUPTED, PIPE_CLOSED = 2, 130, 141
"""Exit codes beside a verb's own: nothing could be done, Ctrl-C, and the reader of our output went away."""


def build_app() -> App:
    """The command line with all its verbs, none of them loaded yet."""
    app = App(
        name="mien",
        help="Read perceived facial expression from images and video: offline, calibrated, without torch.",
        version=__version__,
        version_flags=["--version"],
        help_flags=["--help", "-h"],
        suppress_keyboard_interrupt=False,
    )
    for name, path in VERBS.items():
        app.command(path, name=name)
    return app


def _load_verbs(app: App) -> None:
    """The list of verbs shows the first line of each one's docstring."""
    for name in app:
        app[name]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after `mien`; those of the process when None.

    Returns:
        The exit code: 0 when all went well, 1 when some inputs failed, 2 when nothing could be done.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app = build_app()
        if not tokens or tokens[0] in app.help_flags:
            _load_verbs(app)
        code = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        return _complain(f"{' '.join(str(error).split())} Try: mien --help")
    except MienError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more when it ends: let that go nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:  # a disk that is full, a folder that may not be entered
        problem = (error.strerror or str(error)).lower()
        return _complain(f"{error.filename}: {problem}." if error.filename else f"{problem}.")
    return code if isinstance(code, int) else 0


def _complain(message: str) -> int:
    print(f"mien: {message}", file=sys.stderr)
    return USAGE


if __name__ == "__main__":
    sys.exit(main())
