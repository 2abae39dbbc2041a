"""Reference data on GPUs, drivers, CUDA, Docker, the NVIDIA toolkit and distributions, and its look-ups.

Each table is a TSV file beside this module. Its comment lines say where the data is from and what every
column means; the last of them, without a space after the `#`, names the columns. `AS_OF` is the date of all
of it.

What a newcomer must know:

- A look-up by key searches the file's bytes for `newline key tab` and splits that one line: the GPU table has
  1,200 rows, and parsing it for one answer would cost more than starting the program. Files are read once a
  process.
- An answer of None (or "") means "not in the data", never "no". A caller that needs it cannot tell.
- Versions are compared as tuples made by `version`. They know nothing of release candidates: 1.4.0-rc.1 is
  1.4.0.
- Look GPUs up by PCI device id, never by name: one product name may hold several chips.
"""

from __future__ import annotations

import os
from functools import lru_cache

from gpudoctor.values import NamedTuple

AS_OF = "2026-11-22"
"""Date of the data. What was released or announced later is not in it."""

ARCHITECTURES = (
    "Tesla",
    "Fermi",
    "Kepler",
    "Maxwell",
    "Pascal",
    "Volta",
    "Turing",
    "Ampere",
    "Ada",
    "Hopper",
    "Blackwell",
    "Rubin",
)
"""GPU architectures, oldest first."""

_PREFIX_LENGTH = 64  # No version is longer; a damaged file must not make int() work on a megabyte of digits.
_ID_LENGTH = 4
_BLOCKS = (16, 32, 64, 128)

_files: dict[str, bytes] = {}  # At most one entry a table.


class Gpu(NamedTuple):
    """A GPU model, by PCI device id (vendor 10de, display functions only).

    `capability` is None where NVIDIA has not published it. `last_branch` is the newest driver branch that
    drives it, None if that is the newest of all. `first_branch` is the oldest branch seen that lists the id:
    an upper bound, None if no list read has it. `open_module` tells which kernel module drives it: "no" = the
    proprietary one only, "yes" = either, "only" = the open one only, "" = not known. `name` is one of the
    product names sold under the id; say it, never compare it.
    """

    device_id: str
    chip: str
    capability: tuple[int, int] | None
    architecture: str
    last_branch: int | None
    first_branch: int | None
    open_module: str
    name: str


class Branch(NamedTuple):
    """An NVIDIA Linux driver branch. Dates are "YYYY-MM-DD"; None and "" mean not known.

    `type` is "production", "new feature", "LTS" or "". `open_kernel_module` is "no", "alpha" (data-center
    GPUs; others opt in), "available", "default" (recommended from Turing on) or "only". `newest_known_kernel`
    is the newest Linux that Debian patches this branch for, so the plain driver does not build there.
    `security_floor` is the first version with the fixes of bulletin 5821 (May 2026), None if the bulletin
    does not name the branch: see `security_floor()`.
    """

    branch: int
    type: str
    released: str | None
    eol: str | None
    oldest_architecture: str
    newest_architecture: str
    open_kernel_module: str
    min_kernel: str | None
    newest_known_kernel: str | None
    security_floor: str | None
    note: str
    source: str


class Cuda(NamedTuple):
    """A CUDA toolkit and the Linux driver it needs.

    `full` is the driver it was released with, with which everything works (None = not published: go by
    `branch`). `minor` is the oldest driver that runs programs of that CUDA major which carry code for the GPU
    itself; PTX newer than the driver does not run there. None = no such promise (before CUDA 11).
    """

    version: str
    full: str | None
    minor: str | None
    branch: int
    note: str


class Cve(NamedTuple):
    """A vulnerability of the NVIDIA Container Toolkit; every version below `fixed` has it.

    `cdi` tells whether it reaches hosts that use CDI: "no", "before 1.17.5" (older versions only), "" = not
    published.
    """

    cve: str
    fixed: str
    cvss: float
    cdi: str
    note: str


class RuncIssue(NamedTuple):
    """A fault of runc.

    `introduced` "" = since ever. `fixed` holds the first fixed version of each release line.
    """

    issue: str
    introduced: str
    fixed: tuple[str, ...]
    note: str


class Distro(NamedTuple):
    """A Linux distribution release. Dates are "YYYY-MM-DD"; "" and None mean not known.

    `default_cgroup` ("v1", "v2") is a hint: /sys/fs/cgroup decides. `systemd` is its major version.
    `toolkit_repo` is "deb" or "rpm" (NVIDIA's repository), "distribution" or "". `eol` ends the free standard
    support, `extended_eol` the long-term or paid one.
    """

    id: str
    version: str
    default_cgroup: str
    systemd: int | None
    driver_packages: str
    docker_packages: str
    toolkit_package: str
    toolkit_repo: str
    eol: str | None
    extended_eol: str | None
    source: str


class Xid(NamedTuple):
    """An Xid error's number, what it means (a clause) and what to do at once, such as "reset the GPU" or "nothing now"."""

    number: int
    meaning: str
    action: str


class DeviceNode(NamedTuple):
    """A device node of NVIDIA hosts. `path` may hold `*` for a number.

    `major` is a number or the name to look up in /proc/devices, "" = dynamic; `minor` a number, a range
    ("0-247") or "". `absent` tells when its absence is normal: "until-used" (nothing has asked for the GPU
    since boot) or "yes".
    """

    path: str
    major: str
    minor: str
    needed_for: str
    made_by: str
    absent: str
    source: str


def version(text: str) -> tuple[int, ...]:
    """Return the numbers a version starts with, for comparing; () if it starts with none.

    A package epoch ("5:") and a "v" in front are dropped, and reading ends at the first other character:
    "5:27.3.1-1~ubuntu.22.04" gives (27, 3, 1), "1.2.0-rc.1" gives (1, 2, 0).
    """
    return _numbers(text.strip()[:_PREFIX_LENGTH])


@lru_cache(maxsize=512)  # A host has a few dozen versions, each compared many times.
def _numbers(text: str) -> tuple[int, ...]:
    epoch, colon, rest = text.partition(":")
    if colon and epoch.isdigit():
        text = rest
    numbers = []
    for part in text.removeprefix("v").split("."):
        digits = len(part) - len(part.lstrip("0123456789"))
        if digits:
            numbers.append(int(part[:digits]))
        if not digits or digits < len(part):
            break
    return tuple(numbers)


def older(a: str, b: str) -> bool:
    """Return whether architecture `a` came before `b`; False if either is not in `ARCHITECTURES`."""
    return a in ARCHITECTURES and b in ARCHITECTURES and ARCHITECTURES.index(a) < ARCHITECTURES.index(b)


def last_branch_of(architecture: str) -> int | None:
    """Return the newest driver branch for an architecture.

    None = the newest of all still drives it, or the architecture is not known. A few models end earlier: see
    `Gpu.last_branch`.
    """
    row = _row("architectures", architecture)
    return _int(row[1]) if row else None


def gpu(device_id: str) -> Gpu | None:
    """Return the GPU with exactly this PCI device id ("2237": four lower-case hex digits), or None."""
    row = _row("gpus", device_id)
    return _gpu(row) if row else None


def probable_gpu(device_id: str) -> Gpu | None:
    """Guess what a GPU with an id that `gpu` does not know is: whoever shows it must say "probably".

    NVIDIA numbers the models of one chip in runs, so the known ids of the same 16-id block are asked, else
    those of the same 32-, 64-, then 128-id block. Only what all of them agree on is answered; the rest is
    empty, as are `name` and `first_branch`. Left out one by one, of 1,233 ids with a known capability 1,201
    get the right one, two a wrong one and 30 none. None = no neighbour, neighbours of several architectures,
    or not an id.
    """
    if len(device_id) != _ID_LENGTH or device_id.strip("0123456789abcdef"):
        return None
    for size in _BLOCKS:
        near = [row for row in _block(int(device_id, 16), size) if row.device_id != device_id]
        if near:
            break
    if len({row.architecture for row in near}) != 1:
        return None
    chips = {row.chip for row in near}
    capabilities = {row.capability for row in near}
    modules = {row.open_module for row in near}
    architecture = near[0].architecture
    return Gpu(
        device_id=device_id,
        chip=chips.pop() if len(chips) == 1 else "",
        capability=capabilities.pop() if len(capabilities) == 1 else None,
        architecture=architecture,
        last_branch=last_branch_of(architecture),
        first_branch=None,
        open_module=modules.pop() if len(modules) == 1 else "",
        name="",
    )


def branch(major: int) -> Branch | None:
    """Return the branch of a driver whose version starts with `major` (550 for 550.163.01), or None."""
    row = _row("driver_branches", str(major))
    return _branch(row) if row else None


def branches() -> tuple[Branch, ...]:
    """Return all known driver branches, newest first."""
    return tuple(_branch(row) for row in _rows("driver_branches"))


def security_floor(major: int) -> tuple[str, str] | None:
    """Return a branch's newest security release and its bulletin: ("580.159.03", "5821 (2026-05)").

    A driver of that branch below it has known holes. A branch past its end gets no fix for later bulletins.
    None = no bulletin read names the branch.
    """
    row = _row("driver_security", str(major))  # The file has the newest bulletin of a branch first.
    return (row[1], f"{row[2]} ({row[3]})") if row else None


def cuda(version: str) -> Cuda | None:
    """Return a CUDA toolkit by "12.4", "12.4u1" or "12.4.1" (both Update 1), or None.

    A third number that is no known update ("10.2.89") gives the first release of that version: its driver is
    the least that any of its updates needs.
    """
    row = _row("cuda", version)
    if row is None:
        release, dot, update = version.rpartition(".")
        row = (_row("cuda", f"{release}u{update}") or _row("cuda", release)) if dot else None
    return _cuda(row) if row else None


def newest_cuda_for(driver: str) -> str | None:
    """Return the newest CUDA ("12.4", without updates) that a driver version runs in full, or None.

    Where NVIDIA publishes no exact driver for a CUDA release, a driver of its branch counts as enough.
    """
    have = version(driver)
    for row in map(_cuda, _rows("cuda")):
        if "u" not in row.version and have >= (version(row.full) if row.full else (row.branch,)):
            return row.version
    return None


def docker_since(feature: str) -> tuple[int, ...]:
    """Return the first Docker Engine version with a feature of docker.tsv (Compose's for "compose-…").

    Trailing zeros are left off, so that 28.2 and 28.2.0 both reach "28.2.0". Raises KeyError on an unknown
    feature.
    """
    return _since("docker", feature)


def toolkit_since(feature: str) -> tuple[int, ...]:
    """Return the first NVIDIA Container Toolkit version with a feature of toolkit.tsv.

    Trailing zeros are left off, as in `docker_since`. Raises KeyError on an unknown feature.
    """
    return _since("toolkit", feature)


def docker_cdi_version_max(version: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the newest `cdiVersion` a Docker Engine reads, None if it reads no CDI.

    A spec with a newer one is skipped whole.
    """
    row = _cdi(version)
    return _version(row[2]) if row else None


def toolkit_cves(version: tuple[int, ...]) -> tuple[Cve, ...]:
    """Return the vulnerabilities of an NVIDIA Container Toolkit version, oldest first; none for ()."""
    if not version:
        return ()
    return tuple(
        Cve(cve, fixed, float(cvss), cdi, note) for cve, fixed, cvss, cdi, note in _rows("toolkit_cve") if version < _floor(fixed)
    )


def runc_of_docker(version: tuple[int, ...]) -> str | None:
    """Return the runc in a Docker Engine release's static bundle; None = not looked up.

    containerd.io and distribution packages bring their own: ask `runc --version` or the package first.
    """
    for row in _rows("runc"):
        if _begins(version, row[0]):
            return row[1]
    return None


def runc_issues(version: tuple[int, ...]) -> tuple[RuncIssue, ...]:
    """Return the faults that an upstream runc version has; none for ().

    Distributions fix older versions in place (1.1.5+ds1-1+deb12u1), which the version alone does not show.
    """
    if not version:
        return ()
    found = []
    for issue, introduced, fixes, note in _rows("runc_issues"):
        fixed = tuple(fixes.split(" "))
        line_fixed = any(version[:2] == _version(fix)[:2] and version >= _floor(fix) for fix in fixed)
        newer_line = version[:2] > _version(fixed[-1])[:2]
        if version >= _floor(introduced) and not line_fixed and not newer_line:
            found.append(RuncIssue(issue, introduced, fixed, note))
    return tuple(found)


def distro(os_id: str, version_id: str) -> Distro | None:
    """Return a distribution release by os-release's ID and VERSION_ID ("" if it has none), or None.

    The exact version is tried first, then its major number (Enterprise Linux), then "rolling" and "any".
    Debian testing and unstable have no VERSION_ID: they are answered as sid.
    """
    tried = (version_id, version_id.partition(".")[0]) if version_id else ("sid",)
    for candidate in (*tried, "rolling", "any"):
        row = _row("distros", os_id, candidate)
        if row:
            return Distro(
                id=row[0],
                version=row[1],
                default_cgroup=row[2],
                systemd=_int(row[3]),
                driver_packages=row[4],
                docker_packages=row[5],
                toolkit_package=row[6],
                toolkit_repo=row[7],
                eol=row[8] or None,
                extended_eol=row[9] or None,
                source=row[10],
            )
    return None


def device_nodes() -> tuple[DeviceNode, ...]:
    """Return the device nodes that NVIDIA hosts may have, those every GPU use needs first."""
    return tuple(DeviceNode(*row) for row in _rows("device_nodes"))


def xid(number: int) -> Xid | None:
    """Return what an Xid error means, or None where NVIDIA says nothing of its number."""
    row = _row("xids", str(number))
    return Xid(number, row[1], row[2]) if row else None


_version = version  # Several functions take an argument of that name.


def _data(table: str) -> bytes:
    """Return the bytes of a table, read once a process."""
    if table not in _files:
        with open(os.path.join(os.path.dirname(__file__), f"{table}.tsv"), "rb") as file:
            _files[table] = file.read()
    return _files[table]


def _row(table: str, *key: str) -> list[str] | None:
    """Return the cells of the first row that starts with the cells of `key`, or None."""
    # A newline or tab in a key would match across cells; keys come from hosts and may hold anything.
    if not all(cell.isprintable() for cell in key) or key[0].startswith("#"):
        return None
    data = _data(table)
    start = data.find(("\n" + "\t".join(key) + "\t").encode())
    return _line(data, start) if start >= 0 else None


def _line(data: bytes, start: int) -> list[str]:
    """Return the cells of the row after the newline at `start`."""
    return data[start + 1 : data.index(b"\n", start + 1)].decode().split("\t")


def _rows(table: str) -> list[list[str]]:
    """Return the cells of all rows of a (small) table."""
    return [line.split("\t") for line in _data(table).decode().splitlines() if not line.startswith("#")]


def _int(cell: str) -> int | None:
    return int(cell) if cell else None


def _gpu(row: list[str]) -> Gpu:
    major, dot, minor = row[2].partition(".")
    return Gpu(
        device_id=row[0],
        chip=row[1],
        capability=(int(major), int(minor)) if dot else None,
        architecture=row[3],
        last_branch=_int(row[4]),
        first_branch=_int(row[5]),
        open_module=row[6],
        name=row[7],
    )


def _block(number: int, size: int) -> list[Gpu]:
    """Return the known GPUs of the aligned block of `size` ids (a multiple of 16) that `number` is in."""
    data = _data("gpus")
    found = []
    first = number - number % size
    for sixteen in range(first, first + size, 16):
        prefix = f"\n{sixteen >> 4:03x}".encode()
        start = data.find(prefix)
        while start >= 0:
            found.append(_gpu(_line(data, start)))
            start = data.find(prefix, start + 1)
    return found


def _branch(row: list[str]) -> Branch:
    return Branch(
        branch=int(row[0]),
        type=row[1],
        released=row[2] or None,
        eol=row[3] or None,
        oldest_architecture=row[4],
        newest_architecture=row[5],
        open_kernel_module=row[6],
        min_kernel=row[7] or None,
        newest_known_kernel=row[8] or None,
        security_floor=row[9] or None,
        note=row[10],
        source=row[11],
    )


def _cuda(row: list[str]) -> Cuda:
    return Cuda(row[0], row[1] or None, row[2] or None, int(row[3]), row[4])


def _floor(text: str) -> tuple[int, ...]:
    """Return a version without trailing zeros: for Python (28, 2) is older than (28, 2, 0), for us not."""
    numbers = version(text)
    while numbers and numbers[-1] == 0:
        numbers = numbers[:-1]
    return numbers


def _since(table: str, feature: str) -> tuple[int, ...]:
    row = _row(table, feature)
    if row is None:
        raise KeyError(feature)
    return _floor(row[1])


def _begins(whole: tuple[int, ...], prefix: str) -> bool:
    """Return whether a version is `prefix` or below it: 28.5.1 is, for "28" and "28.5"."""
    numbers = version(prefix)
    return whole[: len(numbers)] == numbers


def _cdi(engine: tuple[int, ...]) -> list[str] | None:
    """Return the row of docker_cdi.tsv (newest first) that an engine version has reached."""
    for row in _rows("docker_cdi"):
        if engine >= _floor(row[0]):
            return row
    return None
