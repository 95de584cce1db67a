"""File formats of other runtimes: conversion from torch modules, and sessions to check the result."""

from mien.export.formats.conversion import (
    FORMATS,
    Format,
    Precision,
    Runner,
    can_run,
    check_packages,
    convert,
    open_runner,
)

__all__ = ["FORMATS", "Format", "Precision", "Runner", "can_run", "check_packages", "convert", "open_runner"]
