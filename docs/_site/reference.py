"""Reference pages made from the code: commands, Python names, table columns, HTTP API."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

import mien
from mien import schema
from mien.cli.main import build_app
from mien.emotions import EXPRESSIONS
from mien.video.table import RowSchema
from mien.video.track_summary import AFFECT_LEVEL, summary_columns

TYPES = {str: "text", int: "integer", float: "number", bool: "true or false"}
NAMES = {
    "Analyze": ["Analyzer", "Result", "Face", "Expression", "HeadPose", "Quality", "results.Gaze", "read_image"],
    "Draw and explain": ["draw_faces", "explain", "results.ExplainedFace", "results.Explanation"],
    "Tables": ["predict_frame", "to_pandas"],
    "Video": ["analyze_video", "VideoFrame"],
    "Voice": ["VoiceAnalyzer", "VoiceResult", "VoiceSegment"],
    "Evaluate and adapt": [
        *("evaluate", "evaluation.evaluate.Evaluation", "compare", "evaluation.compare.Comparison"),
        *("adapt", "adaptation.adapt.Adaptation", "read_dataset"),
    ],
}
"""Public names by section, and the types that they return, within `mien`; the errors follow."""
COLUMNS = {
    "image": "path or name of the image",
    "audio": "path or name of the file",
    "width": "width of the upright image in pixels",
    "height": "height of the upright image in pixels",
    "face": "number of the face in its image, from 1, the largest first",
    "segment": "number of the speech segment, from 1",
    "x1": "left edge of the box in pixels of the upright image",
    "y1": "top edge of the box in pixels",
    "x2": "right edge of the box in pixels",
    "y2": "bottom edge of the box in pixels",
    "face_confidence": "confidence of the face detector, 0 to 1",
    "eye_closure": "closure of the eyes in this frame, AU43 before smoothing, 0 to 1",
    "error": "stable identifier of an error; the image or file has no other values",
    "message": "explanation of the error",
}
"""Meaning of the columns that are not fields of a record of the same name."""
SUMMARY_COLUMNS = {
    "scene": "number of the scene, from 1",
    "track_id": "number of the face in its scene",
    "start_s": "time of the first frame",
    "end_s": "end of the last frame",
    "seconds": "time in view",
    "label": "label held longest; empty when the face is without a label for longer",
    "share_unsure": "share of the time without a label",
    "share_unclassified": "share of the time before the first prediction",
    "blinks": "number of blinks; empty when the eyes are measured too rarely",
    "blinks_per_minute": "rate of the blinks; empty when the eyes are measured too rarely",
}
STATISTICS = {
    "share": "share of the time with this label",
    "onset": "time at which the face first has this label",
    "mean": "mean, weighted by time",
    "peak": "highest value",
    "min": "lowest value",
    "max": "highest value",
    "high": f"share of the time above {AFFECT_LEVEL}",
    "low": f"share of the time below -{AFFECT_LEVEL}",
}
"""Meaning of the columns of a summary, by the word before a class, valence, arousal or an action unit."""
TURN_COLUMNS = {
    "label": "most probable class of face and voice together; empty when they contradict each other",
    "confidence": "its probability",
    "valence": "valence of face and voice together, -1 to 1",
    "arousal": "arousal of face and voice together, -1 to 1",
    "p_NAME": "probability of a class, of face and voice together",
    "face_label": "most probable class of the mean prediction for the face during the turn",
    "face_valence": "valence of the face, -1 to 1",
    "face_arousal": "arousal of the face, -1 to 1",
    "face_p_NAME": "probability of a class, of the face",
    "voice_label": "experimental: most probable class of the voice",
    "voice_arousal": "arousal of the voice, -1 (calm) to 1 (excited)",
    "voice_p_NAME": "experimental: probability of a class, of the voice",
}


def commands() -> str:
    """Return the help of all commands."""
    app = build_app()
    for name in app:
        app[name]
    text = app.generate_docs(output_format="markdown")
    return re.sub(r"^mien (\S+) \1 ", r"mien \1 ", text, flags=re.MULTILINE).replace("# mien\n", "# Commands\n", 1)


def python_names() -> str:
    """Return the public names, documented by their docstrings."""
    listed = {name for names in NAMES.values() for name in names}
    errors = sorted(name for name in mien.__all__ if name not in listed and name.endswith(("Error", "Warning")))
    unlisted = set(mien.__all__) - listed - set(errors) - {"EXPRESSIONS", "__version__"}
    if unlisted:
        raise ValueError(f"public names without a section: {', '.join(sorted(unlisted))}")
    sections = [
        f"## {title}\n\n" + "\n\n".join(f"::: mien.{name}" for name in names)
        for title, names in {**NAMES, "Errors": errors}.items()
    ]
    classes = ", ".join(f"`{name}`" for name in EXPRESSIONS)
    head = f"# Python\n\n`mien.EXPRESSIONS` are the classes in their order: {classes}."
    return "\n\n".join([head, *sections])


def columns() -> str:
    """Return the columns of all tables with type and meaning."""
    units = ["AU01", "AU12_L"]
    video = RowSchema(labels=("NAME",), action_units=tuple(units))
    summary = summary_columns(video)
    parts = [
        "# Table columns",
        "Columns are the same in .csv, .jsonl and .parquet files and in DataFrames. A value that is not known is "
        f"empty. `p_NAME` stands for one column per class, `p_{EXPRESSIONS[0]}` and so on; action units and gaze are "
        "there with `--action-units` only: [action units](../action-units.md).",
        "## Images",
        "`mien predict --table`, `Result.to_pandas`: one row per face.",
        _table(schema.table_columns(["NAME"], units), schema.ExpressionRecord, schema.QualityRecord, schema.FaceRecord),
        "## Video",
        "`mien video --table`: one row per face and frame. `label`, `confidence`, `valence` and `arousal` are smoothed "
        "over time; `p_NAME` are the probabilities of this frame, empty in frames without a prediction.",
        _table(
            video.columns, *(schema.VideoFrameRecord, schema.ExpressionRecord, schema.QualityRecord, schema.FaceRecord)
        ),
        "## Tracks and segments",
        "`tracks.csv` of `mien video -o` has one row per face, `segments.csv` one per stretch in which a face keeps "
        "its label. Times are seconds since the first frame; probabilities and action units are smoothed.",
        _table(summary, texts={name: _summary_meaning(name) for name in summary}),
        "## Speaking turns",
        "`turns.csv` of `mien video --voice -o`: one row per speaking turn. Without an assigned face the columns of "
        "the face, of both together and the weights are empty: [voice in a video](../video.md#voice).",
        _table(
            schema.turn_columns(["NAME"], ["NAME"]),
            *(schema.SpeakingTurnRecord, schema.FusionRecord),
            texts=TURN_COLUMNS,
        ),
        "## Voice",
        "`mien voice --table`: one row per speech segment.",
        _table(schema.voice_columns(["NAME"]), schema.VoiceSegmentRecord, schema.ProsodyRecord),
    ]
    return "\n\n".join(parts)


def http() -> str:
    """Return the endpoints and the records of the HTTP API."""
    from mien.server.openapi import describe_api

    description = describe_api()
    parts = [
        "# HTTP API",
        "What the server answers, from its OpenAPI description (`GET /openapi.json`); how to use it: "
        "[server](../server.md).",
    ]
    for path, methods in description["paths"].items():
        parts += [_endpoint(path, method, one) for method, one in methods.items()]
    parts += ["## Records"]
    parts += [_record(name, one) for name, one in sorted(description["components"]["schemas"].items())]
    return "\n\n".join(parts)


def _table(
    names: Mapping[str, type], *records: type[schema.Record], texts: Mapping[str, str] = MappingProxyType(COLUMNS)
) -> str:
    rows = [
        f"| `{name}` | {TYPES[kind]} | {texts.get(name) or _meaning(name, records)} |" for name, kind in names.items()
    ]
    return "\n".join(["| column | type | |", "|---|---|---|", *rows])


def _meaning(name: str, records: Sequence[type[schema.Record]]) -> str:
    """Return what a column contains, from the first record that has a field of its name."""
    if name.startswith(("p_", "s_")):
        return "probability of a class" + (", smoothed over time" if name.startswith("s_") else "")
    if name.startswith("AU"):
        return "estimated intensity of an action unit, 0 to 1; `_L` and `_R` are the subject's left and right"
    if match := re.fullmatch(r"(gaze_)?(\w+)_deg", name):
        record = schema.GazeRecord if match[1] else schema.HeadPoseRecord
        return f"{'gaze' if match[1] else 'head pose'} in degrees: {_fields(record)[match[2]]}"
    for record in records:
        if name in _fields(record):
            # the key `affect` of the JSON has no column
            return _fields(record)[name].replace("unless `affect`", "unless the model has a trained head for it")
    raise ValueError(f"column {name} has no description")


def _summary_meaning(name: str) -> str:
    """Return what a column of `tracks.csv` and `segments.csv` contains."""
    if name in SUMMARY_COLUMNS:
        return SUMMARY_COLUMNS[name]
    statistic = name.partition("_")[0]
    is_time = name.endswith("_s") and statistic != "onset"
    return f"time of the {STATISTICS[statistic]}" if is_time else STATISTICS[statistic]


def _fields(record: type[schema.Record]) -> dict[str, str]:
    """Return the descriptions of the fields of a record."""
    properties = msgspec.json.schema(record)["$defs"][record.__name__]["properties"]
    return {name: one["description"] for name, one in properties.items() if "description" in one}


def _endpoint(path: str, method: str, operation: Mapping[str, Any]) -> str:
    parameters = [
        f"| `{one['name']}` | {_kind(one['schema'])} | {_line(one.get('description', ''))} |"
        for one in operation.get("parameters", [])
    ]
    table = ["| parameter | type | |", "|---|---|---|", *parameters] if parameters else []
    answers = ", ".join(f"{status} {one['description'].rstrip('.')}" for status, one in operation["responses"].items())
    text = _line(operation.get("description") or operation.get("summary", ""))
    return "\n\n".join([f"## {method.upper()} {path}", text, "\n".join(table), f"Answers: {_line(answers)}."])


def _record(name: str, one: Mapping[str, Any]) -> str:
    rows = [
        f"| `{field}` | {_kind(kind)} | {_line(kind.get('description', ''))} |"
        for field, kind in one.get("properties", {}).items()
    ]
    table = "\n".join(["| field | type | |", "|---|---|---|", *rows]) if rows else ""
    return "\n\n".join([f"### {name}", _line(one.get("description", "")), table])


def _kind(kind: Mapping[str, Any]) -> str:
    """Return a JSON Schema type in words."""
    if "$ref" in kind:
        name = kind["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if variants := kind.get("anyOf") or kind.get("oneOf"):
        return " or ".join(_kind(variant) for variant in variants)
    if kind.get("type") == "array":
        return f"list of {_kind(kind.get('items', {}))}"
    return str(kind.get("type", "any"))


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
