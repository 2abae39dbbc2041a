"""What fixes are made of: edits of the files that this host's programs really read, and the commands that put them into force.

A fix yields ``Edit`` and ``Then`` values and changes nothing itself. Its file functions read the host as the fixes before it would leave
it, so that two fixes of one file add up. What belongs to a program that manages its own files (the Docker snap, Docker
Desktop) is refused with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import NoAnswer
from gpudoctor.model import REBOOT, Edit, Refused, Then
from gpudoctor.rules import advice
from gpudoctor.rules.docker import _daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gpudoctor.facts import Facts
    from gpudoctor.facts.docker import Process
    from gpudoctor.facts.driver import Directive
    from gpudoctor.formats.edit.daemon_json import Json
    from gpudoctor.model import Safety, Steps, Wishes

DAEMON_RELOAD = Then(("systemctl", "daemon-reload"), "SAFE", "systemd reads its units anew.", ("systemctl", "daemon-reload"))


def words(command: str) -> tuple[str, ...]:
    """Split a command of this package into its words, without sudo: a fix runs as whoever may change the host."""
    parts = tuple(command.split())
    return parts[1:] if parts[:1] == ("sudo",) else parts


def then(command: str, why: str, safety: Safety = "SAFE", *, undo: str | None = None) -> Then:
    """Return a step for a command as it is printed elsewhere; ``undo`` takes it back."""
    return Then(words(command), safety, why, None if undo is None else words(undo))


def restart_docker(facts: Facts, daemon: Process | None = None, *, mends: str = "") -> Then:
    """Return the restart of one daemon, of this host's where none is named: it stops containers unless live-restore is on.

    Refused where that daemon would not come back, for a fault other than the one that this fix ``mends`` (a rule's name).
    """
    daemon = daemon or facts.docker.daemon
    kind = daemon.kind if daemon is not None else facts.docker.kind
    _refuse_foreign(kind)
    refuse_broken(facts, daemon, mends=mends)
    argv = words(_daemon.restart(facts, daemon))
    return Then(
        argv, "DISRUPTIVE", "Docker reads its configuration anew; running containers stop unless live-restore is on.", argv
    )


def load_runtimes(facts: Facts, daemon: Process | None = None) -> Then:
    """Return what makes one daemon know the runtimes that its daemon.json has: a reload where that is enough, which stops nothing.

    Before 25.0 a reload can break containers that use such a runtime, and 20.10 forgets a runtime of its own (seen): there, and where
    no unit file tells how to reload, it is a restart; a daemon that does not run is started.
    """
    docker = facts.docker
    daemon = daemon or docker.daemon
    if daemon is None and not docker.running:
        return start_docker(facts)
    kind = daemon.kind if daemon is not None else docker.kind
    units = facts.services.files("docker.service") if facts.platform.systemd and kind == "rootful" else ()
    if docker.version_numbers < _RELOADS_RUNTIMES or not any(b"\nExecReload=" in data for _, data in units):
        return restart_docker(facts, daemon)
    refuse_broken(facts, daemon)
    argv = ("systemctl", "reload", "docker")
    return Then(argv, "SAFE", "Docker reads its runtimes anew, which stops nothing.", argv)


def start_docker(facts: Facts, *, mends: str = "") -> Then:
    """Return the start of a daemon that is down; refused where it would not come up for a fault other than what the fix ``mends``."""
    _refuse_foreign(facts.docker.kind)
    refuse_broken(facts, None, mends=mends)
    return then(_daemon.restart(facts, None, "start"), "Docker is down and can start now.")


def refuse_broken(facts: Facts, daemon: Process | None, *, mends: str = "") -> None:
    """Refuse to start or restart a daemon that would not come up, or back: its containers would stay down with it."""
    from gpudoctor.rules.docker import daemon_json_flag_conflict as conflict
    from gpudoctor.rules.docker import daemon_json_invalid as invalid

    docker = facts.docker
    config = docker.read_config(docker.config_path_of(daemon)) if daemon is not None else docker.config
    refusal = invalid.refusal(facts, daemon, config)
    if refusal is not None:
        raise Refused(
            f"Docker would not start again: it refuses {config.path} ({refusal[1]}). Mend that first [{invalid.RULE.name}]."
        )
    both = conflict.doubled(facts, daemon, config)
    if both and mends != conflict.RULE.name:
        raise Refused(
            f"Docker would not start again: {', '.join(both)} is both a flag and in {config.path}. Mend that first [{conflict.RULE.name}]."
        )


def restart_unit(facts: Facts, unit: str, why: str, safety: Safety = "SAFE") -> Then:
    """Return the step that enables a systemd unit and starts it now; refused on a host without systemd."""
    if not facts.platform.systemd:
        raise Refused(f"This host does not run systemd, by which {unit} is started.")
    # Undone, it is as it was before: at boot where it was enabled, and not running.
    try:
        enabled = facts.services.enabled(unit)
    except NoAnswer:
        enabled = False
    undo = ("systemctl", "stop", unit) if enabled else ("systemctl", "disable", "--now", unit)
    return Then(("systemctl", "enable", "--now", unit), safety, why, undo)


def daemon_json(facts: Facts, change: Callable[[bytes | None], bytes], daemon: Process | None = None) -> Edit:
    """Return the edit of the daemon.json that a daemon reads, of this host's where none is named.

    ``change`` takes the file's bytes (None where there is no file) and gives back what they shall be.
    """
    kind = daemon.kind if daemon is not None else facts.docker.kind
    _refuse_foreign(kind)
    path = facts.docker.config_path_of(daemon) if daemon is not None else facts.docker.config_path
    return Edit(path, change(facts.host.bytes(path)))


def daemon_setting(facts: Facts, path: tuple[str, ...], value: Json, daemon: Process | None = None) -> Edit:
    """Return the edit that sets one key of the daemon.json that a daemon reads."""
    from gpudoctor.formats.edit import daemon_json as editor

    return daemon_json(facts, lambda data: editor.set_value(data, path, value), daemon)


def toolkit_setting(facts: Facts, dotted: str, value: bool | str | list[str]) -> Edit:  # noqa: FBT001 - TOML has booleans
    """Return the edit that sets one key (``table.key``) of the config.toml that the toolkit reads."""
    from gpudoctor.formats.edit import toml as editor

    config = facts.toolkit.config
    _refuse_foreign(facts.docker.kind)
    data = editor.set_value(config.data, dotted, value)
    if facts.host.lstat(config.path) is None:
        return own_file(config.path, "what differs from the toolkit's defaults.", data)
    return Edit(config.path, data)


def modprobe(facts: Facts, path: str, change: Callable[[bytes], bytes]) -> Edit:
    """Return the edit of a file of /etc/modprobe.d, which may not be there yet."""
    return Edit(path, change(facts.host.bytes(path) or b""))


def module_option(facts: Facts, module: str, option: str, value: str, fresh: str, why: str) -> Edit:
    """Return the edit that gives a kernel module an option, where modprobe.d sets it, else in the new file ``fresh``.

    A file that a package keeps below /usr/lib is left: one of the same name in /etc, with the one value changed, takes its place.
    """
    from gpudoctor.formats import cmdline
    from gpudoctor.formats.edit import modprobe as editor

    given = [name for name, _ in facts.boot.args if name.replace("-", "_") == f"{module}.{option}"]
    if given:
        told = cmdline.values(facts.boot.args, given[-1])[-1]
        raise Refused(
            f"The kernel argument {given[-1]}={told} counts more than modprobe.d: change it in the boot loader's configuration."
        )
    held = facts.driver.option(module, option)
    if held is None:
        return own_file(fresh, why, editor.set_option(b"", module, option, value))
    path = held.path if held.path.startswith(_MODPROBE) else f"{_MODPROBE}{held.path.rpartition('/')[2]}"
    return Edit(path, editor.set_option(facts.host.read(held.path), module, option, value))


def own_file(path: str, why: str, data: bytes) -> Edit:
    """Return the edit that makes a file of our own, which says in its first line whose it is and why."""
    return Edit(path, f"# Written by gpudoctor fix: {why}\n".encode() + data)


def without_directives(facts: Facts, directives: Iterable[Directive]) -> Iterator[Edit]:
    """Yield the edits that take lines out of modprobe.d; refused where a package, or a program that switches GPUs, keeps the file."""
    from gpudoctor.formats import modprobe as parser
    from gpudoctor.formats.edit import Unsafe
    from gpudoctor.formats.edit import modprobe as editor

    files: dict[str, bytes] = {}
    # From the end, so that the numbers of the lines above stay right.
    for each in sorted(directives, key=lambda directive: directive.line, reverse=True):
        if not each.path.startswith(_MODPROBE):
            raise Refused(
                f"{each.path} is kept by a package: let its own program change it (as prime-select does), or remove the package."
            )
        data = files[each.path] if each.path in files else facts.host.read(each.path)
        if each.verb == "blacklist":
            files[each.path] = editor.remove_blacklist(data, each.module)
            continue
        lines = data.split(b"\n")
        del lines[each.line - 1]
        files[each.path] = b"\n".join(lines)
        before, after = (parser.parse(body.decode("utf-8", "replace")) for body in (data, files[each.path]))
        if [line[:3] for line in before if line.line != each.line] != [line[:3] for line in after]:
            raise Unsafe(
                "this line goes on in the next one, so it cannot be taken out alone; please edit the file by hand", each.line
            )
    for path, data in files.items():
        yield Edit(path, data)


def make_uvm(facts: Facts) -> tuple[str, ...]:
    """Return the command, with its program's whole path, that loads nvidia-uvm and makes its device nodes."""
    if facts.host.lstat(_NVIDIA_MODPROBE) is not None:
        return (_NVIDIA_MODPROBE, "-u", "-c=0", "-m")
    ctk = facts.toolkit.ctk
    if ctk is None:
        raise Refused(
            "Neither nvidia-modprobe nor nvidia-ctk, which make the device nodes, is installed: install nvidia-modprobe first."
        )
    return (ctk, "system", "create-device-nodes", "--control-devices", "--load-kernel-modules")


def rebuild_initramfs(facts: Facts) -> Then:
    """Return the command that writes the initramfs anew, so that a modprobe.d file holds at early boot too."""
    if facts.boot.loader == "rpm-ostree":
        raise Refused(
            "rpm-ostree makes this system's initramfs: give the kernel the same by rpm-ostree kargs (rd.driver.blacklist=…)."
        )
    if facts.platform.family not in {"debian", "arch", "rhel", "suse"}:
        raise Refused("It is not known how this distribution writes its initramfs, from which modules are loaded at boot.")
    argv = words(advice.rebuild_initramfs(facts))
    return Then(argv, "SAFE", "The initramfs holds a copy of modprobe.d.", argv)


def update_grub(facts: Facts) -> Then:
    """Return the command that writes grub.cfg anew from /etc/default/grub and its drop-ins."""
    argv = words(advice.update_grub(facts))
    return Then(argv, "SAFE", "GRUB boots by grub.cfg, which is made from these files.", argv)


def add_kernel_arguments(facts: Facts, arguments: Sequence[str], wishes: Wishes) -> Steps:
    """Yield what gives the next boot kernel arguments, whatever decides them here; refused where that is not for a program."""
    boot = facts.boot
    if boot.loader == "grub":
        from gpudoctor.formats.edit import grub as editor

        files = boot.grub_files
        for argument in arguments:
            path, data = editor.add_argument(files, argument, style="main" if wishes.grub_main else "drop-in", bash=boot.bash)
            files = tuple(sorted({**dict(files), path: data}.items()))
            yield Edit(path, data)
        yield update_grub(facts)
    elif boot.loader == "systemd-boot" and facts.host.exists(_KERNEL_CMDLINE):
        from gpudoctor.formats.edit import cmdline as line_editor

        line = facts.host.bytes(_KERNEL_CMDLINE) or b""
        for argument in arguments:
            line = line_editor.add_argument(line, argument)
        yield Edit(_KERNEL_CMDLINE, line)
        yield _kernel_install(facts)
    elif boot.loader in _TOOLS:
        add, remove = _TOOLS[boot.loader]
        for argument in arguments:
            yield then(add.format(argument), _EVERY_KERNEL, undo=remove.format(argument))
    else:
        raise Refused(_BY_HAND.format(what=f"Add {' '.join(arguments)}", where=_place(facts)))
    yield REBOOT


def remove_kernel_arguments(facts: Facts, arguments: Sequence[tuple[str, str | None]]) -> Steps:
    """Yield what takes arguments (name and value) from the next boot; refused where that is not for a program."""
    boot = facts.boot
    shown = [name if value is None else f"{name}={value}" for name, value in arguments]
    if boot.loader == "grub":
        from gpudoctor.formats.edit import grub as editor

        files = dict(boot.grub_files)
        for name, value in arguments:
            for path, data in editor.remove_argument(tuple(files.items()), name, value=value, bash=boot.bash):
                yield Edit(path, data)
                files.pop(path) if data is None else files.update({path: data})
        yield update_grub(facts)
    elif boot.loader == "systemd-boot" and facts.host.exists(_KERNEL_CMDLINE):
        from gpudoctor.formats.edit import cmdline as line_editor

        line = facts.host.bytes(_KERNEL_CMDLINE) or b""
        for name, value in arguments:
            line = line_editor.remove_argument(line, name, value=value)
        yield Edit(_KERNEL_CMDLINE, line)
        yield _kernel_install(facts)
    elif boot.loader in _TOOLS:
        add, remove = _TOOLS[boot.loader]
        for argument in shown:
            yield then(remove.format(argument), _EVERY_KERNEL, undo=add.format(argument))
    else:
        raise Refused(_BY_HAND.format(what=f"Take {' '.join(shown)} out", where=_place(facts)))
    yield REBOOT


_RELOADS_RUNTIMES = (25,)
_MODPROBE = "/etc/modprobe.d/"
_NVIDIA_MODPROBE = "/usr/bin/nvidia-modprobe"
_KERNEL_CMDLINE = "/etc/kernel/cmdline"
_EVERY_KERNEL = "It changes the arguments of every installed kernel."
# How each boot loader's own tool adds and removes a kernel argument.
_TOOLS = {
    "bls": ("grubby --update-kernel=ALL --args={}", "grubby --update-kernel=ALL --remove-args={}"),
    "rpm-ostree": ("rpm-ostree kargs --append-if-missing={}", "rpm-ostree kargs --delete-if-present={}"),
    "kernelstub": ("kernelstub -a {}", "kernelstub -d {}"),
}
_BY_HAND = "{what} by hand in {where}: a mistake there keeps the machine from booting, and no tool of this system checks it."
_ADD_ALL = 255  # the systemd whose kernel-install has add-all


def _place(facts: Facts) -> str:
    return {
        "extlinux": "the APPEND line of /boot/extlinux/extlinux.conf",
        "raspberry-pi": "the one line of /boot/firmware/cmdline.txt",
        "wsl": "kernelCommandLine of %UserProfile%\\.wslconfig on Windows",
        "systemd-boot": "the options line of /boot/loader/entries/*.conf",
    }.get(facts.boot.loader, "the boot loader's configuration")


def _kernel_install(facts: Facts) -> Then:
    kernel = facts.platform.kernel
    if (facts.platform.systemd_version or 0) >= _ADD_ALL:
        argv: tuple[str, ...] = ("kernel-install", "add-all")
    else:
        argv = ("kernel-install", "add", kernel, f"/boot/vmlinuz-{kernel}")
    return Then(argv, "SAFE", "The boot entries are made from /etc/kernel/cmdline.", argv)


def _refuse_foreign(kind: str | None) -> None:
    if kind == "snap":
        raise Refused("The Docker snap manages its own files, which an edit from outside does not outlast.")
    if kind == "desktop":
        raise Refused("Docker Desktop keeps its configuration inside its own virtual machine.")
