from __future__ import annotations

import zipfile

import pytest

from mien.errors import AnnotationError, DatasetError, LayoutError
from mien.voice.corpora import HIGH_AROUSAL, READERS, VOICE_CLASSES, read_crema_d, read_emodb, read_ravdess


def test_reads_speaker_text_and_label(tmp_path):
    folder = tmp_path / "wav"
    folder.mkdir()
    for name in ("16b10Wb", "03a01Fa"):
        (folder / f"{name}.wav").write_bytes(name.encode())
    (tmp_path / "readme.txt").write_text("not a recording")
    first, second = read_emodb(tmp_path)
    assert (first.name, first.speaker, first.text, first.label) == ("03a01Fa", "03", "a01", "happiness")
    assert (second.speaker, second.text, second.label, second.read()) == ("16", "b10", "anger", b"16b10Wb")


def test_reads_a_zip_file_alike(tmp_path):
    path = tmp_path / "emodb.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("wav/08a02Tb.wav", b"sound")
    (utterance,) = read_emodb(path)
    assert (utterance.speaker, utterance.label, utterance.read()) == ("08", "sadness", b"sound")


@pytest.mark.parametrize("name", ["03a01Xa", "recording"])
def test_names_a_file_of_another_corpus(tmp_path, name):
    (tmp_path / f"{name}.wav").write_bytes(b"")
    with pytest.raises(AnnotationError, match=f"{name}.wav is not a name such as 03a01Fa.wav"):
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


def make_files(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def test_reads_crema_d(tmp_path):
    make_files(
        tmp_path, "AudioWAV/1091_WSI_SAD_XX.wav", "AudioWAV/1001_IEO_HAP_HI.wav", "AudioWAV/._1001_IEO_HAP_HI.wav"
    )
    first, second = read_crema_d(tmp_path)
    assert (first.speaker, first.text, first.label) == ("1001", "IEO", "happiness")
    assert (second.speaker, second.text, second.label) == ("1091", "WSI", "sadness")
    assert second.read() == b"AudioWAV/1091_WSI_SAD_XX.wav"


def test_reads_spoken_utterances_of_ravdess_once(tmp_path):
    make_files(
        tmp_path,
        "Actor_01/01-01-05-01-02-01-01.mp4",
        "Actor_01/02-01-05-01-02-01-01.mp4",
        "Actor_01/03-01-05-01-02-01-01.wav",
        "audio_speech_actors_01-24/Actor_01/03-01-05-01-02-01-01.wav",
        "Actor_01/03-02-05-01-02-01-01.wav",
        "Actor_24/01-01-08-01-01-01-24.mp4",
        "Actor_24/02-01-02-01-01-01-24.mp4",
    )
    first, second = read_ravdess(tmp_path)
    assert (first.name, first.speaker, first.text, first.label) == ("03-01-05-01-02-01-01", "01", "02", "anger")
    assert (second.name, second.speaker, second.label) == ("01-01-08-01-01-01-24", "24", "surprise")


def test_a_missing_file_is_named(tmp_path):
    make_files(tmp_path, "AudioWAV/1001_IEO_HAP_HI.wav")
    (utterance,) = read_crema_d(tmp_path)
    (tmp_path / "AudioWAV/1001_IEO_HAP_HI.wav").unlink()
    with pytest.raises(DatasetError, match=r"1001_IEO_HAP_HI.wav: cannot be read: no such file"):
        utterance.read()


def test_every_corpus_has_a_reader_and_known_arousal():
    assert set(READERS) == {"emodb", "crema-d", "ravdess"}
    assert set(VOICE_CLASSES) > HIGH_AROUSAL
