"""Settings on which the numbers of an analysis depend, for runs that can be resumed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mien._version import __version__

if TYPE_CHECKING:
    from mien.inference.analyzer import Analyzer


def run_settings(analyzer: Analyzer) -> dict[str, Any]:
    """Return the settings, as JSON values, that have to be equal for equal results.

    Device and precision are lists: those in use by the face detector and by the expression model.
    """
    networks = [analyzer.networks[role] for role in ("face detector", "expression")]
    return {
        "version": __version__,
        "model": analyzer.manifest.sha256,
        "device": [network.device for network in networks],
        "precision": [network.precision for network in networks],
        **asdict(analyzer.options),
    }
