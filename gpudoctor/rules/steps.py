"""What fixes are made of: edits of the files that this host's programs really read, and the commands that put them into force.

A fix yields ``Edit`` and ``Then`` values and changes nothing itself. Its file functions read the host as the fixes before it would leave
it, so that two fixes of one file add up. What belongs to a program that manages its own files (the Docker snap, Docker
Desktop) is refused with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import REBOOT, Edit, Refused, Then

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpudoctor.facts import Facts
    from gpudoctor.facts.docker import Process
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


def restart_docker(facts: Facts, daemon: Process | None = None) -> Then:
    """Return the restart of one daemon, of this host's where none is named: it stops containers unless live-restore is on."""
    kind = daemon.kind if daemon is not None else facts.docker.kind
    _refuse_foreign(kind)
    if kind == "rootless":
        argv: tuple[str, ...] = ("systemctl", "--user", "restart", "docker")
    else:
        argv = ("systemctl", "restart", "docker") if facts.platform.systemd else ("service", "docker", "restart")
    return Then(
        argv, "DISRUPTIVE", "Docker reads its configuration anew; running containers stop unless live-restore is on.", argv
    )


def restart_unit(facts: Facts, unit: str, why: str, safety: Safety = "SAFE") -> Then:
    """Return the step that enables a systemd unit and starts it now; refused on a host without systemd."""
    if not facts.platform.systemd:
        raise Refused(f"This host does not run systemd, by which {unit} is started.")
    return Then(("systemctl", "enable", "--now", unit), safety, why, ("systemctl", "disable", "--now", unit))


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
    return Edit(config.path, editor.set_value(config.data, dotted, value))


def toolkit_unset(facts: Facts, dotted: str) -> Edit:
    """Return the edit that takes one key (``table.key``) out of the config.toml that the toolkit reads."""
    from gpudoctor.formats.edit import toml as editor

    config = facts.toolkit.config
    _refuse_foreign(facts.docker.kind)
    return Edit(config.path, editor.remove(config.data, dotted))


def modprobe(facts: Facts, path: str, change: Callable[[bytes], bytes]) -> Edit:
    """Return the edit of a file of /etc/modprobe.d, which may not be there yet."""
    return Edit(path, change(facts.host.bytes(path) or b""))


def rebuild_initramfs(facts: Facts) -> Then:
    """Return the command that writes the initramfs anew, so that a modprobe.d file holds at early boot too."""
    argvs = {
        "debian": ("update-initramfs", "-u"),
        "arch": ("mkinitcpio", "-P"),
        "rhel": ("dracut", "-f"),
        "suse": ("dracut", "-f"),
    }
    argv = argvs.get(facts.platform.family)
    if argv is None:
        raise Refused("It is not known how this distribution writes its initramfs, from which modules are loaded at boot.")
    return Then(argv, "SAFE", "The initramfs holds a copy of modprobe.d.", argv)


def update_grub(facts: Facts) -> Then:
    """Return the command that writes grub.cfg anew from /etc/default/grub and its drop-ins."""
    family = facts.platform.family
    if family == "debian":
        argv: tuple[str, ...] = ("update-grub",)
    elif family in {"rhel", "suse"}:
        argv = ("grub2-mkconfig", "-o", "/boot/grub2/grub.cfg")
    else:
        argv = ("grub-mkconfig", "-o", "/boot/grub/grub.cfg")
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
