from __future__ import annotations

import zipfile

import pytest

from mien.errors import AnnotationError, DatasetError, LayoutError
from mien.voice.corpora import read_emodb


def test_reads_speaker_text_and_label(tmp_path):
    folder = tmp_path / "wav"
    folder.mkdir()
    for name in ("16b10Wb", "03a01Fa"):
        (folder / f"{name}.wav").write_bytes(name.encode())
    (tmp_path / "readme.txt").write_text("not a recording")
    first, second = read_emodb(tmp_path)
    assert (first.name, first.speaker, first.text, first.label) == ("03a01Fa", "03", "a01", "happiness")
    assert (second.speaker, second.text, second.label, second.data) == ("16", "b10", "anger", b"16b10Wb")


def test_reads_a_zip_file_alike(tmp_path):
    path = tmp_path / "emodb.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("wav/08a02Tb.wav", b"sound")
    (utterance,) = read_emodb(path)
    assert (utterance.speaker, utterance.label, utterance.data) == ("08", "sadness", b"sound")


@pytest.mark.parametrize("name", ["03a01Xa", "recording"])
def test_names_a_file_of_another_corpus(tmp_path, name):
    (tmp_path / f"{name}.wav").write_bytes(b"")
    with pytest.raises(AnnotationError, match=f"{name}.wav is not a name of EmoDB"):
        read_emodb(tmp_path)


def test_empty_and_broken_archives_are_errors(tmp_path):
    with pytest.raises(LayoutError, match="wav/03a01Fa"):
        read_emodb(tmp_path)
    with pytest.raises(DatasetError, match="no such file"):
        read_emodb(tmp_path / "missing.zip")
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"not a zip")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_emodb(broken)
