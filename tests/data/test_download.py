from __future__ import annotations

import errno
import functools
import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from snnexp.data import download as module
from snnexp.data.base import DataError
from snnexp.data.download import OFFLINE, Remote, download, download_and_unpack

CONTENT = bytes(range(256)) * 4000


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; may cut answers, and forget ranges, as real servers do."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut_after: list[int] = []
        self.ranges = True
        self.etag = '"one"'
        self.asked: list[tuple[str, str | None]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up early is part of these tests."""

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        content = self.server.files.get(self.path[1:])
        if content is None:
            self.send_error(404)
            return
        start = 0
        same = self.headers.get("If-Range") in (None, self.server.etag)
        if wanted and self.server.ranges and same:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", self.server.etag)
        self.end_headers()
        body = content[start:]
        if self.server.cut_after:
            body = body[: self.server.cut_after.pop(0)]
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


def remote(server: Server, name: str, content: bytes, checksum: str | None = "right") -> Remote:
    server.files[name] = content
    return Remote(
        name=name,
        urls=(server.url(name),),
        checksum=md5(content) if checksum == "right" else checksum,
        title="Test Data v1",
    )


fast = functools.partial(download, pause=0.0)
fast_unpack = functools.partial(download_and_unpack, pause=0.0)


def test_a_file_arrives_whole_and_is_not_fetched_twice(server: Server, tmp_path: Path) -> None:
    file = remote(server, "a.bin", CONTENT)
    assert fast(file, tmp_path).read_bytes() == CONTENT
    fast(file, tmp_path)
    assert len(server.asked) == 1
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".lock"] == ["a.bin"]


@pytest.mark.parametrize("checksum", ["right", None])
def test_a_cut_connection_is_resumed(server: Server, tmp_path: Path, checksum: str | None) -> None:
    server.cut_after = [300_000, 200_000]
    assert fast(remote(server, "a.bin", CONTENT, checksum), tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, "bytes=300000-", "bytes=500000-"]


def test_what_one_call_kept_the_next_goes_on_with(server: Server, tmp_path: Path) -> None:
    file = remote(server, "a.bin", CONTENT)
    server.cut_after = [300_000, 0, 0, 0, 0]
    with pytest.raises(DataError, match=r"byte 300,000 of 1,024,000.*300,000 bytes are kept"):
        fast(file, tmp_path)
    assert (tmp_path / "a.bin.part").stat().st_size == 300_000
    server.cut_after = []
    server.asked.clear()
    assert fast(file, tmp_path).read_bytes() == CONTENT
    assert server.asked == [("/a.bin", "bytes=300000-")]


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cut_after = False, [300_000]
    assert fast(remote(server, "a.bin", CONTENT), tmp_path).read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_not_glued_to_the_old_part(
    server: Server, tmp_path: Path
) -> None:
    file = remote(server, "a.bin", CONTENT, checksum=None)
    server.cut_after = [1000, 0, 0, 0, 0]
    with pytest.raises(DataError):
        fast(file, tmp_path)
    server.cut_after, server.etag = [], '"two"'
    server.files["a.bin"] = CONTENT[::-1]
    assert fast(file, tmp_path).read_bytes() == CONTENT[::-1]


def test_a_complete_part_is_taken(server: Server, tmp_path: Path) -> None:
    file = remote(server, "a.bin", CONTENT)
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    assert fast(file, tmp_path).read_bytes() == CONTENT


def test_a_wrong_checksum_is_refused_and_removed(server: Server, tmp_path: Path) -> None:
    file = remote(server, "a.bin", CONTENT, checksum=md5(b"something else"))
    with pytest.raises(DataError, match=r"damaged: its md5 is .* expected"):
        fast(file, tmp_path)
    assert not list(tmp_path.glob("a.bin*"))


def test_a_damaged_file_put_there_by_hand_is_named_and_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"half")
    with pytest.raises(DataError, match=r"a\.bin is damaged.*Delete it"):
        fast(remote(server, "a.bin", CONTENT), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == b"half"
    assert not server.asked


def test_the_second_address_serves_where_the_first_has_nothing(
    server: Server, tmp_path: Path
) -> None:
    file = remote(server, "a.bin", CONTENT)
    both = Remote(
        name="a.bin",
        urls=(server.url("gone"), *file.urls),
        checksum=file.checksum,
        title=file.title,
    )
    assert fast(both, tmp_path).read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == ["/gone", "/a.bin"]


def test_no_network_says_what_from_where_to_where(tmp_path: Path) -> None:
    file = Remote(
        name="a.tar.gz",
        urls=("http://127.0.0.1:9/a.tar.gz",),
        checksum="md5:00",
        title="Test Data v1",
    )
    with pytest.raises(DataError) as caught:
        fast_unpack(file, tmp_path / "data" / "a", tries=2)
    said = str(caught.value)
    for part in ("Test Data v1", "http://127.0.0.1:9/a.tar.gz", "md5:00", str(tmp_path / "data")):
        assert part in said
    assert not (tmp_path / "data" / "a").exists()


def test_a_folder_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"could not be stored in .*file/below.*data_dir"):
        fast(remote(server, "a.bin", CONTENT), tmp_path / "file" / "below")


def test_a_disk_without_room_is_told_before_the_first_byte(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"Test Data v1 could not be stored.*disk is full"):
        fast(remote(server, "a.bin", CONTENT), tmp_path)


def tar(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, to in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, to
            archive.addfile(info)
    return packed.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


GOOD = {"./yes/a.wav": b"1" * 5000, "./LICENSE": b"free"}


@pytest.mark.parametrize(("name", "pack"), [("a.tar.gz", tar), ("a.zip", zipped)])
def test_an_archive_becomes_a_folder_with_a_manifest(
    server: Server, tmp_path: Path, name: str, pack: object
) -> None:
    assert callable(pack)
    file = remote(server, name, pack(GOOD))
    target = fast_unpack(file, tmp_path / "data" / "set")
    assert (target / "yes" / "a.wav").read_bytes() == GOOD["./yes/a.wav"]
    manifest = json.loads((target / "manifest.json").read_text())
    assert manifest["files"] == 2
    assert manifest["checksum"] == file.checksum
    assert not (target.parent / name).exists()
    fast_unpack(file, target)
    assert len(server.asked) == 1


def test_an_archive_put_there_by_hand_is_unpacked_and_kept(server: Server, tmp_path: Path) -> None:
    file = remote(server, "a.tar.gz", tar(GOOD))
    (tmp_path / "a.tar.gz").write_bytes(tar(GOOD))
    by_hand = Remote(name="a.tar.gz", urls=file.urls, checksum=None, title=file.title)
    target = fast_unpack(by_hand, tmp_path / "set")
    assert (target / "LICENSE").read_bytes() == b"free"
    assert (tmp_path / "a.tar.gz").exists()
    assert not server.asked
    assert json.loads((target / "manifest.json").read_text())["checksum"].startswith("sha256:")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tar.gz", tar({"../evil.txt": b"x"})),
        ("a.tar.gz", tar({"/tmp/evil.txt": b"x"})),
        ("a.tar.gz", tar({"ok.txt": b"x"}, links={"link": "/etc"})),
        ("a.zip", zipped({"../evil.txt": b"x"})),
    ],
)
def test_a_malicious_archive_leaves_nothing(
    server: Server, tmp_path: Path, name: str, content: bytes
) -> None:
    target = tmp_path / "data" / "set"
    with pytest.raises(DataError, match=r"evil\.txt|link"):
        fast_unpack(remote(server, name, content), target)
    assert not list(tmp_path.rglob("evil.txt"))
    assert not list(tmp_path.rglob("ok.txt"))
    assert not target.exists()


@pytest.mark.parametrize("content", [tar(GOOD)[:-40], b"not an archive", zipped(GOOD)[:-30], b""])
def test_a_damaged_archive_is_named_and_leaves_no_folder(
    server: Server, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.tar.gz").write_bytes(content)
    file = Remote(name="a.tar.gz", urls=("http://x",), checksum=None, title="Test Data v1")
    with pytest.raises(DataError, match=r"a\.tar\.gz is damaged"):
        fast_unpack(file, tmp_path / "set")
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".lock") == ["a.tar.gz"]


def test_a_disk_that_fills_while_unpacking_leaves_no_folder(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("snnexp.data.unpack.shutil.copyfileobj", full)
    with pytest.raises(DataError, match="the disk is full"):
        fast_unpack(remote(server, "a.tar.gz", tar(GOOD)), tmp_path / "set")
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".lock"] == ["a.tar.gz"]


def test_offline_nothing_is_fetched_and_nothing_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote(name="a.zip", urls=("http://example.org/a.zip",), checksum=None, title="A")
    monkeypatch.setenv(OFFLINE, "1")
    for fetch, target in ((download, tmp_path / "x"), (download_and_unpack, tmp_path / "x" / "a")):
        with pytest.raises(DataError, match="A is not there, and downloads are off"):
            fetch(remote, target)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.zip").write_bytes(b"x")
    assert download(remote, tmp_path) == tmp_path / "a.zip"
