"""End-to-end tests of `mien models`."""

import json
from dataclasses import asdict

from mien.cli.main import main
from mien.manifest import read_manifest
from mien.runtime import find_model, shipped_models


def run(capsys, *arguments):
    code = main(["models", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_prints_accuracy_and_training_data_of_shipped_models(capsys):
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    for name in shipped_models():
        manifest = read_manifest(find_model(name))
        accuracy = manifest.metrics["ferplus/valid"]["majority"]["accuracy"]
        (row,) = (line for line in lines if line.split()[:2] == [name, manifest.version])
        assert f"ferplus/valid, majority 3,199 {100 * accuracy:.1f}%" in " ".join(row.split())
        start = next(
            number
            for number, line in enumerate(lines)
            if line.endswith(", trained on") and line.split()[0].rstrip(",") == name
        )
        sources = [line for source in manifest.trained_on for line in (source.name, source.license)]
        assert [line.strip() for line in lines[start + 1 : start + 1 + len(sources)]] == sources
    assert "expression (default), trained on" in lines


def test_prints_a_model_file_without_metrics(tiny_model, capsys):
    code, out, err = run(capsys, tiny_model)
    assert (code, err) == (0, "")
    assert out.splitlines()[-3:] == [f"{tiny_model}, trained on", "  not stated in the manifest", "    unknown"]


def test_json_prints_one_object_per_model(capsys):
    code, out, _ = run(capsys, "expression", "open", "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [record["model"] for record in records] == ["expression", "open"]
    for record in records:
        manifest = read_manifest(find_model(record["model"]))
        assert manifest.name == record["model"]
        assert record["recipe"].startswith("ferplus-")
        assert record["bytes"] == find_model(record["model"]).stat().st_size
        assert record["trained_on"] == [asdict(source) for source in manifest.trained_on]


def test_reports_an_unknown_model(capsys):
    code, out, err = run(capsys, "nothing")
    assert (code, out) == (2, "")
    assert err.startswith("mien: unknown model 'nothing'; expected the path of an .onnx file or one of: ")
    assert "Did you mean" not in err
    assert main(["models", "expresion"]) == 2
    assert capsys.readouterr().err.endswith("Did you mean expression?\n")
