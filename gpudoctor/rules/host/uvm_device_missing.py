"""/dev/nvidia-uvm is not there, and CUDA cannot work without it.

The kernel does not make this node: user space does, on the first use of CUDA (libcuda through setuid
nvidia-modprobe), or the container toolkit when it starts a container. After a boot of a headless machine nothing may
have done so yet. That is healthy where the legacy hook (load-kmods, on by default) or the runtime's jit-cdi mode
makes it in time; it is a fault where nothing will, or where something names the node before it exists: "error
gathering device information while adding custom device "/dev/nvidia-uvm"".

How it is told from its look-alikes: with `cdi/cdi-spec-missing-uvm` the node exists now, but the CDI spec was
written before. Without any module for this kernel it is `host/driver-module-missing-for-kernel`; this rule speaks
only where the driver is loaded. In an LXC guest the node is the host's to give.

Cure: make the node now (nvidia-modprobe), and before docker.service at each boot, by a drop-in; set load-kmods back
to true where that was switched off. Nothing that runs is touched. `gpudoctor fix` writes the drop-in only where
neither the hook nor the runtime makes the node in time.

Sources: nvidia-modprobe(1); libnvidia-container (load-kmods); NVIDIA/nvidia-docker#106, #139, #526.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Severity, Then, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.driver import Directive
    from gpudoctor.model import Steps, Wishes

_NODE = "/dev/nvidia-uvm"
_MODPROBE = "/usr/bin/nvidia-modprobe"
_OWN_DROP_IN = "/etc/systemd/system/docker.service.d/gpudoctor-uvm.conf"
_DROP_IN = "/etc/systemd/system/docker.service.d/nvidia-uvm.conf"


def check(facts: Facts) -> Iterator[Finding]:
    """Find a loaded driver without /dev/nvidia-uvm, and tell whether anything will make it."""
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable("WSL2 and Jetson have no nvidia-uvm.")
    if facts.driver.version is None:
        raise NotApplicable("The driver is not loaded; its nodes come after it.")
    if _NODE in facts.devices.nodes:
        return
    if facts.platform.lxc:
        raise NotApplicable("The nodes of an LXC guest are given by its host.")
    if not facts.gpus.count:
        raise NotApplicable("There is no NVIDIA GPU on this host.")
    severity, text, why, first = _judged(facts)
    major = facts.devices.uvm_major
    module = f"nvidia-uvm has major {major}" if major is not None else "no nvidia-uvm: its module is not loaded"
    yield Finding(
        f"{_NODE} is missing",
        text,
        (Evidence(Where(_NODE), "absent"), Evidence(Where("/proc/devices"), module), *why),
        _cure(facts, first),
        severity=severity,
    )


def _judged(facts: Facts) -> tuple[Severity, str, tuple[Evidence, ...], str]:
    """Return how bad the missing node is here, in words, what shows it, and the command that has to come first ("" for none)."""
    docker, toolkit = facts.docker, facts.toolkit
    replaced = next(iter(_replaced(facts)), None)
    if replaced is not None:
        words = "modprobe.d keeps the nvidia-uvm module from loading, so CUDA works neither on the host nor in a container."
        shows = (Evidence(Where(replaced.path, replaced.line), f"install nvidia-uvm {replaced.rest}"),)
        return "error", words, shows, f"sudo sed -i '{replaced.line}d' {replaced.path}"
    named = _named(facts)
    if named:
        words = "Containers are given /dev/nvidia-uvm by name, and it does not exist: they do not start until something makes it."
        return "error", words, named, ""
    if docker.installed and toolkit.hook_acts:
        if toolkit.setting("nvidia-container-cli", "load-kmods") is False:
            words = "The toolkit's hook is told not to make device nodes (load-kmods = false), so containers start without it and CUDA fails."
            line = toolkit.line("nvidia-container-cli", "load-kmods")
            shows = (Evidence(Where(toolkit.config_path, line), "load-kmods = false"),)
            return "error", words, shows, f"sudo sed -i 's/^load-kmods *= *false/load-kmods = true/' {toolkit.config_path}"
        words = "CUDA needs it; nothing has asked for it since boot, and the toolkit's hook makes it for the first container."
        shows = (Evidence(Where(toolkit.hook or toolkit.config_path), "makes the node when it starts a container"),)
        return "hint", words, shows, ""
    if docker.installed and toolkit.runtime_path == "jit-cdi":
        words = "CUDA needs it; nothing has asked for it since boot, and the nvidia runtime makes it for the first container."
        return "hint", words, (), ""
    if facts.host.lstat(_MODPROBE) is None and facts.devices.udev_rule is None:
        words = "CUDA needs it, and nothing on this host makes it: no hook, no nvidia-modprobe, no udev rule."
        where = (
            Evidence(Where(_MODPROBE), "absent"),
            Evidence(Where("/usr/lib/udev/rules.d"), "no rule for nvidia-uvm here or in /etc"),
        )
        return "warning", words, where, ""
    words = "CUDA needs it; the first CUDA program on the host makes it, a container that starts before does without."
    return "hint", words, (), ""


def _replaced(facts: Facts) -> list[Directive]:
    """Return the modprobe.d lines that load nothing in place of nvidia-uvm."""
    return [
        each for each in facts.driver.modprobe if (each.verb, each.module) == ("install", "nvidia_uvm") and _nothing(each.rest)
    ]


def _nothing(command: str) -> bool:
    """Say whether a modprobe.d ``install`` command loads nothing."""
    return command.split(" ", 1)[0].rpartition("/")[2] in {"true", "false", ":"}


def _named(facts: Facts) -> tuple[Evidence, ...]:
    """Return where a container or a CDI spec in use names the node."""
    found = [
        Evidence(Where(each.path), f"container {each.name} is given {_NODE}")
        for each in facts.docker.known_containers
        if _NODE in each.devices
    ]
    toolkit = facts.toolkit
    if toolkit.gpus_path == "cdi" or toolkit.runtime_path == "cdi" or facts.podman.version is not None:
        for spec in facts.cdi.gpu_specs:
            if any(node.path == _NODE for node in spec.nodes):
                found.append(Evidence(Where(spec.path, spec.line(_NODE)), f"names {_NODE}"))  # noqa: PERF401
    return tuple(found)


def _cure(facts: Facts, first: str) -> Cure:
    if facts.host.lstat(_MODPROBE) is None and facts.toolkit.ctk is not None:
        make = "sudo nvidia-ctk system create-device-nodes --control-devices --load-kernel-modules"
        at_boot = f"{facts.toolkit.ctk} system create-device-nodes --control-devices --load-kernel-modules"
    else:
        make = "sudo nvidia-modprobe -u -c=0 -m"
        at_boot = f"{_MODPROBE} -u -c=0 -m"
    commands = [first, make] if first else [make]
    if facts.host.lstat(_MODPROBE) is None and facts.toolkit.ctk is None:
        commands.insert(0, advice.install(facts, "nvidia-modprobe"))
    if facts.platform.systemd and facts.docker.installed:
        commands += [
            f"sudo mkdir -p {_DROP_IN.rpartition('/')[0]}",
            f"printf '[Service]\\nExecStartPre=-{at_boot}\\n' | sudo tee {_DROP_IN}  # read at the next boot",
        ]
    return Cure(
        "DISRUPTIVE",
        "Make the node now, and before Docker at each boot; then start the containers anew.",
        tuple(commands),
        "None: a kernel module is loaded and nodes are made. The drop-in needs no daemon-reload, which could take GPUs from containers.",
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Take away what keeps the node from being made, make it now, and before Docker at each boot where nothing else will in time."""
    docker, toolkit = facts.docker, facts.toolkit
    replaced, named = _replaced(facts), _named(facts)
    hook = docker.installed and toolkit.hook_acts
    yield from steps.without_directives(facts, replaced)
    if hook and toolkit.setting("nvidia-container-cli", "load-kmods") is False:
        yield steps.toolkit_setting(facts, "nvidia-container-cli.load-kmods", value=True)
    make = steps.make_uvm(facts)
    yield Then(make, "SAFE", "It loads nvidia-uvm and makes its device nodes.")
    in_time = not named and (hook or (docker.installed and toolkit.runtime_path == "jit-cdi"))
    if in_time or facts.services.unit_file("docker.service") is None:
        return
    # No daemon-reload, which could take GPUs from containers that run: the drop-in is for the next boot.
    yield steps.own_file(
        _OWN_DROP_IN, "the GPU's nodes are there before Docker", f"[Service]\nExecStartPre=-{' '.join(make)}\n".encode()
    )


RULE = Rule(
    "host/uvm-device-missing",
    43,
    "error",
    "/dev/nvidia-uvm is missing",
    check,
    breaks=("uvm",),
    needs=("gpu", "module", "driver"),
    fix=fix,
    signs=(
        "stat failed: /dev/nvidia-*: no such file or directory",
        "/dev/nvidia-uvm: no such file or directory",
        "adding custom device /dev/nvidia-uvm",
        "could not load uvm kernel module",
        "mknod*/dev/nvidia-uvm",
        "cuda failure 999",
        "failed to initialize cuda: unknown error",
        "cuda error: unknown error",
        "(30): unknown error",
        "cuda_error_unknown",
        "cuinit*999",
        "cuda driver library init failure: 999",
        "failed to get device context 999",
        "error 999",
        "cuda unknown error - this may be due to an incorrectly set up environment",
        "initialization error: cuda error: unknown error",
        "cudaerrorunknown",
        "cuda initialization failure with error: 999",
    ),
)
