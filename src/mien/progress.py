"""The type of progress callbacks."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with the number of finished items and the total number of items."""
