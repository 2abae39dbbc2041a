"""Tests of the reference tables: the files are sound, and the look-ups say what is known to be true."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from gpudoctor import tables
from gpudoctor.tables import version

FOLDER = Path(tables.__file__).parent
KEY_CELLS = {"distros": 2, "driver_security": 3, "served": 2, "torch": 3}  # Every other table's key is its first cell.
FILES = sorted(path.stem for path in FOLDER.glob("*.tsv"))


def rows_of(table: str) -> tuple[list[str], list[list[str]]]:
    """Return a table's column names and rows, read without the code under test."""
    lines = (FOLDER / f"{table}.tsv").read_text(encoding="utf-8").split("\n")
    assert lines.pop() == "", "the file ends with a newline"
    header = [line for line in lines if line.startswith("#")][-1]
    body = [line.split("\t") for line in lines if not line.startswith("#")]
    return header.removeprefix("#").split("\t"), body


def test_all_tables_are_here() -> None:
    """The glob the other tests run over finds the tables; none was lost or renamed."""
    assert FILES == [
        "architectures",
        "cuda",
        "device_nodes",
        "distros",
        "docker",
        "docker_cdi",
        "driver_branches",
        "driver_security",
        "gpus",
        "onnx_opsets",
        "onnxruntime",
        "runc",
        "runc_issues",
        "served",
        "tensorflow",
        "toolkit",
        "toolkit_cve",
        "torch",
        "torch_default",
        "xids",
    ]


@pytest.mark.parametrize("table", FILES)
def test_table_is_sound(table: str) -> None:
    """A table has rows, each as wide as the header, with trimmed cells and a key of its own."""
    columns, body = rows_of(table)
    assert len(columns) > 1
    assert body
    assert {len(row) for row in body} == {len(columns)}
    assert all(cell == cell.strip() and (not cell or cell.isprintable()) for row in body for cell in row)
    keys = [tuple(row[: KEY_CELLS.get(table, 1)]) for row in body]
    assert all(key[0] for key in keys)
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("table", FILES)
def test_table_says_where_it_is_from(table: str) -> None:
    """A table begins with the date of its data and its sources."""
    comments = [line for line in (FOLDER / f"{table}.tsv").read_text(encoding="utf-8").split("\n") if line[:2] == "# "]
    assert f"Data of {tables.AS_OF}." in comments[0]
    assert "Source" in "".join(comments)


@pytest.mark.parametrize(
    "table",
    ["cuda", "docker_cdi", "driver_branches", "driver_security", "onnxruntime", "runc", "tensorflow", "torch", "torch_default"],
)
def test_version_tables_are_newest_first(table: str) -> None:
    """Look-ups that take the first fitting row rely on the newest being first."""
    keys = [version(row[0].replace("u", ".")) for row in rows_of(table)[1]]
    assert keys == sorted(keys, reverse=True)


def test_security_bulletins_are_newest_first_in_a_branch() -> None:
    """The first row of a branch is its newest bulletin; no later bulletin asks for an older driver."""
    by_branch: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for branch, fixed, _bulletin, date in rows_of("driver_security")[1]:
        assert version(fixed)[0] == int(branch)
        by_branch.setdefault(branch, []).append((date, version(fixed)))
    assert by_branch
    assert all(rows == sorted(rows, reverse=True) for rows in by_branch.values())


def test_gpu_rows_are_sorted_and_typed() -> None:
    """Ids are four hex digits in order, which block look-ups rely on; other cells hold known values."""
    body = rows_of("gpus")[1]
    ids = [row[0] for row in body]
    assert len(ids) > 1000
    assert ids == sorted(ids)
    assert all(id_ == f"{int(id_, 16):04x}" for id_ in ids)
    for device_id in ids:
        found = tables.gpu(device_id)
        assert found is not None
        assert found.device_id == device_id
        assert found.architecture in tables.ARCHITECTURES
        assert found.open_module in {"no", "yes", "only"}
        assert found.chip


def test_architectures_agree_with_their_table_and_with_the_gpus() -> None:
    """The order in the code is the file's, and no GPU outlives its architecture's last branch."""
    assert [row[0] for row in rows_of("architectures")[1]] == list(tables.ARCHITECTURES)
    for row in rows_of("gpus")[1]:
        last = tables.last_branch_of(row[3])
        assert row[4] == ("" if last is None else "367" if row[4] == "367" else str(last))


def test_branch_dates_and_architectures_are_in_order() -> None:
    """A branch ends after its release, and newer branches came later and never support newer GPUs less."""
    known = tables.branches()
    assert len(known) == len(rows_of("driver_branches")[1])
    for branch in known:
        assert branch.released is None or branch.eol is None or branch.released < branch.eol
        assert tables.older(branch.oldest_architecture, branch.newest_architecture)
        assert branch.open_kernel_module in {"no", "alpha", "available", "default", "only"}
        assert branch.type in {"production", "new feature", "LTS", ""}
        assert tables.branch(branch.branch) == branch
    released = [branch.released for branch in known if branch.released]
    assert released == sorted(released, reverse=True)
    for newer, elder in pairwise(known):
        assert not tables.older(newer.newest_architecture, elder.newest_architecture)
        assert not tables.older(newer.oldest_architecture, elder.oldest_architecture)


def test_branch_floor_is_the_newest_bulletin() -> None:
    """The floor in the branch table is the one of bulletin 5821 in the security table."""
    floors = {branch.branch: branch.security_floor for branch in tables.branches() if branch.security_floor}
    assert floors == {int(row[0]): row[1] for row in rows_of("driver_security")[1] if row[2] == "5821"}
    assert len(floors) == 3


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("5:27.3.1-1~ubuntu.22.04", (27, 3, 1)),
        ("1.1.5+ds1-1+deb12u1", (1, 1, 5)),
        ("550.163.01", (550, 163, 1)),
        ("1.2.0-rc.1", (1, 2, 0)),
        ("v1.2", (1, 2)),
        (" 1.17.8\n", (1, 17, 8)),
        ("19.03.15", (19, 3, 15)),
        ("12.", (12,)),
        ("1..2", (1,)),
        ("6.8.0-45-generic", (6, 8, 0)),
        ("unix:1.2", ()),
        ("5:", ()),
        ("", ()),
        ("unknown", ()),
        (".5", ()),
        ("\u00b2.1", ()),
        ("9" * 100_000, (int("9" * 64),)),
    ],
)
def test_version(text: str, numbers: tuple[int, ...]) -> None:
    """A version is the numbers it starts with, after an epoch and a v; damaged text gives what is there."""
    assert version(text) == numbers


def test_gpu_a10g_and_h100() -> None:
    """Two well-known data-center GPUs are found with their capability, branches and module."""
    a10g = tables.gpu("2237")
    assert a10g == ("2237", "GA102", (8, 6), "Ampere", None, 460, "yes", "A10G")
    h100 = tables.gpu("2330")
    assert h100 is not None
    assert (h100.capability, h100.architecture, h100.last_branch) == ((9, 0), "Hopper", None)


def test_one_name_holds_several_chips() -> None:
    """GT 710 and GTX 750 Ti are several chips with several last drivers: why GPUs are looked up by id."""
    gt710 = [tables.gpu(device_id) for device_id in ("104d", "128b")]
    assert [(card.name, card.capability, card.last_branch) for card in gt710 if card] == [
        ("GeForce GT 710", (2, 1), 390),
        ("GeForce GT 710", (3, 5), 470),
    ]
    gtx750ti = [tables.gpu(device_id) for device_id in ("11c7", "1380")]
    assert [(card.name, card.capability, card.last_branch) for card in gtx750ti if card] == [
        ("GeForce GTX 750 Ti", (3, 0), 470),
        ("GeForce GTX 750 Ti", (5, 0), 580),
    ]


def test_blackwell_and_grace_hopper_need_the_open_module() -> None:
    """The proprietary module finds no Blackwell GPU; before Turing there is only the proprietary one."""
    modules = {row[0]: (row[3], row[6]) for row in rows_of("gpus")[1]}
    assert {module for architecture, module in modules.values() if architecture == "Blackwell"} == {"only"}
    assert modules["2b85"] == ("Blackwell", "only")
    assert modules["2342"] == ("Hopper", "only")
    assert modules["2330"] == ("Hopper", "yes")
    assert modules["1db4"] == ("Volta", "no")


@pytest.mark.parametrize(
    "device_id",
    ["", "ffff", "223", "0x2237", "2237\t", "2237\tGA102", "\n2237", "#device_id", "device_id", "\udc80"],
)
def test_gpu_takes_exact_ids_only(device_id: str) -> None:
    """Anything but a known id in lower-case hex is not found, and the header is no row."""
    assert tables.gpu(device_id) is None


def test_probable_gpu_of_a_neighbour() -> None:
    """An unlisted id between A10 and A10G boards is answered with what its block agrees on, and no name."""
    assert tables.gpu("223a") is None
    assert tables.probable_gpu("223a") == ("223a", "GA102", (8, 6), "Ampere", None, None, "yes", "")


@pytest.mark.parametrize("device_id", ["", "ffff", "22", "22377", "22 7", "223G", "-001", "223A"])
def test_probable_gpu_has_no_answer(device_id: str) -> None:
    """An id far from every known one, or none at all, is not guessed."""
    assert tables.probable_gpu(device_id) is None


def test_probable_gpu_says_nothing_where_neighbours_differ() -> None:
    """A block of Kepler chips with different capabilities gives the architecture and last branch only."""
    guess = tables.probable_gpu("1027")
    assert guess is not None
    assert (guess.architecture, guess.last_branch, guess.open_module) == ("Kepler", 470, "no")
    mixed = tables.probable_gpu("102f")
    assert mixed is not None
    assert mixed.capability is None
    assert mixed.architecture == "Kepler"


def test_probable_gpu_left_out_one_by_one() -> None:
    """Guessing each known id from the others is as good as the documentation says."""
    right = wrong = silent = 0
    for row in rows_of("gpus")[1]:
        known = tables.gpu(row[0])
        guess = tables.probable_gpu(row[0])
        assert known is not None
        if known.capability is None:
            continue
        if guess is None or guess.capability is None:
            silent += 1
        elif guess.capability == known.capability:
            right += 1
        else:
            wrong += 1
    assert (right, wrong, silent) == (1201, 2, 30)


def test_last_branch_of_architectures() -> None:
    """Each dropped architecture ends with its known branch; Turing and later are still supported."""
    last = {name: tables.last_branch_of(name) for name in tables.ARCHITECTURES}
    assert [name for name in last if last[name] == 580] == ["Maxwell", "Pascal", "Volta"]
    assert (last["Tesla"], last["Fermi"], last["Kepler"]) == (340, 390, 470)
    assert {last[name] for name in tables.ARCHITECTURES[6:]} == {None}
    assert tables.last_branch_of("Voodoo") is None


def test_older() -> None:
    """Architectures are ordered by age; an unknown one is neither older nor newer."""
    assert tables.older("Kepler", "Volta")
    assert not tables.older("Volta", "Kepler")
    assert not tables.older("Volta", "Volta")
    assert not tables.older("", "Volta")
    assert not tables.older("Volta", "Voodoo")


def test_branch() -> None:
    """A branch is found by its number with dates and limits; a number that is none is not."""
    lts = tables.branch(580)
    assert lts is not None
    assert (lts.type, lts.eol, lts.oldest_architecture) == ("LTS", "2028-08-04", "Maxwell")
    newest = tables.branches()[0]
    assert (newest.branch, newest.open_kernel_module, newest.eol) == (620, "only", None)
    assert tables.branch(58) is None
    assert tables.branch(-1) is None


def test_security_floor() -> None:
    """The floor is the branch's newest one, also where later bulletins no longer name the branch."""
    assert tables.security_floor(580) == ("580.159.03", "5821 (2026-05)")
    assert tables.security_floor(550) == ("550.163.01", "5630 (2025-04)")
    assert tables.security_floor(470) is None


@pytest.mark.parametrize(
    ("asked", "found", "full", "minor"),
    [
        ("12.4", "12.4", "550.54.14", "525.60.13"),
        ("12.4u1", "12.4u1", "550.54.15", "525.60.13"),
        ("12.4.1", "12.4u1", "550.54.15", "525.60.13"),
        ("12.4.0", "12.4", "550.54.14", "525.60.13"),
        ("11.0.3", "11.0u3", "450.51.06", "450.36.06"),
        ("10.2.89", "10.2", "440.33", None),
        ("13.4", "13.4", None, "580.65.06"),
    ],
)
def test_cuda(asked: str, found: str, full: str | None, minor: str | None) -> None:
    """A toolkit is found by version and update in either spelling."""
    row = tables.cuda(asked)
    assert row is not None
    assert (row.version, row.full, row.minor) == (found, full, minor)


@pytest.mark.parametrize("asked", ["", "12", "99.1", "99.1.2", "12.4u9", "12.4\t550.54.14"])
def test_cuda_unknown(asked: str) -> None:
    """What is no known toolkit is not answered with another one."""
    assert tables.cuda(asked) is None


def test_cuda_drivers_belong_to_their_branch() -> None:
    """The full driver is of the toolkit's branch and never older than the minor-compatibility one."""
    for row in rows_of("cuda")[1]:
        if row[1]:
            assert version(row[1])[0] == int(row[3])
            assert version(row[1]) >= version(row[2])


@pytest.mark.parametrize(
    ("driver", "newest"),
    [
        ("550.163.01", "12.4"),
        ("535.54.02", "12.1"),
        ("535.54.03", "12.2"),
        ("470.256.02", "11.4"),
        ("610.57.04", "13.3"),
        ("340.108", None),
        ("", None),
    ],
)
def test_newest_cuda_for(driver: str, newest: str | None) -> None:
    """A driver runs the CUDA it was released with; one below every known floor runs none."""
    assert tables.newest_cuda_for(driver) == newest


def test_docker_since() -> None:
    """Features compare with engine versions however many numbers these have."""
    assert tables.docker_since("gpus-flag") == (19, 3)
    assert version("28.2") >= tables.docker_since("cdi-default")
    assert version("28.1.1") < tables.docker_since("cdi-default") == tables.docker_since("discovered-devices")
    assert version("29.1.5") < tables.docker_since("gpus-through-cdi") <= version("29.2.0")
    assert version("20.10.24") >= tables.docker_since("cgroup-v2")
    assert version("2.26.1") < tables.docker_since("compose-gpus-list")


def test_toolkit_since() -> None:
    """Toolkit features start with the releases whose notes name them."""
    assert tables.toolkit_since("cgroup-v2") == (1, 8)
    assert tables.toolkit_since("cdi-generate") == (1, 12)
    assert tables.toolkit_since("driver-545-names") == (1, 14, 6)
    assert tables.toolkit_since("jit-cdi-default") == tables.toolkit_since("cdi-refresh-unit") == (1, 18)
    assert tables.toolkit_since("cdi-mode") < tables.toolkit_since("cdi-hook-binary")


@pytest.mark.parametrize("feature", ["", "CDI", "feature", "cdi\t25.0.0"])
def test_unknown_features_are_refused(feature: str) -> None:
    """A misspelt feature is a bug of the caller's, not a version."""
    with pytest.raises(KeyError):
        tables.docker_since(feature)
    with pytest.raises(KeyError):
        tables.toolkit_since(feature)


@pytest.mark.parametrize(
    ("engine", "spec"),
    [
        ("24.0.9", None),
        ("25.0.0", (0, 6, 0)),
        ("26.0.2", (0, 6, 0)),
        ("26.1", (0, 7, 0)),
        ("27.3.1", (0, 7, 0)),
        ("28.0.4", (0, 8, 0)),
        ("28.5.2", (1, 0, 0)),
        ("29.2.0", (1, 1, 0)),
        ("", None),
    ],
)
def test_docker_cdi(engine: str, spec: tuple[int, ...] | None) -> None:
    """The newest CDI spec that an engine reads follows the engine."""
    assert tables.docker_cdi_version_max(version(engine)) == spec


def test_an_xid_is_known_by_its_number_and_others_are_not():
    """The meaning and the first action of an Xid come from the catalog; a number that means nothing is not guessed at."""
    bus = tables.xid(79)
    assert bus is not None
    assert (bus.meaning, bus.action) == ("the GPU has fallen off the bus", "switch off and on")
    assert tables.xid(13).action == "restart the program"
    assert tables.xid(7) is None
    assert tables.xid(99999) is None
