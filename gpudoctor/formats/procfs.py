"""Small files of /proc and /proc/driver/nvidia. Nothing here raises: what is not understood is left out."""

from __future__ import annotations

from gpudoctor.values import NamedTuple


class DriverVersion(NamedTuple):
    """The loaded NVIDIA kernel module: its version, whether it is the open one, and its branch (550)."""

    version: str
    open: bool
    branch: int


def driver_version(text: str) -> DriverVersion | None:
    """Parse /proc/driver/nvidia/version, of the proprietary or the open module, on any architecture.

    None where no number can be found: some Jetson Thor releases print the word TempVersion.
    """
    line, found, after = text.partition("Kernel Module")
    if not found:
        return None
    words = after.partition("\n")[0].split()
    if words[:1] == ["for"]:
        words = words[2:]
    version = words[0] if words else ""
    numbers = version.split(".")
    if len(numbers) not in {2, 3} or not all(_is_number(number) for number in numbers):
        return None
    return DriverVersion(version, line.rstrip().endswith("Open"), int(numbers[0]))


def devices(text: str) -> dict[str, int]:
    """Give the majors of character devices by name from /proc/devices.

    One major can have several names: 195 is `nvidia-frontend` up to driver 535, and `nvidia`,
    `nvidia-modeset` and `nvidiactl` from 545 on. Block devices, whose majors are another numbering, are left
    out.
    """
    majors: dict[str, int] = {}
    _, found, after = text.partition("Character devices:")
    for line in (after if found else "").partition("Block devices:")[0].splitlines():
        number, _, name = line.strip().partition(" ")
        if _is_number(number) and name:
            majors[name.strip()] = int(number)
    return majors


def modules(text: str) -> dict[str, str]:
    """Give the state ("Live", "Loading", "Unloading") of each loaded module from /proc/modules."""
    return {words[0]: words[4] for line in text.splitlines() if len(words := line.split()) >= 5}


def params(text: str) -> dict[str, str]:
    """Give the module options in force from /proc/driver/nvidia/params, as text without quotes.

    DeviceFileMode is decimal there: 438 means 0666.
    """
    return {name: value.strip('"') for name, value in information(text).items()}


def information(text: str) -> dict[str, str]:
    """Give the labels of /proc/driver/nvidia/gpus/ADDRESS/information, such as "Device Minor"."""
    return {
        name.strip(): value.strip()
        for line in text.splitlines()
        for name, colon, value in (line.partition(":"),)
        if colon and name.strip()
    }


def start_ticks(text: str) -> int | None:
    """Give field 22 of /proc/PID/stat, the start time in clock ticks since boot (100 a second on Linux).

    The command's name is field 2 and may hold spaces and parentheses, so fields count from the last
    parenthesis.
    """
    words = text.rpartition(")")[2].split()
    return int(words[19]) if len(words) > 19 and _is_number(words[19]) else None


def boot_time(stat: bytes) -> int | None:
    """Give the time of boot in seconds since 1970 from the `btime` line of /proc/stat."""
    _, found, after = (b"\n" + stat).partition(b"\nbtime ")
    word = after.partition(b"\n")[0].strip().decode("ascii", "replace") if found else ""
    return int(word) if _is_number(word) else None


def uids(text: str) -> int | None:
    """Give the real user id, the first of the four on the `Uid:` line of /proc/PID/status."""
    _, found, after = f"\n{text}".partition("\nUid:")
    words = after.partition("\n")[0].split() if found else []
    return int(words[0]) if words and _is_number(words[0]) else None


def mig_minors(text: str) -> dict[str, int]:
    """Give the minor of each capability (`config`, `monitor`, `gpu0/gi0/access`) from mig-minors."""
    return {words[0]: int(words[1]) for line in text.splitlines() if len(words := line.split()) == 2 and _is_number(words[1])}


def _is_number(word: str) -> bool:
    """Tell whether a word is a plain number of a sane length, which int() takes."""
    return word.isascii() and word.isdigit() and len(word) < 20
