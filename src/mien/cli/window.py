"""A window that shows images, where there is a display: Tk, which comes with Python."""

from __future__ import annotations

from typing import Any

import numpy as np

_CLOSING_KEYS = ("<Escape>", "q", "Q")


class Window:
    """One image at a time; Esc, Q and its close button end it.

    Args:
        root: a Tk root window.
    """

    def __init__(self, root: Any) -> None:
        import tkinter

        self._root, self._is_open, self._image = root, True, None
        self._label = tkinter.Label(root, borderwidth=0, background="black")
        self._label.pack()
        root.protocol("WM_DELETE_WINDOW", self._end)
        for key in _CLOSING_KEYS:
            root.bind(key, lambda _: self._end())

    def show(self, image: np.ndarray) -> bool:
        """Show an image (H, W, 3) uint8 RGB; returns False when the user has ended it."""
        from PIL import Image, ImageTk

        if self._is_open:
            self._image = ImageTk.PhotoImage(Image.fromarray(image))  # Tk itself keeps no reference
            self._label.configure(image=self._image)
            self._root.update()
        return self._is_open

    def close(self) -> None:
        """Take the window from the screen."""
        self._end()
        self._root.destroy()

    def _end(self) -> None:
        self._is_open = False


def open_window(title: str) -> Window | None:
    """A window with a title; None where there is no display, or Python came without Tk."""
    try:
        import tkinter

        root = tkinter.Tk()
    except Exception:  # no module, no display, or a display that refuses: all mean no window
        return None
    root.title(title)
    return Window(root)
