"""Action units in the outputs of `mien predict` and `mien video`."""

import csv
import json

import pytest

from mien.action_units import ACTION_UNIT_NAMES
from mien.cli.main import main
from mien.schema import movement_columns

COLUMNS = list(movement_columns(ACTION_UNIT_NAMES))


def read_rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_predict_writes_action_units_on_request(examples, tiny_model, tmp_path, capsys):
    options = ["--model", str(tiny_model), "--json", "--table", str(tmp_path / "faces.csv")]
    assert main(["predict", str(examples / "obama.jpg"), "--action-units", *options]) == 0
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    (row,) = read_rows(tmp_path / "faces.csv")
    assert list(face["action_units"]) == list(ACTION_UNIT_NAMES)
    assert set(face["gaze_deg"]) == {"yaw", "pitch"}
    assert face["blendshapes"]["mouthSmileLeft"] > 0.8
    assert [name for name in row if name in COLUMNS] == COLUMNS
    assert float(row["AU12"]) == face["action_units"]["AU12"] > 0.8


def test_predict_has_no_action_units_by_default(examples, tiny_model, tmp_path, capsys):
    table = tmp_path / "faces.csv"
    assert main(["predict", str(examples / "obama.jpg"), "--model", str(tiny_model), "--table", str(table)]) == 0
    (row,) = read_rows(table)
    assert not set(row) & set(COLUMNS)


def test_action_units_need_the_mesh(examples, tiny_model, capsys):
    arguments = ["predict", str(examples / "obama.jpg"), "--model", str(tiny_model), "--action-units", "--no-pose"]
    assert main(arguments) == 2
    expected = "mien: --action-units is not possible without pose: it needs the face mesh.\n"
    assert capsys.readouterr().err == expected


def test_video_table_has_action_units_of_every_prediction(tiny_model, tmp_path, examples):
    pytest.importorskip("av")
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes((examples / "obama.jpg").read_bytes())
    arguments = ["video", str(folder), "--fps", "4", "--model", str(tiny_model), "--action-units", "--quiet"]
    assert main([*arguments, "--table", str(tmp_path / "faces.csv")]) == 0
    rows = read_rows(tmp_path / "faces.csv")
    assert len(rows) == 4
    assert all(float(row["AU12"]) > 0.8 and row["gaze_yaw_deg"] for row in rows)


def test_video_subtracts_the_neutral_baseline_on_request(tiny_model, tmp_path, examples):
    pytest.importorskip("av")
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02d}.jpg").write_bytes((examples / "obama.jpg").read_bytes())
    arguments = ["video", str(folder), "--fps", "1", "--model", str(tiny_model), "--action-units", "--quiet"]
    out = tmp_path / "out"
    assert main([*arguments, "--baseline", "--no-annotate", "-o", str(out)]) == 0
    rows = read_rows(out / "faces.csv")
    assert all(float(row["AU12"]) < 0.01 < float(row["eye_closure"]) for row in rows)
    (track,) = read_rows(out / "tracks.csv")
    assert float(track["peak_AU12"]) < 0.01
    assert "above the neutral baseline of each face" in (out / "report.html").read_text(encoding="utf-8")


def test_baseline_needs_action_units(capsys):
    assert main(["video", "clip.mp4", "--baseline"]) == 2
    assert "--action-units" in capsys.readouterr().err
