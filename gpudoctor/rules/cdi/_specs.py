"""What the rules on CDI specs share: which specs are judged, how much hangs on them, and the commands that write one anew.

A spec is a file of names only until something reads it. So the same fault is an error where GPUs come to containers by the spec
alone (Docker 29.2 with nvidia-cdi-hook, the nvidia runtime in cdi mode, podman on a host without Docker), a warning where
there is another way beside it, and a hint where nothing on the host reads specs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.cdi import GPU, REFRESH
from gpudoctor.host import Denied
from gpudoctor.model import Cure, Edit, Evidence, NotApplicable, Refused, Then, Where

if TYPE_CHECKING:
    from gpudoctor.facts import Facts
    from gpudoctor.facts.cdi import SpecFile
    from gpudoctor.model import Severity, Steps

ANEW = "Containers must be started anew to get it."
_MOST = 3
_BROKEN = (1, 18, 0)  # cdi/config-mode-cdi-breaks-generate


def judged(facts: Facts) -> tuple[SpecFile, ...]:
    """Return the GPU specs in force; raises NotApplicable where there is none, Denied where one of them may not be read."""
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU on this host.")
    found = facts.cdi.in_force
    if found:
        return found
    for each in facts.cdi.files:
        if each.refused:
            raise Denied(each.path, each.refused)
    raise NotApplicable("No CDI spec for nvidia.com/gpu is in force on this host.")


def severity(facts: Facts, spec: SpecFile | None = None, *, resolves: bool = True) -> Severity:
    """Return how bad a fault in a spec is here; ``resolves`` is False where it makes engines not find the names at all.

    A hint where another file defines ``nvidia.com/gpu=all``, as most people ask.
    """
    winner = facts.cdi.devices.get(f"{GPU}=all")
    readers = facts.cdi.readers
    if not readers or (spec is not None and winner is not None and winner is not spec):
        return "hint"
    return "error" if any(each.sole and (resolves or not each.falls_back) for each in readers) else "warning"


def reader(facts: Facts) -> Evidence:
    """Return who reads the specs here."""
    readers = facts.cdi.readers
    if not readers:
        return Evidence(Where("read by"), "no engine on this host, as it is set up today")
    return Evidence(
        Where("read by"), "; ".join(f"{each.name}{'' if each.sole else ' (not the only way here)'}" for each in readers)
    )


def shortened(words: list[str]) -> str:
    """Return a few of many words, and how many more there are."""
    rest = len(words) - _MOST
    return ", ".join(words[:_MOST]) + (f" and {rest} more" if rest > 0 else "")


def write_anew(facts: Facts, spec: SpecFile) -> Cure:
    """Return the cure that has a spec written anew: by nvidia-cdi-refresh where that is installed, else by nvidia-ctk.

    A spec that someone made by hand is set aside where nvidia-cdi-refresh keeps one of its own: it would grow old again.
    """
    cdi = facts.cdi
    if cdi.refresh_unit is None:
        return Cure("SAFE", f"Write the spec anew. {ANEW}", (f"sudo nvidia-ctk cdi generate --output={spec.path}",), "None.")
    restart = f"sudo systemctl restart {REFRESH}"
    if cdi.refreshed(spec.path):
        return Cure("DISRUPTIVE", f"Have nvidia-cdi-refresh write the spec anew. {ANEW}", (restart,), "None.")
    return Cure(
        "DISRUPTIVE",
        f"Set the hand-made spec aside: nvidia-cdi-refresh keeps {cdi.refresh_output} up to date. {ANEW}",
        (f"sudo mv {spec.path} {spec.path}.old", restart),
        "Device names that only the old spec has are gone.",
    )


def rewrite(facts: Facts, spec: SpecFile) -> Steps:
    """Yield what has a spec written anew, as ``write_anew`` says; one made by hand is only removed where another is there already."""
    cdi = facts.cdi
    refuse_own_names(spec)
    if cdi.refreshed(spec.path):
        yield from refresh(facts)
    elif cdi.refresh_unit is not None and facts.host.exists(cdi.refresh_output):
        yield Edit(spec.path, None)
        yield from refresh(facts)
    else:
        yield from generate(facts, spec.path)


def refuse_own_names(spec: SpecFile) -> None:
    """Refuse to have a spec written anew that gives devices names which nvidia-ctk does not give."""
    own = [device.name for device in spec.devices if not _by_ctk(device.name)]
    if own:
        raise Refused(f"{spec.path} defines {shortened(own)}, which nvidia-ctk does not write: mend it by hand, or set it aside.")


def refresh(facts: Facts, output: str | None = None, *, changed: bool = False) -> Steps:
    """Yield what has nvidia-cdi-refresh write its spec now: a service that ends at once, so that nothing is stopped.

    ``changed`` where the same fix changes its settings: undone, it writes by the old ones.
    """
    _refuse_in_vain(facts)
    yield from restart(facts, output, changed=changed)


def restart(facts: Facts, output: str | None = None, *, changed: bool = False) -> Steps:
    """Yield the restart of nvidia-cdi-refresh, for a fix that first mends what kept it from writing."""
    if facts.services.active(REFRESH) == "failed":
        yield Then(("systemctl", "reset-failed", REFRESH), "SAFE", "systemd tries a failed service again only then.")
    argv = ("systemctl", "restart", REFRESH)
    yield Then(
        argv, "SAFE", f"It writes {output or facts.cdi.refresh_output} for the host as it is now.", argv if changed else None
    )


def generate(facts: Facts, path: str, *flags: str) -> Steps:
    """Yield what has nvidia-ctk write a spec; undone, one that was there before is put back, and one that was not is removed."""
    _refuse_in_vain(facts)
    if facts.toolkit.ctk is None:
        raise Refused("nvidia-ctk, which writes specs, is not installed: install NVIDIA's container toolkit first.")
    undo: tuple[str, ...] = ("rm", "-f", path)
    why = f"nvidia-ctk writes {path} for the host as it is now."
    if facts.host.exists(path):
        # No engine reads a file of this name, so the names in it do not clash.
        kept = f"{path}.gpudoctor"
        yield Then(("cp", "-p", path, kept), "SAFE", f"{kept} keeps what stands in {path} now, for undo.")
        undo, why = ("cp", "-p", kept, path), f"nvidia-ctk writes {path} anew for the host as it is now."
    yield Then(("nvidia-ctk", "cdi", "generate", *flags, f"--output={path}"), "SAFE", why, undo)


def with_variable(data: bytes | None, name: str, value: str, *, why: str, add: bool = False) -> bytes:
    """Return a systemd environment file with a variable set, or with ``value`` added to its list; a new file says who wrote it."""
    from gpudoctor.formats.edit import Unsafe

    if data is None:
        return f"# Written by gpudoctor fix: {why}\n{name}={value}\n".encode()
    lines = data.split(b"\n")
    wrapped = next((number for number, line in enumerate(lines, 1) if line.rstrip(b"\r").endswith(b"\\")), None)
    if wrapped is not None:
        raise Unsafe("this line goes on in the next one; please edit the file by hand", wrapped)
    mine = [number for number, line in enumerate(lines) if line.strip().partition(b"=")[0] == name.encode()]
    if mine:
        old = lines[mine[-1]].strip().partition(b"=")[2].decode("utf-8", "surrogateescape").strip("\"'")
        listed = [word for word in old.split(",") if word] if add else []
        value = ",".join([*listed, *([] if value in listed else [value])])
        lines[mine[-1]] = f"{name}={value}".encode("utf-8", "surrogateescape")
        return b"\n".join(lines)
    return b"%s%s%s=%s\n" % (data, b"" if data.endswith(b"\n") or not data else b"\n", name.encode(), value.encode())


def _by_ctk(name: str) -> bool:
    """Say whether nvidia-ctk gives a device this name unless told otherwise: all, an index (0, of MIG 0:1), a UUID."""
    return name == "all" or name.startswith(("GPU-", "MIG-")) or all(part.isdigit() for part in name.split(":"))


def _refuse_in_vain(facts: Facts) -> None:
    """Refuse to have a spec written where that would fail, or write one for a driver that does not work."""
    toolkit, driver, platform = facts.toolkit, facts.driver, facts.platform
    if toolkit.version_numbers[:3] == _BROKEN and toolkit.mode == "cdi":
        raise Refused("This toolkit cannot write a spec before cdi/config-mode-cdi-breaks-generate is mended.")
    if platform.wsl or platform.jetson:
        return
    if driver.version is None:
        raise Refused("The driver is not loaded, and a spec is made of what it says: load it first.")
    library = driver.library_version
    if library is not None and library != driver.version:
        raise Refused(
            f"The loaded module is {driver.version} and the libraries are {library}: mend that first, then the spec can be right."
        )
