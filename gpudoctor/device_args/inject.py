"""What brings the driver's libraries into a container beside its nodes: the toolkit, by ``--gpus``, its runtime, or CDI names.

``--device`` gives a node and nothing else. Docker reads the value of ``--gpus`` as CSV, so more than one device needs quotes of
its own: ``"device=0,2"``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gpudoctor.device_args import Missing, Refused
from gpudoctor.device_args.emit import RESERVED
from gpudoctor.host import Host, NoAnswer, Unseen
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from gpudoctor.device_args import Request, Selection
    from gpudoctor.facts import Facts
    from gpudoctor.host import Ran, Stat


class Injection(NamedTuple):
    """What serves the libraries here: ``words`` stand before the nodes on ``docker run``'s command line (no shell quotes).

    ``names`` are the devices as the toolkit calls them, empty for all; ``capabilities`` what Docker is told beside ``gpu``.
    """

    by: Literal["hook", "cdi", "runtime", "none"]
    words: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    remarks: tuple[str, ...] = ()


NOTHING = Injection("none")


def injection(facts: Facts, selection: Selection, wanted: Request) -> Injection:
    """Return what gives the libraries to a container of this host's Docker.

    Raises Unseen where ``docker`` talks to another machine, Refused where its daemon has a machine of its own.
    """
    docker, toolkit = facts.docker, facts.toolkit
    names = () if selection.everything else _names(selection)
    capabilities = () if wanted.purposes == ("compute",) else ("utility", *wanted.purposes)
    if selection.kind != "jetson":
        seen = _at_a_glance(facts)
        if seen == "hook":
            return Injection("hook", ("--gpus", _gpus(names, capabilities)), names, capabilities)
        if seen == "hook or cdi" and not capabilities and wanted.format != "json":
            # As the engine decides: the words are the same.
            return Injection("hook", ("--gpus", _gpus(names, ())), names)
        if seen == "nothing":
            return _nothing(facts, selection, wanted)._replace(names=names, capabilities=capabilities)
    _here(facts)
    if docker.installed:
        # Docker before 19.03 has no --gpus, whatever is on its PATH.
        takes_gpus = docker.version is None or docker.since("gpus-flag")
        if selection.kind == "jetson":
            # The hook refuses to work there: only the runtime knows the lists.
            by_runtime = toolkit.runtime_path is not None
        elif toolkit.gpus_path == "hook" and takes_gpus:
            return Injection("hook", ("--gpus", _gpus(names, capabilities)), names, capabilities)
        elif toolkit.gpus_path == "cdi":
            # CDI brings all of the driver; capabilities are the hook's.
            return Injection("cdi", ("--gpus", _gpus(names, ())), names)
        else:
            # In legacy mode the runtime itself calls the hook.
            by_runtime = toolkit.runtime_path in ({"cdi", "jit-cdi"} if toolkit.hook is None else {"cdi", "jit-cdi", "legacy"})
        if by_runtime and wanted.style in RESERVED:
            why = f"`{wanted.style}` asks Docker for a GPU, and here only its nvidia runtime gives one"
            command = "gpudoctor device-args --format compose  # names the runtime"
            missing = Missing("what serves `docker run --gpus`", why, command)
            return Injection("none", (), names, capabilities, (missing,))
        if by_runtime:
            words = ["--runtime", "nvidia", "--env", f"NVIDIA_VISIBLE_DEVICES={','.join(names) or 'all'}"]
            if capabilities:
                words += ["--env", f"NVIDIA_DRIVER_CAPABILITIES={','.join(capabilities)}"]
            return Injection("runtime", tuple(words), names, capabilities)
    return _nothing(facts, selection, wanted)._replace(names=names, capabilities=capabilities)


def _at_a_glance(facts: Facts) -> Literal["hook", "hook or cdi", "nothing", "unsure"]:
    """Say what serves ``--gpus`` as far as files tell where a dockerd runs here: its PATH and its configuration.

    No command is run: ``docker info`` costs as much as two starts of Python, and this runs on every make.
    """
    from gpudoctor.facts import Facts

    glance = Facts(_Mute(facts.host))
    docker, toolkit = glance.docker, glance.toolkit
    try:
        if docker.remote or docker.daemon is None or docker.desktop is not None:
            return "unsure"
        # No Docker from before --gpus (19.03) runs on cgroup v2.
        if glance.cgroup.mode != "v2" and not docker.since("gpus-flag"):
            return "unsure"
        if toolkit.hook is not None:
            return "hook" if toolkit.cdi_hook is None else "hook or cdi"
        perhaps = docker.config.malformed is not None or docker.has_nvidia_runtime
        perhaps = perhaps or toolkit.cdi_hook is not None or toolkit.runtime is not None
    except NoAnswer:
        return "unsure"
    return "unsure" if perhaps else "nothing"


class _Mute(Host):
    """A host that is read and runs no command."""

    def __init__(self, host: Host) -> None:
        """Take the host that is read."""
        self.host = host

    def read(self, path: str) -> bytes:
        """Return what the host answers."""
        return self.host.read(path)

    def list(self, path: str) -> tuple[str, ...]:
        """Return what the host answers."""
        return self.host.list(path)

    def stat(self, path: str) -> Stat:
        """Return what the host answers."""
        return self.host.stat(path)

    def env(self, name: str) -> str:
        """Return what the host answers."""
        return self.host.env(name)

    def run(self, *argv: str) -> Ran:
        """Run nothing."""
        raise Unseen(" ".join(argv))


def _nothing(facts: Facts, selection: Selection, wanted: Request) -> Injection:
    """Return what to say where nothing injects the libraries."""
    why = "no nvidia-container-runtime-hook is on Docker's PATH" if facts.docker.installed else "Docker is not installed"
    remark = (
        f"Nothing on this host serves `docker run --gpus` ({why}): the container gets device nodes, and the driver's libraries "
    )
    remark += "only by the mounts that are printed too." if selection.mounts else "are not injected; its image must bring them."
    if wanted.style in RESERVED:
        from gpudoctor.rules import advice

        command = " && ".join(advice.install_toolkit(facts))
        return NOTHING._replace(
            missing=(Missing("the NVIDIA container toolkit", f"`{wanted.style}` asks Docker for a GPU, and {why}", command),)
        )
    return NOTHING._replace(remarks=(remark,))


def _names(selection: Selection) -> tuple[str, ...]:
    """Return the chosen devices for the toolkit: a MIG device by the UUID that it was asked for by, else by index."""
    uuids = {each.name: each.uuid for gpu in selection.gpus for each in gpu.instances if each.uuid}
    return tuple(uuids.get(name, name) for name in selection.names)


def _gpus(names: tuple[str, ...], capabilities: tuple[str, ...]) -> str:
    """Return the value of ``--gpus``: CSV whose fields hold commas themselves, and so are quoted."""
    fields = [f"device={','.join(names)}" if names else "all"]
    if capabilities:
        fields.append(f"capabilities={','.join(capabilities)}")
    return ",".join(f'"{field}"' if "," in field else field for field in fields)


def cdi_names(facts: Facts, selection: Selection) -> tuple[tuple[str, ...], tuple[Missing, ...], tuple[str, ...]]:
    """Return the CDI names of the selection, what is missing for them to be taken, and remarks."""
    from gpudoctor.facts.cdi import GPU

    wanted = ("all",) if selection.everything else selection.names
    missing, remarks = _engine(facts)
    known = facts.cdi.devices
    uuids = {each.name: each.uuid for gpu in selection.gpus for each in gpu.instances}
    names = []
    for name in wanted:
        candidates = [f"{GPU}={each}" for each in (name, uuids.get(name)) if each]
        found = next((each for each in candidates if each in known), None)
        names.append(found or candidates[0])
        if found is None:
            missing.append(Missing(candidates[0], "no CDI spec of this host defines it", _spec_command(facts)))
    if not missing:
        files = ", ".join(sorted({known[name].path for name in names}))
        remarks.append(f"The nodes and libraries are those that {files} names; `gpudoctor doctor` says whether it is stale.")
    return tuple(names), tuple(missing), tuple(remarks)


def _engine(facts: Facts) -> tuple[list[Missing], list[str]]:
    """Return what keeps every engine of this host from taking CDI names, and which of two does not where the other does.

    Raises as ``injection`` does where only a Docker elsewhere could take them.
    """
    from gpudoctor import tables
    from gpudoctor.facts.cdi import PODMAN_SINCE

    docker, version = facts.docker, facts.podman.version
    podman = version is not None and tables.version(version) >= PODMAN_SINCE
    if not podman:
        _here(facts)
    elsewhere = docker.remote or docker.desktop is not None
    if docker.installed and docker.cdi_enabled and not elsewhere:
        return [], []
    if docker.installed and docker.since("cdi") and not elsewhere:
        command = f'sudoedit {docker.config_path}  # "features": {{"cdi": true}}, then restart Docker'
        found = Missing("CDI in Docker", f"Docker {docker.version} takes CDI names only where features.cdi is true", command)
    else:
        why = "neither Docker nor podman is installed"
        if elsewhere:
            why = "Docker's daemon is not on this host"
        elif docker.installed:
            why = f"Docker {docker.version or 'of an unknown version'} takes no CDI names, 25.0 is the first that does"
        found = Missing("an engine that takes CDI names", why, "gpudoctor device-args --format args  # needs none")
    if podman:
        return [], [f"Only podman takes this here: {found.why}."] if docker.installed or elsewhere else []
    if version is not None and not docker.installed:
        found = found._replace(why=f"podman {version} is older than 4.1, the first that does")
    return [found], []


def _here(facts: Facts) -> None:
    """Raise Unseen where ``docker`` talks to another machine, Refused where its daemon has a machine of its own."""
    docker = facts.docker
    if docker.remote:
        raise Unseen("docker", f"it talks to {docker.address}, and that host has the nodes: run gpudoctor there")
    if docker.desktop is not None:
        raise Refused(
            "Docker Desktop's daemon runs in a machine of its own, which has other nodes: use `docker run --gpus all` alone."
        )


def _spec_command(facts: Facts) -> str:
    """Return the command that writes a CDI spec."""
    if facts.toolkit.ctk is not None:
        return "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
    return "gpudoctor device-args --format cdi-spec | sudo tee /etc/cdi/nvidia-nodes.yaml  # nodes only"
