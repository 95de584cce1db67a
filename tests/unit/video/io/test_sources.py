"""Video sources: files that are not a video, image sequences, streams and cameras."""

from __future__ import annotations

import http.server
import io
import os
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.errors import InputError, MissingExtraError, VideoReadError
from mien.video.io import sources
from mien.video.io.reader import VideoReader

av = pytest.importorskip("av")

from support.clips import FRAGMENTED, assert_same, cut, difference, numbered, read, steady, write_clip, write_sound  # noqa: E402


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", sound="aac")


# --- files that are not a video


def test_rejects_missing_file(tmp_path: Path):
    with pytest.raises(VideoReadError, match=r"no such file or directory\.$"):
        read(tmp_path / "missing.mp4")


def test_missing_file_named_by_number_suggests_a_camera():
    with pytest.raises(VideoReadError, match=r"7: no such file or directory. For a camera write camera:7"):
        read("7")


def test_rejects_empty_file(tmp_path: Path):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(VideoReadError, match=r"empty.mp4 is empty \(0 bytes\)"):
        read(tmp_path / "empty.mp4")


def test_rejects_folder_without_images(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(VideoReadError, match="no images found in"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["notes.txt", "notes.mp4"])
def test_rejects_text(tmp_path: Path, name: str):
    (tmp_path / name).write_text("Plain text.\n" * 50)
    with pytest.raises(VideoReadError, match=f"{name} is not a readable video"):
        read(tmp_path / name)


def test_rejects_zip(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "clip.zip", "w") as archive:
        archive.writestr("notes.txt", "text" * 100)
    with pytest.raises(VideoReadError, match="is not a readable video"):
        read(tmp_path / "clip.zip")


def test_rejects_random_bytes(tmp_path: Path):
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(20000))
    with pytest.raises(VideoReadError, match=r"noise.mp4"):
        read(tmp_path / "noise.mp4")


def test_rejects_audio_file(tmp_path: Path):
    path = write_sound(tmp_path / "voice.wav", "pcm_s16le")
    with pytest.raises(VideoReadError, match=r"voice.wav has audio but no video"):
        read(path)


def test_rejects_audio_with_a_cover(tmp_path: Path):
    path = write_sound(tmp_path / "song.mp3", "mp3")
    image = io.BytesIO()
    Image.fromarray(numbered(0)).save(image, format="JPEG")
    body = b"\0image/jpeg\0\3\0" + image.getvalue()
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\0\0" + body
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\3\0\0" + size + frame + path.read_bytes())
    with pytest.raises(VideoReadError, match=r"song.mp3 has audio but no video"):
        read(path)


def test_rejects_broken_image(tmp_path: Path):
    (tmp_path / "face.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    with pytest.raises(VideoReadError, match=r"face.png"):
        read(tmp_path / "face.png")


@pytest.mark.parametrize("options", [{"fps": 0}, {"fps": float("nan")}, {"max_side": 0}])
def test_rejects_arguments_out_of_range(clip: Path, options: dict[str, Any]):
    with pytest.raises(InputError):
        VideoReader(clip, **options)


def test_images_do_not_need_pyav(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.fromarray(numbered(0)).save(tmp_path / "0.png")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"mien\[video\]"):
        read(clip)
    assert len(read(tmp_path)) == 1


# --- image sequences


def test_folder_of_images_in_natural_order(tmp_path: Path):
    for index in (0, 1, 2, 9, 10, 11):
        Image.fromarray(numbered(index)).save(tmp_path / f"frame{index}.png")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_bytes(b"no image")
    with VideoReader(tmp_path, fps=2) as reader:
        assert reader.info.size_hw == (48, 64)
        assert (reader.info.fps, reader.info.duration_s, reader.info.frames) == (2, 3.0, 6)
        frames = list(reader)
    assert [frame.timestamp_s for frame in frames] == [0, 0.5, 1, 1.5, 2, 2.5]
    for frame, number in zip(frames, (0, 1, 2, 9, 10, 11), strict=True):
        np.testing.assert_array_equal(frame.image, numbered(number))


def test_pattern_of_numbered_files(tmp_path: Path):
    for index in (1, 2, 5, 12000):
        Image.fromarray(numbered(index)).save(tmp_path / f"a{index:04d}.png")
    Image.fromarray(numbered(0)).save(tmp_path / "b0001.png")
    frames = read(str(tmp_path / "a%04d.png"))
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    np.testing.assert_array_equal(frames[3].image, numbered(12000))
    assert frames[1].timestamp_s == pytest.approx(0.04)
    with pytest.raises(VideoReadError, match="no image matches"):
        read(tmp_path / "c%d.png")


def test_fits_images_of_other_sizes_without_distortion(tmp_path: Path):
    Image.fromarray(numbered(0)).save(tmp_path / "0.png")
    Image.fromarray(np.full((64, 64, 3), 200, dtype=np.uint8)).save(tmp_path / "1.png")
    image = read(tmp_path)[1].image
    assert image.shape == (48, 64, 3)
    assert (image[:, 8:56] == 200).all()
    assert not image[:, :8].any()
    assert not image[:, 56:].any()


def test_counts_broken_images(tmp_path: Path):
    for index in range(4):
        Image.fromarray(numbered(index)).save(tmp_path / f"{index}.png")
    (tmp_path / "0.png").write_bytes(b"broken")
    (tmp_path / "2.png").write_bytes(b"broken")
    with VideoReader(tmp_path) as reader:
        assert [frame.index for frame in reader] == [1, 3]
        assert reader.broken == 2


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_broken_link_is_a_broken_frame_of_its_folder(tmp_path: Path):
    Image.fromarray(numbered(0)).save(tmp_path / "0.png")
    (tmp_path / "1.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "2.png").symlink_to("0.png")
    (tmp_path / "3.heic").symlink_to(tmp_path / "gone.heic")
    with VideoReader(tmp_path) as reader:
        assert [(frame.index, frame.timestamp_s) for frame in reader] == [(0, 0), (2, 2 / 25)]
        left_out, broken = reader.problems
        assert left_out == f"left out 1 file of {tmp_path} that cannot be read: 3.heic."
        assert broken.startswith(f"{tmp_path / '1.png'}")


def test_names_images_that_are_left_out_or_broken(tmp_path: Path):
    Image.fromarray(numbered(0)).save(tmp_path / "5.png")
    for name in ("a.heic", "b.NEF", "c.heic", "d.svg", ".hidden.heic"):
        (tmp_path / name).touch()
    for index in (1, 2, 3, 4, 6):
        (tmp_path / f"{index}.png").write_bytes(b"broken")
    with VideoReader(tmp_path) as reader:
        assert [frame.index for frame in reader] == [4]
        left_out, *broken, others = reader.problems
        assert left_out == f"left out 4 files of {tmp_path} that cannot be read: a.heic, b.NEF, c.heic, ..."
        assert broken == [f"{tmp_path / f'{index}.png'} is not an image in a supported format." for index in (1, 2, 3)]
        assert others == "2 more images could not be read."
        reader.skip_to(4, 4 / 25)
        assert reader.problems == [left_out]


def test_other_sources_have_no_problems(clip: Path):
    with VideoReader(clip) as reader:
        assert reader.problems == []


def test_names_broken_frame_of_an_animation(tmp_path: Path):
    images = [Image.fromarray(numbered(index)) for index in range(5)]
    images[0].save(tmp_path / "clip.gif", save_all=True, append_images=images[1:])
    cut(tmp_path / "clip.gif", 0.9)
    with VideoReader(tmp_path / "clip.gif") as reader:
        assert len(list(reader)) == 4
        (problem,) = reader.problems
    assert problem.startswith(f"{tmp_path / 'clip.gif'}: frame 4 cannot be decoded: ")


def test_rejects_folder_of_broken_images(tmp_path: Path):
    (tmp_path / "0.png").write_bytes(b"broken")
    with pytest.raises(VideoReadError, match=r"0.png is not an image"):
        read(tmp_path)


def test_rejects_folder_of_images_that_are_not_read(tmp_path: Path):
    (tmp_path / "a.heic").touch()
    with pytest.raises(VideoReadError) as caught:
        read(tmp_path)
    assert str(caught.value) == f"left out 1 file of {tmp_path} that cannot be read: a.heic."


@pytest.mark.parametrize("name", ["", "%04d.png"])
@pytest.mark.parametrize("method", ["iterdir", "is_dir"])
def test_rejects_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, method: str):
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, method, refuse)
    with pytest.raises(VideoReadError, match=r"cannot be read: permission denied\.$"):
        read(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
@pytest.mark.parametrize("is_video", [True, False])
def test_reads_a_named_pipe_once(tmp_path: Path, is_video: bool):
    source = write_clip(tmp_path / "clip.mp4", container_options=FRAGMENTED)
    data = source.read_bytes() if is_video else source.read_bytes()[4:12] * 500
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[data], daemon=True)
    writer.start()
    # A second open of the pipe would wait for another writer.
    script = "import sys; from support.clips import read; print(len(read(sys.argv[1])))"
    command = [sys.executable, "-c", script, str(tmp_path / "pipe")]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=60)
    writer.join(10)
    if is_video:
        assert done.stdout == "30\n"
    else:
        assert done.stderr.endswith("pipe is not a readable video.\n")


def test_image_is_one_frame_with_exif_orientation(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(numbered(0)).save(tmp_path / "face.jpg", quality=95, exif=exif)
    frames = read(tmp_path / "face.jpg")
    assert len(frames) == 1
    assert frames[0].image.shape == (64, 48, 3)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animated_images(tmp_path: Path, suffix: str):
    images = [Image.fromarray(numbered(index)) for index in range(5)]
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    durations = [100, 200, 50, 400, 100]
    path = tmp_path / f"clip.{suffix}"
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, **options)
    expected = read(path)
    assert [frame.timestamp_s for frame in expected] == pytest.approx([0, 0.1, 0.3, 0.35, 0.75])
    for frame in expected:
        assert difference(frame.image, numbered(frame.index)) < 3
    with VideoReader(path) as reader:
        reader.skip_to(1, 0.1)
        assert_same(list(reader), expected[2:])


# --- streams and cameras


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_reads_http(tmp_path: Path, server: str):
    path = write_clip(tmp_path / "clip.mkv", times_s=steady(15))
    with VideoReader(f"{server}/clip.mkv") as reader:
        assert not reader.info.is_live
        assert_same(list(reader), read(path))


@pytest.mark.parametrize("name", ["clip.ts", "clip.webm"])
def test_file_on_a_web_server_without_a_duration_is_not_live(tmp_path: Path, server: str, name: str):
    codec, options = ("libvpx", {"live": "1"}) if name == "clip.webm" else ("libx264", {})
    path = write_clip(tmp_path / name, codec, times_s=steady(15), container_options=options)
    with VideoReader(f"{server}/{name}") as reader:
        assert reader.info.duration_s is None
        assert not reader.info.is_live
        assert_same(list(reader), read(path))


def test_playlist_without_an_end_is_live(tmp_path: Path, server: str):
    write_clip(tmp_path / "part.ts", times_s=steady(20))
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:2", "#EXTINF:2.0,", "part.ts", ""]
    (tmp_path / "live.m3u8").write_text("\n".join(lines))
    with VideoReader(f"{server}/live.m3u8", timeout_s=1) as reader:
        assert reader.info.is_live
        next(reader)


@pytest.fixture
def live_stream(tmp_path: Path) -> Iterator[tuple[str, threading.Event]]:
    """Serve half of a transport stream, and the rest after an event."""
    data = write_clip(tmp_path / "live.ts", times_s=steady(60)).read_bytes()
    half = len(data) // 2
    resume = threading.Event()

    class Live(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(data[:half])
            self.wfile.flush()
            resume.wait(20)
            with suppress(OSError):
                self.wfile.write(data[half:])

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Live) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/live.ts", resume
        resume.set()
        running.shutdown()


def test_stream_without_a_size_is_live_and_ends_with_its_connection(live_stream: tuple[str, threading.Event]):
    url, resume = live_stream
    with VideoReader(url, timeout_s=5) as reader:
        assert reader.info.is_live
        resume.set()
        assert len(list(reader)) == 60
        assert (reader.is_truncated, reader.has_failed, reader.problems) == (False, False, [])


def test_stream_may_pause_for_longer_than_it_takes_to_open(live_stream: tuple[str, threading.Event]):
    url, resume = live_stream
    with VideoReader(url, timeout_s=0.5) as reader:
        threading.Timer(1.2, resume.set).start()
        assert len(list(reader)) == 60


def test_stream_that_stops_sending_has_failed(
    live_stream: tuple[str, threading.Event], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sources, "READ_TIMEOUT_S", 0.5)
    url, _ = live_stream
    with VideoReader(url) as reader:
        assert 0 < len(list(reader)) < 60
        assert (reader.is_truncated, reader.has_failed) == (True, True)
        assert reader.problems == [f"{url} sent nothing for 0.5 s."]


def test_rejects_http_404(server: str):
    with pytest.raises(VideoReadError, match=r"clip.mkv cannot be reached: .*404"):
        read(f"{server}/clip.mkv")


def test_rejects_unreachable_host():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    for scheme in ("http", "rtsp"):
        with pytest.raises(VideoReadError, match=r"127.0.0.1.* cannot be reached: .*the host\.$"):
            read(f"{scheme}://127.0.0.1:{port}/clip", timeout_s=2)


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_times_out_when_host_does_not_answer(scheme: str):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        with pytest.raises(VideoReadError, match=r"did not answer within 0.3 s"):
            read(f"{scheme}://127.0.0.1:{port}/clip", timeout_s=0.3)


def test_source_name_omits_password():
    source = sources.resolve_source("rtsp://user:secret@host/one")
    assert source.name == "rtsp://host/one"
    assert source.url == "rtsp://user:secret@host/one"
    assert source.options == {"rtsp_transport": "tcp"}


def test_rejects_unknown_url_scheme():
    with pytest.raises(VideoReadError, match="unknown URL scheme"):
        read("gopher://host/clip")


@pytest.mark.skipif(sys.platform != "linux", reason="names a Linux device")
@pytest.mark.parametrize("source", [97, "camera:97"])
def test_rejects_missing_camera(source: int | str):
    with pytest.raises(VideoReadError, match=r"camera 97 .*/dev/video97"):
        read(source)


def test_camera_source_by_system(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "_dshow_name", lambda number: f"Camera {number}")
    mac = sources.camera_source("1", system="darwin")
    windows = sources.camera_source("1", 15, system="win32")
    linux = sources.camera_source("1", 15, system="linux")
    assert (mac.url, mac.format, mac.options) == ("1", "avfoundation", {"framerate": "30"})
    assert (windows.url, windows.format, windows.options) == ("video=Camera 1", "dshow", {"framerate": "15"})
    assert (linux.url, linux.format, linux.options) == ("/dev/video1", "video4linux2", {"framerate": "15"})
    with pytest.raises(VideoReadError, match="numbered from 0"):
        read(-1)


def test_camera_is_live(monkeypatch: pytest.MonkeyPatch):
    if "lavfi" not in av.formats_available:
        pytest.skip("this build of libav has no synthetic sources")
    synthetic = sources.VideoSource(name="camera 0", kind="camera", url="testsrc=size=64x48:rate=10", format="lavfi")
    monkeypatch.setattr(sources, "camera_source", lambda *_: synthetic)
    with VideoReader(0) as reader:
        assert reader.info.is_live
        assert reader.info.source == "camera 0"
        frames = [next(reader) for _ in range(25)]
        with pytest.raises(InputError, match="camera 0 is live"):
            reader.skip_to(3, 0.3)
    assert [frame.timestamp_s for frame in frames] == pytest.approx(steady(25))
    assert next(reader, None) is None
