"""Archives of bundles: what is unpacked, and what is refused before it does harm."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from gpudoctor.bundle import NotABundle, unpack

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))


def tar(*members: tuple[str, bytes | str], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar: bytes are a file's, a text is what kind of member and its target (``link:x``, ``hard:x``, ``fifo``, ``char``, ``dir``)."""
    kinds = {
        "link": tarfile.SYMTYPE,
        "hard": tarfile.LNKTYPE,
        "fifo": tarfile.FIFOTYPE,
        "char": tarfile.CHRTYPE,
        "dir": tarfile.DIRTYPE,
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, what in members:
            info = tarfile.TarInfo(name)
            if isinstance(what, bytes):
                info.size, info.mode = len(what), 0o6755
                archive.addfile(info, io.BytesIO(what))
            else:
                kind, _, target = what.partition(":")
                info.type, info.linkname = kinds[kind], target
                archive.addfile(info)
    return out.getvalue()


def tried(tmp_path, data: bytes, name: str = "bundle.tar") -> str:
    """Unpack an archive of these bytes and return the folder."""
    (tmp_path / name).write_bytes(data)
    into = tmp_path / "into"
    into.mkdir(exist_ok=True)
    return unpack.unpacked(str(tmp_path / name), str(into))


def refused(tmp_path, data: bytes, name: str = "bundle.tar"):
    """Return the check with which an archive is refused."""
    with pytest.raises(NotABundle) as raised:
        tried(tmp_path, data, name)
    return raised.value.check


GOOD = tar(
    ("top/bentoml.yml", b"kind: BentoService\n"),
    ("top/code", "dir"),
    ("top/code/a.py", b"x = 1\n"),
    ("top/same.py", "link:code/a.py"),
)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["tar", "gz", "bz2", "xz"])
def test_tars_are_unpacked_whatever_their_compression(tmp_path, pack):
    """The bytes, a link inside, and the bit that makes a file run are there; set-uid bits are not; a container's user can read all."""
    folder = tried(tmp_path, pack(GOOD))
    assert Path(f"{folder}/top/bentoml.yml").read_text() == "kind: BentoService\n"
    assert os.readlink(f"{folder}/top/same.py") == "code/a.py"
    assert stat.S_IMODE(os.stat(f"{folder}/top/code/a.py").st_mode) == 0o755
    assert stat.S_IMODE(os.stat(f"{folder}/top/code").st_mode) == 0o755


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_long_names_and_later_members_of_one_name(tmp_path, form):
    """Names and link targets beyond 100 letters are whole in both forms, and of two members of one name the later one stays."""
    long = "/".join(["folder-" + "x" * 40] * 4)
    data = tar(
        (f"{long}/ä", b"1"),
        ("link", f"link:{long}/ä"),
        ("again", b"old"),
        ("again", b"new"),
        ("hard", f"hard:{long}/ä"),
        form=form,
    )
    folder = tried(tmp_path, data)
    assert Path(f"{folder}/link").read_text() == Path(f"{folder}/hard").read_text() == "1"
    assert Path(f"{folder}/again").read_text() == "new"


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([("../evil", b"x")], "leads out"),
        ([("a/../../evil", b"x")], "leads out"),
        ([("/tmp/evil", b"x")], "absolute"),
        ([("a", "link:../../evil")], "link to"),
        ([("a", "link:/etc")], "link to"),
        ([("a", "link:/etc"), ("a/passwd", b"x")], "link to"),
        ([("d", "dir"), ("a", "link:d"), ("a/x", b"x")], "through it"),
        ([("d/e/x", "link:../.."), ("z", "link:d/e/x/../..")], "leads out"),
        ([("a", "link:a")], "itself"),
        ([("a", "hard:../evil")], "leads out"),
        ([("a", "hard:/etc/passwd")], "absolute"),
        ([("fifo", "fifo")], "a FIFO"),
        ([("dev", "char")], "a character device"),
        ([("/".join("d" * 200), b"x")], "folders deep"),
    ],
)
def test_what_leads_out_is_refused_and_nothing_is_written_outside(tmp_path, members, why):
    """Dot-dot, absolute names, links out, writing through links, hard links out and devices are refused."""
    check = refused(tmp_path, tar(*members))
    assert check.check == "archive-unsafe"
    assert why in check.text
    assert sorted(os.listdir(tmp_path)) == ["bundle.tar", "into"]


def test_a_bomb_of_size_ends_early(tmp_path, monkeypatch):
    """What is written is counted: too many bytes, too large a ratio and too many members each end it."""
    zeros = tar(("zeros", bytes(8 << 20)))
    monkeypatch.setattr(unpack, "MOST_BYTES", 4 << 20)
    assert "GiB" in refused(tmp_path, zeros).text
    monkeypatch.setattr(unpack, "MOST_BYTES", 1 << 40)
    monkeypatch.setattr(unpack, "RATIO_COUNTS_FROM", 1 << 20)
    monkeypatch.setattr(unpack, "MOST_RATIO", 100)
    assert "times its size" in refused(tmp_path, gzip.compress(zeros)).text
    monkeypatch.setattr(unpack, "MOST_MEMBERS", 3)
    assert "members" in refused(tmp_path, tar(*[(f"f{at}", b"") for at in range(5)])).text


def test_a_size_in_the_header_is_not_believed(tmp_path):
    """A member that says it has a tebibyte, and has ten bytes, is cut off, not waited or allocated for."""
    info = tarfile.TarInfo("big")
    info.size = 1 << 40
    check = refused(tmp_path, info.tobuf(tarfile.GNU_FORMAT) + b"x" * 10)
    assert check.check == "archive-unreadable"


def test_the_header_of_a_long_name_is_bounded(tmp_path):
    """A name's header of 100 MiB is refused by its length, before it is read."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 100 << 20
    assert refused(tmp_path, info.tobuf(tarfile.GNU_FORMAT)).check == "archive-unsafe"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["tar", "gz", "bz2", "xz"])
def test_damage_is_a_clean_answer(tmp_path, pack):
    """Cut at every fiftieth, or with a byte turned, an archive is unpacked or refused, and nothing else happens."""
    data = pack(GOOD)
    codes = set()
    for at in range(0, len(data), max(len(data) // 50, 1)):
        turned = bytes((*data[:at], data[at] ^ 0x55, *data[at + 1 :]))
        for damaged in (data[:at], turned):
            try:
                tried(tmp_path, damaged)
            except NotABundle as refusal:
                codes.add(refusal.check.check)
    assert "archive-unreadable" in codes
    assert codes <= {"archive-unreadable", "archive-unsafe"}


def test_zips_are_unpacked_with_their_links_and_windows_names(tmp_path):
    """A zip's files, folders and links are there, and a backslash is a folder's separator."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("top\\bento.yaml", "name: x")
        link = zipfile.ZipInfo("top/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "bento.yaml")
        archive.writestr("empty/", "")
    folder = tried(tmp_path, out.getvalue(), "b.zip")
    assert Path(f"{folder}/top/link").read_text() == "name: x"
    assert os.listdir(f"{folder}/empty") == []


def zipped(name: str, data: bytes = b"x", mode: int = 0, **changes: int) -> bytes:
    """Return a zip of one member, with fields of its headers changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, data)
    made = bytearray(out.getvalue())
    central = made.find(b"PK\x01\x02")
    if "flags" in changes:
        made[6] = made[central + 8] = changes["flags"]
    if "method" in changes:
        made[8] = made[central + 10] = changes["method"]
    return bytes(made)


@pytest.mark.parametrize(
    ("data", "check", "why"),
    [
        (zipped("../evil"), "archive-unsafe", "leads out"),
        (zipped("a\\..\\..\\evil"), "archive-unsafe", "leads out"),
        (zipped("/evil"), "archive-unsafe", "absolute"),
        (zipped("link", b"/etc", 0o120777), "archive-unsafe", "link to"),
        (zipped("link", b"..", 0o120777), "archive-unsafe", "link to"),
        (zipped("dev", b"", 0o020666), "archive-unsafe", "device"),
        (zipped("locked", flags=1), "archive-unreadable", "password"),
        (zipped("odd", method=99), "archive-unreadable", "compressed"),
        (zipped("cut")[:-30], "archive-unreadable", "directory"),
    ],
)
def test_zips_that_are_refused(tmp_path, data, check, why):
    """What leads out, a device, a password, an unknown compression and a cut archive each get their own sentence."""
    refusal = refused(tmp_path, data, "b.zip")
    assert refusal.check == check
    assert why in refusal.text


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"7z\xbc\xaf\x27\x1c rest", "7z"),
        (b"Rar!\x1a\x07 rest", "rar"),
        (b"plain text", "neither a tar nor a zip"),
        (gzip.compress(b"a text, no tar" * 100, mtime=0), "no tar"),
    ],
)
def test_what_is_no_archive_of_ours_says_what_it_is(tmp_path, data, why):
    """Other archives, nothing, and a compressed file that is no tar are named."""
    refusal = refused(tmp_path, data, "b.tar")
    assert refusal.check == "archive-unreadable"
    assert why in refusal.text


def test_xz_that_wants_gigabytes_of_memory_is_refused(tmp_path):
    """The dictionary's size in a header is what the reader has to allocate, so it has a limit: here 1.5 GiB is asked."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1536 << 20, "preset": 0}]
    try:
        data = lzma.compress(GOOD, filters=filters)
    except MemoryError:
        pytest.skip("needs the memory to make such an archive")
    assert refused(tmp_path, data).check == "archive-unreadable"


def test_a_large_archive_takes_little_memory(tmp_path):
    """A hundred and fifty mebibytes pass through in pieces: the process stays below 60 MiB."""
    (tmp_path / "into").mkdir()
    info = tarfile.TarInfo("model.onnx")
    info.size = 150 << 20
    with gzip.open(tmp_path / "big.tar.gz", "wb", compresslevel=1) as out:
        out.write(info.tobuf())
        piece = os.urandom(1 << 12) * 256
        for _ in range(150):
            out.write(piece)
        out.write(bytes(1024))
    code = (
        "import sys\nfrom gpudoctor.bundle.unpack import unpacked\nunpacked(sys.argv[1], sys.argv[2])\n"
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    argv = [sys.executable, "-c", code, str(tmp_path / "big.tar.gz"), str(tmp_path / "into")]
    ran = subprocess.run(argv, capture_output=True, check=True, cwd=ROOT)
    assert int(ran.stdout) < 60 * 1024
    assert os.path.getsize(tmp_path / "into" / "model.onnx") == 150 << 20
