"""A snapshot keeps every answer, and a hostile one ends in BadHost, quickly and without a trace."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tarfile
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from gpudoctor.host import Absent, Denied, Ran, Slow, Stat, Unseen
from gpudoctor.host.book import Answers, Book, Node, Recorder, Replay
from gpudoctor.host.hostfile import BadHost
from gpudoctor.host.snapshot import INDEX, MIB, is_tar, load, open_host, save
from tests.amount import FULL

if TYPE_CHECKING:
    from pathlib import Path

ANSWERS = Answers(
    {
        "/etc/docker/daemon.json": b'{"a": 1}\r\n',
        "/proc/1/environ": b"container=lxc\0PATH=/bin\0",
        "/proc/77/environ": bytes(range(256)),
        "/proc/7/comm": b"dockerd\n",
        "/etc/empty": b"",
        "/var/log/j\udcfcrgen": b"latin-1 in the name",
        "/a/../b": b"not to be unpacked",
        "/both": b"a file here",
        "/both/below": b"and a folder there",
        "/" + "/".join(["d" * 120] * 3): b"a long name",
        "/etc/shadow": Denied("/etc/shadow", "permission denied"),
        "/etc/link": Absent("/etc/target", "too many links"),
        "/old": Unseen("/old", "was never asked"),
    },
    {"/dev": ("nvidia0", "nvidiactl", "\udcff"), "/none": Absent("/none"), "/secret": Denied("/secret", "permission denied")},
    {
        "/dev/nvidia0": Stat("char", 0o666, 0, 44, None, (195, 0), None),
        "/dev/char/195:0": Stat("link", 0o777, 0, 0, 17, None, "../nvidia0"),
        "/x": Absent("/x"),
    },
    {
        ("docker", "info", "--format", "{{json .}}"): Ran(0, b'{"ServerVersion":"27.3.1"}\n', b"warning\n"),
        ("nvidia-smi", "-L"): Ran(9, b"", b"NVIDIA-SMI has failed\n"),
        ("dmesg",): Slow("dmesg", "no answer within 10 s"),
        ("rpm", "-qa"): Absent("rpm"),
    },
    {"HOME": "/root", "EMPTY": "", "DOCKER_HOST": Absent("$DOCKER_HOST")},
)
GOOD = {"schema": 1, "gpudoctor": "0", "meta": {}, "reads": {}, "lists": {}, "stats": {}, "runs": [], "envs": {}}


def _same(one: Answers, other: Answers) -> bool:
    def plain(value: Any) -> Any:
        return (type(value), value.args) if isinstance(value, Exception) else value

    def part(known: Any) -> dict[Any, Any]:
        return {key: plain(value) for key, value in known.items()}

    return all(part(a) == part(b) for a, b in zip(one, other, strict=True))


def _tar(*members: tuple[str, bytes] | tarfile.TarInfo, index: object = GOOD) -> bytes:
    """Return a plain tar of an index and more members."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        first = index if isinstance(index, bytes) else json.dumps(index).encode()
        for member in ((INDEX, first), *members) if index is not None else members:
            info, body = (member, b"") if isinstance(member, tarfile.TarInfo) else (tarfile.TarInfo(member[0]), member[1])
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return raw.getvalue()


def _info(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    return info


def _reason(folder: Path, data: bytes) -> str:
    """Load bytes as a snapshot that must be refused, and return why."""
    path = folder / "hostile.tar.gz"
    path.write_bytes(data)
    before = sorted(os.listdir(folder))
    with pytest.raises(BadHost) as caught:
        load(str(path))
    assert sorted(os.listdir(folder)) == before
    assert caught.value.path == str(path)
    assert caught.value.line == 0
    return caught.value.reason


def _refused(path: Path) -> bool:
    try:
        load(str(path))
    except BadHost:
        return True
    return False


def test_every_answer_comes_back(tmp_path: Path) -> None:
    """Bytes, odd names, links, device numbers, misses with their kind and reason all come back as they were."""
    path = tmp_path / "host.tar.gz"
    path.write_bytes(save(ANSWERS, {"taken": "2026-01-01"}))
    assert _same(load(str(path)).answers, ANSWERS)


def test_same_answers_give_the_same_bytes() -> None:
    """The order in which questions were asked, the clock and the user do not show in a snapshot."""
    turned = Answers(*(dict(reversed(part.items())) for part in ANSWERS))  # type: ignore[arg-type]
    data = save(ANSWERS, {"a": "1", "b": "2"})
    assert save(turned, {"b": "2", "a": "1"}) == data
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {(each.mtime, each.uid, each.gid, each.uname, each.mode) for each in tar} == {(0, 0, 0, "", 0o644)}


def test_a_person_can_unpack_and_look(tmp_path: Path) -> None:
    """Ordinary tar unpacks a snapshot, bodies stand under their own paths, and the index names the version."""
    with tarfile.open(fileobj=io.BytesIO(save(ANSWERS, {"taken": "today"}))) as tar:
        names = tar.getnames()
        tar.extractall(tmp_path, filter="data")
    assert names[0] == INDEX
    assert (tmp_path / "files/etc/docker/daemon.json").read_bytes() == b'{"a": 1}\r\n'
    assert (tmp_path / "files/proc/77/environ").read_bytes() == bytes(range(256))
    assert (tmp_path / "commands/0002.out").read_bytes() == b'{"ServerVersion":"27.3.1"}\n'
    index = json.loads((tmp_path / INDEX).read_bytes())
    assert (index["schema"], index["meta"]) == (1, {"taken": "today"})
    assert index["reads"]["/etc/shadow"] == {"miss": "denied", "why": "permission denied"}
    assert index["reads"]["/etc/link"]["asked"] == "/etc/target"


def test_packed_again_by_tar_it_still_loads(tmp_path: Path) -> None:
    """A snapshot unpacked and packed again in GNU's format, with `./` and folders, is the same snapshot."""
    with tarfile.open(fileobj=io.BytesIO(save(ANSWERS, {}))) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    path = tmp_path / "again.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(tmp_path / "out", arcname=".")
    assert _same(load(str(path)).answers, ANSWERS)


def test_too_much_for_a_snapshot_is_refused_when_saved() -> None:
    """What could not be loaded is not saved either."""
    with pytest.raises(ValueError, match="larger than 64 MiB"):
        save(ANSWERS._replace(reads={"/big": bytes(64 * MIB + 1)}), {})
    with pytest.raises(ValueError, match="larger than 256 MiB together"):
        save(ANSWERS._replace(reads={f"/{at}": bytes(64 * MIB) for at in range(4)}), {})
    with pytest.raises(ValueError, match="too many answers"):
        save(ANSWERS._replace(reads={f"/{at}": b"" for at in range(20_000)}), {})


def test_many_processes_are_not_many_members() -> None:
    """The names of 30,000 processes stay in the index, so that the limit of members is not met by a large machine."""
    data = save(Answers.none()._replace(reads={f"/proc/{pid}/comm": b"other\n" for pid in range(30_000)}), {})
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == [INDEX]


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (_info("files/x", tarfile.SYMTYPE, "/etc/passwd"), "a link"),
        (_info("files/x", tarfile.LNKTYPE, INDEX), "a hard link"),
        (_info("files/x", tarfile.CHRTYPE), "a device"),
        (_info("files/x", tarfile.BLKTYPE), "a device"),
        (_info("files/x", tarfile.FIFOTYPE), "a FIFO"),
        (_info("files/x", tarfile.GNUTYPE_SPARSE), "a sparse file"),
        (_info("files/x", tarfile.CONTTYPE), "a kind of member"),
        (_info("../up", tarfile.DIRTYPE), "leads out of it"),
        (("/etc/cron.d/x", b"x"), "leads out of it"),
        (("files/../../x", b"x"), "leads out of it"),
        (("..", b"x"), "leads out of it"),
        ((INDEX, b"{}"), "twice"),
        (("./" + INDEX, b"{}"), "twice"),
        (("files/extra", b"x"), "which its index does not name"),
    ],
)
def test_members_a_snapshot_never_has(tmp_path: Path, member: tuple[str, bytes] | tarfile.TarInfo, reason: str) -> None:
    """Links, devices, names that lead out, doubles and strangers are each refused by name, gzipped or not."""
    assert reason in _reason(tmp_path, _tar(member))
    assert reason in _reason(tmp_path, gzip.compress(_tar(member)))


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        (None, "it holds no gpudoctor-snapshot.json"),
        (b"{", "is not valid JSON"),
        (b"", "is not valid JSON"),
        (b"\xff\xfe{}", "is not valid JSON"),
        (b"[" * 200_000, "is not valid JSON"),
        (b'{"a":' * 200_000, "is not valid JSON"),
        (b'{"schema": ' + b"9" * 5000 + b"}", "is not valid JSON"),
        ([], "is damaged"),
        ({}, "has no schema"),
        ({**GOOD, "schema": True}, "has no schema"),
        ({**GOOD, "schema": "1"}, "has no schema"),
        ({**GOOD, "schema": 0}, "has no schema"),
        ({**GOOD, "schema": 2}, "was taken by a newer gpudoctor (schema 2)"),
        ({"schema": 1}, "is damaged"),
        ({**GOOD, "reads": []}, "is damaged"),
        ({**GOOD, "reads": {"/a": {}}}, "is damaged"),
        ({**GOOD, "reads": {"/a": {"file": 7}}}, "is damaged"),
        ({**GOOD, "reads": {"/a": {"file": "files/a"}}}, "which is not there"),
        ({**GOOD, "reads": {"/a": {"file": INDEX}}}, "which is not there"),
        ({**GOOD, "reads": {"/a": {"text": "\ud800"}}}, "is damaged"),
        ({**GOOD, "reads": {"/a": {"miss": "gone"}}}, "is damaged"),
        ({**GOOD, "reads": {"/a": {"miss": ["absent"]}}}, "is damaged"),
        ({**GOOD, "reads": {"/a": {"miss": "denied", "why": 1}}}, "is damaged"),
        ({**GOOD, "lists": {"/a": "abc"}}, "is damaged"),
        ({**GOOD, "lists": {"/a": [1]}}, "is damaged"),
        ({**GOOD, "stats": {"/a": {"kind": "door", "mode": 0, "uid": 0, "gid": 0}}}, "is damaged"),
        ({**GOOD, "stats": {"/a": {"kind": "file", "mode": 1.5, "uid": 0, "gid": 0}}}, "is damaged"),
        ({**GOOD, "stats": {"/a": {"kind": "char", "mode": 0, "uid": 0, "gid": 0, "rdev": [1]}}}, "is damaged"),
        ({**GOOD, "stats": {"/a": {"kind": "file", "mode": 0, "uid": 0, "gid": 10**30}}}, "is damaged"),
        ({**GOOD, "runs": {}}, "is damaged"),
        ({**GOOD, "runs": [{"argv": "date", "rc": 0}]}, "is damaged"),
        ({**GOOD, "runs": [{"argv": ["date"]}]}, "is damaged"),
        ({**GOOD, "runs": [{"argv": ["date"], "rc": 0, "out": "commands/1"}]}, "which is not there"),
        ({**GOOD, "envs": {"A": {}}}, "is damaged"),
        ({**GOOD, "envs": {"A": "b"}}, "is damaged"),
    ],
)
def test_an_index_is_not_believed(tmp_path: Path, index: object, reason: str) -> None:
    """Whatever stands in the index, the answer is one plain reason, and a newer schema says so."""
    assert reason in _reason(tmp_path, _tar(("files/other", b""), index=index))


def test_cut_and_damaged(tmp_path: Path) -> None:
    """A snapshot cut anywhere or with a changed byte is refused, and never half believed."""
    whole = save(ANSWERS, {})
    for end in (3, 10, 100, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        assert _reason(tmp_path, whole[:end]) in {"is cut short", "is damaged: it cannot be inflated"}
    for at in (9, 40, len(whole) // 2, len(whole) - 6):
        changed = bytearray(whole)
        changed[at] ^= 0xFF
        path = tmp_path / "changed.tar.gz"
        path.write_bytes(bytes(changed))
        # A byte that says nothing, such as gzip's operating system, may change.
        assert _refused(path) or _same(load(str(path)).answers, ANSWERS)


@pytest.mark.parametrize(
    "data",
    [
        b"\x1f\x8b",
        b"\x1f\x8b" + bytes(500),
        gzip.compress(b""),
        gzip.compress(b"-- /etc/os-release --\nID=ubuntu\n" * 40),
        gzip.compress(bytes(10_240)),
        _tar()[:102] + b"7" + _tar()[103:],
        _tar()[:124] + b"\x80" + b"\xff" * 11 + _tar()[136:],
        _tar()[:124] + b"zzzzzzzzzzz\0" + _tar()[136:],
        _tar().rstrip(b"\0"),
        _tar() + b"more",
        b"",
    ],
    ids=lambda data: f"{len(data)}-bytes-{data[:1].hex()}",  # gzip writes the time into its header
)
def test_what_is_no_sound_tar(tmp_path: Path, data: bytes) -> None:
    """Damaged headers, sizes of another form, missing ends and things behind the end are refused."""
    assert _reason(tmp_path, data)


def _header(name: bytes, size: int, kind: bytes = b"0") -> bytes:
    """Return a tar header that may lie about its size."""
    blank = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0" + b" " * 8 + kind
    blank = (blank.ljust(257, b"\0") + b"ustar\x0000").ljust(512, b"\0")
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


def test_bombs_are_stopped_while_they_inflate(tmp_path: Path) -> None:
    """A member, a name or a whole that is too large is refused by what comes out, in bounded memory."""
    assert "too large" in _reason(tmp_path, gzip.compress(_header(b"files/x", 65 * MIB) + bytes(MIB)))
    assert "too large" in _reason(tmp_path, gzip.compress(_header(INDEX.encode(), 17 * MIB) + bytes(MIB)))
    assert "a name that is too long" in _reason(tmp_path, gzip.compress(_header(b"x", 60 * MIB, b"x") + bytes(MIB)))
    raw = io.BytesIO()
    with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1) as zipped:
        for at in range(5):
            zipped.write(_header(b"files/%d" % at, 60 * MIB))
            for _ in range(60):
                zipped.write(bytes(MIB))
    tracemalloc.start()
    assert "larger than 256 MiB when inflated" in _reason(tmp_path, raw.getvalue())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400 * MIB
    # Trailing NULs without an end, behind a sound tar.
    raw = io.BytesIO()
    with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1) as zipped:
        zipped.write(_tar())
        for _ in range(300):
            zipped.write(bytes(MIB))
    assert "goes on after its end" in _reason(tmp_path, raw.getvalue())


def test_too_many_members(tmp_path: Path) -> None:
    """Members are counted, folders and long names with them."""
    assert "more than 20000 members" in _reason(
        tmp_path, gzip.compress(b"".join(_header(b"f/%d" % at, 0) for at in range(20_001)))
    )
    assert "more than 20000 members" in _reason(tmp_path, gzip.compress(_header(b"f", 0, b"5") * 80_001))


@pytest.mark.parametrize(
    "record",
    [
        b"x",
        b"999 path=/a\n",
        b"5 path=a\n",
        b"00009 path\n",
        b"0 path=a\n",
        b"11 size=123\n",
        b"18 linkpath=/etc/x\n",
        b"21 GNU.sparse.major=1\n",
    ],
)
def test_damaged_pax_headers(tmp_path: Path, record: bytes) -> None:
    """A pax header whose lengths lie, or that makes a member something else, is refused."""
    data = _header(b"pax", len(record), b"x") + record.ljust(512, b"\0") + _header(b"files/a", 0) + bytes(1024)
    assert "pax header" in _reason(tmp_path, data) or "kind of member" in _reason(tmp_path, data)


def test_a_long_name_cannot_lead_out(tmp_path: Path) -> None:
    """A name in a pax or GNU header is looked at like any other."""
    pax = b"22 path=../../../etc/x\n"
    assert len(pax) == 23
    pax = b"23 path=../../../etc/x\n"
    data = _header(b"pax", len(pax), b"x") + pax.ljust(512, b"\0") + _header(b"files/a", 0) + bytes(1024)
    assert "leads out of it" in _reason(tmp_path, data)
    gnu = b"/etc/x\0"
    data = _header(b"long", len(gnu), b"L") + gnu.ljust(512, b"\0") + _header(b"files/a", 0) + bytes(1024)
    assert "leads out of it" in _reason(tmp_path, data)


def test_random_damage_is_always_bad_host(tmp_path: Path) -> None:
    """Thousands of damaged plain tars end in an answer or in BadHost, nothing else."""
    import random

    whole = _tar(("files/a", b"hello"), index={**GOOD, "reads": {"/a": {"file": "files/a"}}})[: 4 * 1024]
    dice = random.Random(1)
    path = tmp_path / "damaged.tar"
    loaded = refused = 0
    for _ in range(3000 if FULL else 600):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(bytes(data))
        try:
            assert isinstance(load(str(path)), Replay)
            loaded += 1
        except BadHost:
            refused += 1
    assert loaded
    assert refused


def test_open_host_tells_a_tar_from_a_text(tmp_path: Path) -> None:
    """Both forms are told apart by their first bytes, whatever they are called."""
    snapshot = tmp_path / "looks-like-text.host"
    snapshot.write_bytes(save(ANSWERS, {}))
    opened = open_host(str(snapshot))
    assert opened.read("/proc/7/comm") == b"dockerd\n"
    with pytest.raises(Unseen):
        opened.read("/never/asked")
    snapshot.write_bytes(_tar())
    assert isinstance(open_host(str(snapshot)), Replay)
    text = tmp_path / "looks-like-tar.tar.gz"
    text.write_bytes(b"A machine.\n-- /proc/1/environ --\nA=b\0C=d\n-- $ date +%s --\n1\n")
    opened = open_host(str(text))
    assert isinstance(opened, Book)
    assert opened.read("/proc/1/environ") == b"A=b\0C=d\n"
    text.write_bytes(b"-- env HOME -- /root\n")
    assert open_host(str(text)).env("HOME") == "/root"


def test_open_host_refuses_what_is_no_host(tmp_path: Path) -> None:
    """A folder, a FIFO, a device, garbage and prose each get a plain reason, and a FIFO does not hang."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for name, data in (("garbage", os.urandom(3000).replace(b"\x1f", b"x")), ("prose", b"Nothing here.\n"), ("empty", b"")):
        (tmp_path / name).write_bytes(data)
    reasons = {}
    for path in (tmp_path, fifo, "/dev/null", *(tmp_path / name for name in ("garbage", "prose", "empty")), "a\0b"):
        with pytest.raises(BadHost) as caught:
            open_host(str(path))
        reasons[os.path.basename(str(path))] = caught.value.reason
    assert "is a folder" in reasons[tmp_path.name]
    assert reasons["fifo"] == reasons["null"] == "is not a regular file"
    assert all("neither a snapshot nor" in reasons[name] for name in ("garbage", "prose", "empty"))
    with pytest.raises(FileNotFoundError):
        open_host(str(tmp_path / "gone"))


def test_open_host_bounds_a_text(tmp_path: Path) -> None:
    """A text of more than 256 MiB is refused; the file is sparse, so that the test costs no disk."""
    path = tmp_path / "huge.host"
    with open(path, "wb") as handle:
        handle.write(b"-- /etc/x --\n")
        handle.truncate(256 * MIB + 1)
    with pytest.raises(BadHost, match="larger than 256 MiB"):
        open_host(str(path))


def test_is_tar_by_magic() -> None:
    """Both gzip and ustar have a magic; a text, even one about tar, has not."""
    assert is_tar(save(ANSWERS, {})[:512])
    assert is_tar(_tar()[:512])
    assert not is_tar(b"-- /x --\nustar\n")
    assert not is_tar(b"")
    assert not is_tar(struct.pack("<Q", 0) * 64)


def test_a_recorded_host_answers_as_before(tmp_path: Path) -> None:
    """What a recorder heard of a host is what its snapshot says, links and refusals too."""
    book = Book(
        {
            "/etc/a": Node(body=b"x"),
            "/etc/b": Node("link", target="a"),
            "/root": Node("dir", miss=Denied, mode=0o700),
        },
        {("id", "-u"): Ran(0, b"0\n", b"")},
        {"HOME": "/root"},
    )
    recorder = Recorder(book)
    assert (recorder.text("/etc/b"), recorder.real("/etc/b"), recorder.names("/etc")) == ("x", "/etc/a", ("a", "b"))
    assert recorder.variable("NONE") is None
    with pytest.raises(Denied):
        recorder.list("/root")
    path = tmp_path / "host.tar.gz"
    path.write_bytes(save(recorder.answers, {}))
    again = load(str(path))
    assert (again.text("/etc/b"), again.real("/etc/b"), again.names("/etc")) == ("x", "/etc/a", ("a", "b"))
    assert again.variable("NONE") is None
    with pytest.raises(Denied):
        again.list("/root")
