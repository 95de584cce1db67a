from __future__ import annotations

import dataclasses
import re
import zipfile

import pytest

from mien.errors import AnnotationError, DatasetError, LayoutError
from mien.voice.audio import read_audio
from mien.voice.corpora import (
    HIGH_AROUSAL,
    READERS,
    SOURCES,
    VOICE_CLASSES,
    read_crema_d,
    read_emodb,
    read_iemocap,
    read_meld,
    read_ravdess,
)
from support.clips import write_clip
from support.permissions import deny
from support.sounds import tone, write_audio


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
    message = f"{tmp_path}: {name}.wav is not a name such as 03a01Fa.wav."
    with pytest.raises(DatasetError, match=f"^{re.escape(message)}$"):
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
    assert set(READERS) == set(SOURCES) == {"emodb", "crema-d", "ravdess", "meld", "iemocap"}
    assert set(VOICE_CLASSES) > HIGH_AROUSAL


def test_video_of_ravdess_may_be_silent_where_there_is_sound(tmp_path):
    make_files(
        tmp_path,
        "Actor_01/01-01-05-01-02-01-01.mp4",
        "Actor_01/02-01-05-01-02-01-01.mp4",
        "Actor_01/03-01-05-01-02-01-01.wav",
        "Actor_02/02-01-03-01-02-01-02.mp4",
        "Actor_02/03-01-03-01-02-01-02.wav",
        "Actor_03/03-01-02-01-02-01-03.wav",
    )
    both, silent, sound = sorted(read_ravdess(tmp_path), key=lambda utterance: utterance.speaker)
    assert both.read_video() == b"Actor_01/01-01-05-01-02-01-01.mp4"
    assert silent.read_video() == b"Actor_02/02-01-03-01-02-01-02.mp4"
    assert silent.read() == b"Actor_02/03-01-03-01-02-01-02.wav"
    assert (sound.video, sound.label) == ("", "calm")


VOTES = """"","A","D","F","H","N","S","fileName","numResponses","agreement"
"100001",0,0,0,8,1,0,"1001_IEO_HAP_HI",9,0.89
"200001",0,0,0,10,0,0,"1001_IEO_HAP_HI",10,1
"300001",1,0,0,9,0,0,"1001_IEO_HAP_HI",10,0.9
"100002",7,0,0,0,3,0,"1001_DFA_ANG_XX",10,0.7
"""


def test_reads_videos_and_votes_of_crema_d(tmp_path):
    make_files(tmp_path, "AudioWAV/1001_IEO_HAP_HI.wav", "VideoFlash/1001_IEO_HAP_HI.flv")
    make_files(tmp_path, "VideoFlash/1001_DFA_ANG_XX.flv", "processedResults/tabulatedVotes.csv")
    (tmp_path / "processedResults/tabulatedVotes.csv").write_text(VOTES)
    anger, happiness = read_crema_d(tmp_path)
    assert happiness.read_video() == b"VideoFlash/1001_IEO_HAP_HI.flv"
    assert anger.path == anger.video
    assert set(happiness.votes) == {"voice", "face", "both"}
    assert happiness.votes["voice"] == {
        "anger": 0, "disgust": 0, "fear": 0, "happiness": 8, "neutral": 1, "sadness": 0
    }  # fmt: skip
    assert happiness.votes["both"]["anger"] == 1
    assert anger.votes == {"voice": {**happiness.votes["voice"], "anger": 7, "happiness": 0, "neutral": 3}}


def test_reads_the_clip_of_crema_d_with_a_single_letter_intensity(tmp_path):
    """`1040_ITH_SAD_X.wav` is `1040_ITH_SAD_XX` in the table of votes."""
    make_files(tmp_path, "AudioWAV/1040_ITH_SAD_X.wav")
    (tmp_path / "tabulatedVotes.csv").write_text(VOTES.replace("1001_DFA_ANG_XX", "1040_ITH_SAD_XX"))
    (utterance,) = read_crema_d(tmp_path)
    assert (utterance.name, utterance.label) == ("1040_ITH_SAD_X", "sadness")
    assert utterance.votes["voice"]["anger"] == 7


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (VOTES.replace('"100002"', '"900002"'), "line 5: expected a row number"),
        (VOTES.replace(",7,0", ",x,0"), "line 5: expected a row number"),
        (VOTES.replace('"S",', ""), "line 1: no column 'S'"),
        (VOTES + '"100003",1', "line 6: too few values"),
    ],
)
def test_names_the_line_of_a_broken_table_of_votes(tmp_path, table, message):
    make_files(tmp_path, "AudioWAV/1001_IEO_HAP_HI.wav")
    (tmp_path / "tabulatedVotes.csv").write_text(table)
    with pytest.raises(AnnotationError, match=message):
        read_crema_d(tmp_path)


MELD = """Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime
1,"Well, hello.",Joey,joy,positive,0,0,8,21,"00:16:16,059","00:16:21,731"
2,No.,The Waiter,neutral,neutral,0,1,8,21,"00:16:21,940","00:16:23,442"
3,Lost file,Joey,fear,negative,125,3,8,21,"00:16:21,940","00:16:23,442"
"""


def make_meld(root):
    """Write the published layout, with sound in one of the clips."""
    make_files(root, "train_splits/dia0_utt1.mp4", "train_splits/._dia0_utt1.mp4", "dev_splits_complete/dia0_utt0.mp4")
    make_files(root, "output_repeated_splits_test/final_videos_testdia0_utt0.mp4")
    write_clip(root / "train_splits/dia0_utt0.mp4", sound="aac")
    (root / "train_sent_emo.csv").write_text(MELD)
    (root / "dev_sent_emo.csv").write_text(MELD)
    (root / "test_sent_emo.csv").write_text(MELD)


def test_reads_meld_with_splits_and_without_lost_clips(tmp_path):
    make_meld(tmp_path)
    utterances = {utterance.name: utterance for utterance in read_meld(tmp_path)}
    assert sorted(utterances) == ["train_dia0_utt0", "train_dia0_utt1", "valid_dia0_utt0"]
    first = utterances["train_dia0_utt0"]
    assert (first.speaker, first.label, first.split, first.text) == ("Joey", "happiness", "train", "Well, hello.")
    assert utterances["train_dia0_utt1"].speaker == "The Waiter"
    assert utterances["valid_dia0_utt0"].split == "valid"
    assert len(read_audio(first.read())) > 16000
    assert first.read_video() == first.read()


def test_reads_a_zip_file_of_meld_with_short_folders(tmp_path):
    path = tmp_path / "meld.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MELD.Raw/test_sent_emo.csv", MELD.encode("utf-8-sig"))
        archive.writestr("MELD.Raw/test/dia0_utt1.mp4", b"clip")
    (utterance,) = read_meld(path)
    assert (utterance.name, utterance.split, utterance.read()) == ("test_dia0_utt1", "test", b"clip")


def test_names_the_line_of_an_unknown_class_of_meld(tmp_path):
    make_meld(tmp_path)
    (tmp_path / "dev_sent_emo.csv").write_text(MELD.replace("neutral,neutral", "bored,neutral"))
    with pytest.raises(AnnotationError, match=r"dev_sent_emo.csv, line 3: 'bored' is not a class"):
        read_meld(tmp_path)
    with pytest.raises(LayoutError, match=r"train_sent_emo\.csv"):
        read_meld(tmp_path / "train_splits")


IEMOCAP = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M001\texc\t[4.5000, 4.0000, 2.5000]
[14.8872 - 18.0175]\tSes01F_impro01_F002\txxx\t[2.5000, 2.5000, 2.5000]
[19.2900 - 20.7875]\tSes01F_impro01_F003\tfru\t[2.5000, 4.0000, 2.5000]
[21.0000 - 22.0000]\tSes01F_impro01_F004\tsad\t[2.5000, 2.5000, 2.5000]
"""


def make_iemocap(root):
    evaluation = root / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    make_files(root, str(evaluation.relative_to(root)), "Session1/dialog/EmoEvaluation/Categorical/Ses01F_impro01.txt")
    make_files(root, "Session1/dialog/wav/Ses01F_impro01.wav", "Session1/dialog/avi/DivX/Ses01F_impro01.avi")
    evaluation.write_text(IEMOCAP)
    folder = root / "Session1/sentences/wav/Ses01F_impro01"
    folder.mkdir(parents=True)
    for name in ("F000", "M001", "F002", "F003"):
        write_audio(folder / f"Ses01F_impro01_{name}.wav", tone(1.0))


def test_reads_classes_arousal_and_times_of_iemocap(tmp_path):
    make_iemocap(tmp_path)
    neutral, excited = read_iemocap(tmp_path)
    assert (neutral.name, neutral.speaker, neutral.label) == ("Ses01F_impro01_F000", "01F", "neutral")
    assert (excited.speaker, excited.label, excited.arousal) == ("01M", "happiness", 0.5)
    assert (neutral.start_s, neutral.end_s) == (6.2901, 8.2357)
    assert neutral.read_video() == excited.read_video() == b"Session1/dialog/avi/DivX/Ses01F_impro01.avi"
    assert len(read_audio(neutral.read())) == 16000


def test_iemocap_without_labels_is_another_layout(tmp_path):
    make_iemocap(tmp_path)
    (tmp_path / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt").unlink()
    with pytest.raises(LayoutError, match="EmoEvaluation"):
        read_iemocap(tmp_path)


def test_perceived_arousal_precedes_that_of_the_class(tmp_path):
    make_iemocap(tmp_path)
    neutral, excited = read_iemocap(tmp_path)
    assert not neutral.is_high_arousal
    assert excited.is_high_arousal
    assert dataclasses.replace(neutral, arousal=0.2).is_high_arousal
    assert not dataclasses.replace(neutral, arousal=None).is_high_arousal
    assert dataclasses.replace(excited, arousal=None).is_high_arousal


def test_corpus_without_permission_is_a_data_set_error(tmp_path, monkeypatch):
    deny(monkeypatch, tmp_path / "locked")
    with pytest.raises(DatasetError, match=r"locked/emodb: cannot be read: permission denied\.$"):
        read_emodb(tmp_path / "locked/emodb")
