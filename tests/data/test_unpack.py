"""Nothing of an archive lands outside its folder, whatever its members are called or are."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest

from snnexp.data.base import DataError
from snnexp.data.unpack import unpack

NAMES = ("../evil", "a/../../evil", "/evil", "a\\..\\..\\evil", "..")


def tar(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            content = b"text" if kind == tarfile.REGTYPE else b""
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path, name, mode=0o100644, content=b"text"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("first.txt", b"text")
        info = zipfile.ZipInfo(name)
        info.filename = name  # ZipInfo cuts what it finds odd
        info.external_attr = mode << 16
        archive.writestr(info, content)
    return path


def refused(archive, folder):
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(DataError, match="it was not unpacked"):
        unpack(archive, folder / "in" / "target", lambda place: None)
    after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert after == before
    assert not list((folder / "in").iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_out_of_a_tar(tmp_path, name):
    good = ("good.txt", tarfile.REGTYPE, "")
    refused(tar(tmp_path / "a.tar.gz", good, (name, tarfile.REGTYPE, "")), tmp_path)
    refused(tar(tmp_path / "b.tar.gz", good, (name, tarfile.DIRTYPE, "")), tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_out_of_a_zip(tmp_path, name):
    refused(zipped(tmp_path / "a.zip", name), tmp_path)


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
)
@pytest.mark.parametrize("target", ["/etc/passwd", "../../a.tar.gz", "good.txt"])
def test_links_and_devices_of_a_tar(tmp_path, kind, target):
    good = ("good.txt", tarfile.REGTYPE, "")
    refused(tar(tmp_path / "a.tar.gz", good, ("x", kind, target)), tmp_path)


def test_a_link_cannot_be_written_through(tmp_path):
    members = (("x", tarfile.SYMTYPE, ".."), ("x/evil", tarfile.REGTYPE, ""))
    refused(tar(tmp_path / "a.tar.gz", *members), tmp_path)


def test_links_of_a_zip(tmp_path):
    refused(zipped(tmp_path / "a.zip", "x", 0o120777, b"/etc/passwd"), tmp_path)


def test_what_is_harmless_is_unpacked(tmp_path):
    archive = tar(
        tmp_path / "a.tar.gz",
        ("./a", tarfile.DIRTYPE, ""),
        ("a/b..c.txt", tarfile.REGTYPE, ""),
        ("...", tarfile.REGTYPE, ""),
    )
    unpack(archive, tmp_path / "target", lambda place: None)
    target = tmp_path / "target"
    found = {p.relative_to(target).as_posix() for p in target.rglob("*")}
    assert found == {"a", "a/b..c.txt", "..."}
