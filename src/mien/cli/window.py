"""Tk window that shows video frames."""

from __future__ import annotations

from typing import Any

import numpy as np


class Window:
    """Window that shows one image at a time; Esc, Q or the close button end it."""

    def __init__(self, root: Any) -> None:
        import tkinter

        self._root = root
        self._is_open = True
        self._image = None
        self._label = tkinter.Label(root, borderwidth=0, background="black")
        self._label.pack()
        root.protocol("WM_DELETE_WINDOW", self._end)
        for key in ("<Escape>", "q", "Q"):
            root.bind(key, lambda _: self._end())

    def show(self, image: np.ndarray) -> bool:
        """Show an image (H, W, 3) uint8 RGB; return False once the user has closed the window."""
        from PIL import Image, ImageTk

        if self._is_open:
            # Tk keeps no reference to the image
            self._image = ImageTk.PhotoImage(Image.fromarray(image))
            self._label.configure(image=self._image)
            self._root.update()
        return self._is_open

    def close(self) -> None:
        """Remove the window from the screen."""
        self._end()
        self._root.destroy()

    def _end(self) -> None:
        self._is_open = False


def open_window(title: str) -> Window | None:
    """Open a window; return None without a display or without Tk."""
    try:
        import tkinter

        root = tkinter.Tk()
    except Exception:  # no module, no display, or a display without access
        return None
    root.title(title)
    return Window(root)
