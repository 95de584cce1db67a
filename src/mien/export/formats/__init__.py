"""File formats of other runtimes: conversion from torch modules, and sessions to check the result."""

from mien.export.format_spec import FORMATS, Format
from mien.export.formats.conversion import Runner, can_run, check_packages, convert, open_runner

__all__ = ["FORMATS", "Format", "Runner", "can_run", "check_packages", "convert", "open_runner"]
