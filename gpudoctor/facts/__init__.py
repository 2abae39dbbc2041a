"""What is true of a host, one file an area. A rule reads facts and never asks the host itself what a fact already says.

Facts are worked out when they are first asked for and kept. Where the host gives no answer, the fact raises the host's
``NoAnswer`` (each time it is asked), and the rule that needed it ends as "cannot tell".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from gpudoctor.host import NoAnswer
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpudoctor.facts.boot import Boot
    from gpudoctor.facts.cdi import Cdi
    from gpudoctor.facts.cgroup import Cgroup
    from gpudoctor.facts.composed import Compose
    from gpudoctor.facts.containers import Containers
    from gpudoctor.facts.devices import Devices
    from gpudoctor.facts.docker import Docker
    from gpudoctor.facts.driver import Driver
    from gpudoctor.facts.gpu import Gpus
    from gpudoctor.facts.image import Image
    from gpudoctor.facts.lxc import Lxc
    from gpudoctor.facts.packages import Packages
    from gpudoctor.facts.platform import Platform
    from gpudoctor.facts.podman import Podman
    from gpudoctor.facts.services import Services
    from gpudoctor.facts.toolkit import Toolkit
    from gpudoctor.facts.usage import Usage
    from gpudoctor.facts.wsl import Wsl
    from gpudoctor.host import Host

_T = TypeVar("_T")


class File(NamedTuple):
    """A file that the user named: the path as it was given, and its bytes."""

    path: str
    data: bytes


class Given(NamedTuple):
    """What the user gave beside a host, to be judged on it. Rules whose ``needs_input`` was not given are not put."""

    image: str = ""
    """An image's name, as ``docker image inspect`` takes it."""
    dockerfile: File | None = None
    containers: tuple[str, ...] = ()
    """Names or ids of containers, as ``docker inspect`` takes them."""
    all_containers: bool = False
    beside: tuple[File, ...] = ()
    """The requirements files that the Dockerfile takes from its folder, named from there."""
    compose: tuple[File, ...] = ()
    """Compose files, each laid over those before it."""
    compose_beside: tuple[File, ...] = ()
    """What the Compose files name (by ``extends`` and ``env_file``) and ``.env`` beside the first, by their paths as the files' own."""

    def has(self, wanted: str) -> bool:
        """Say whether a rule's ``needs_input`` was given."""
        if wanted == "container":
            return self.all_containers or bool(self.containers)
        if wanted == "compose":
            return bool(self.compose)
        return wanted == "image" and (bool(self.image) or self.dockerfile is not None)


NOTHING = Given()


class fact(Generic[_T]):  # noqa: N801 - used as a decorator, like `property`
    """A value worked out once; a ``NoAnswer`` met on the way is kept as well and raised again."""

    def __init__(self, work: Callable[[Any], _T]) -> None:
        """Take the method that works the value out."""
        self.work = work
        self.name = work.__name__
        self.__doc__ = work.__doc__

    @overload
    def __get__(self, area: None, owner: type) -> fact[_T]: ...
    @overload
    def __get__(self, area: object, owner: type) -> _T: ...
    def __get__(self, area: object | None, owner: type) -> fact[_T] | _T:
        """Return the value; it then stands in the instance and is found before this descriptor."""
        if area is None:
            return self
        kept = area.__dict__
        missed = kept.get(f"{self.name} missed")
        if missed is not None:
            raise missed.with_traceback(None)
        try:
            value = self.work(area)
        except NoAnswer as miss:
            kept[f"{self.name} missed"] = miss
            raise
        kept[self.name] = value
        return value


class Facts:
    """All that is known of one host, area by area."""

    def __init__(self, host: Host, given: Given = NOTHING) -> None:
        """Take the host that answers, and what is to be judged on it."""
        self.host = host
        self.given = given

    @fact
    def platform(self) -> Platform:
        """Return what the machine is: architecture, kernel, distribution, systemd, virtualisation."""
        from gpudoctor.facts.platform import Platform

        return Platform(self)

    @fact
    def boot(self) -> Boot:
        """Return kernel arguments now and at the next boot, the boot loader, Secure Boot."""
        from gpudoctor.facts.boot import Boot

        return Boot(self)

    @fact
    def packages(self) -> Packages:
        """Return what the distribution's package manager has installed."""
        from gpudoctor.facts.packages import Packages

        return Packages(self)

    @fact
    def gpus(self) -> Gpus:
        """Return the NVIDIA display functions, NVSwitches, and what the driver says of each GPU."""
        from gpudoctor.facts.gpu import Gpus

        return Gpus(self)

    @fact
    def driver(self) -> Driver:
        """Return the driver: loaded module, module on disk, user libraries, DKMS, kernel log."""
        from gpudoctor.facts.driver import Driver

        return Driver(self)

    @fact
    def devices(self) -> Devices:
        """Return the device nodes and the majors the kernel gave."""
        from gpudoctor.facts.devices import Devices

        return Devices(self)

    @fact
    def cgroup(self) -> Cgroup:
        """Return the cgroup hierarchy."""
        from gpudoctor.facts.cgroup import Cgroup

        return Cgroup(self)

    @fact
    def docker(self) -> Docker:
        """Return the Docker daemon: which one, its configuration, what it says of itself."""
        from gpudoctor.facts.docker import Docker

        return Docker(self)

    @fact
    def podman(self) -> Podman:
        """Return podman, and whether it poses as docker."""
        from gpudoctor.facts.podman import Podman

        return Podman(self)

    @fact
    def toolkit(self) -> Toolkit:
        """Return the NVIDIA container toolkit: version, programs, config.toml, effective injection path."""
        from gpudoctor.facts.toolkit import Toolkit

        return Toolkit(self)

    @fact
    def cdi(self) -> Cdi:
        """Return the CDI specs, parsed."""
        from gpudoctor.facts.cdi import Cdi

        return Cdi(self)

    @fact
    def services(self) -> Services:
        """Return systemd units: installed, enabled, active."""
        from gpudoctor.facts.services import Services

        return Services(self)

    @fact
    def image(self) -> Image:
        """Return the image or Dockerfile that was given: what it asks of a host, and what it has."""
        from gpudoctor.facts.image import Image

        return Image(self)

    @fact
    def containers(self) -> Containers:
        """Return the containers that were given: what each was given of the GPU, and what it is admitted to now."""
        from gpudoctor.facts.containers import Containers

        return Containers(self)

    @fact
    def composed(self) -> Compose:
        """Return the Compose files that were given, merged, and the Compose that this host has."""
        from gpudoctor.facts.composed import Compose

        return Compose(self)

    @fact
    def lxc(self) -> Lxc:
        """Return LXC, LXD, Incus and Proxmox: what this guest is, and what a host gives its guests."""
        from gpudoctor.facts.lxc import Lxc

        return Lxc(self)

    @fact
    def usage(self) -> Usage:
        """Return which process of which container uses which GPU, as NVML tells it."""
        from gpudoctor.facts.usage import Usage

        return Usage(self)

    @fact
    def wsl(self) -> Wsl:
        """Return the GPU through Microsoft's virtual bus: WSL and guests of Hyper-V."""
        from gpudoctor.facts.wsl import Wsl

        return Wsl(self)


class Area:
    """The base of one area's facts."""

    def __init__(self, facts: Facts) -> None:
        """Take all the facts: an area may build on another."""
        self.facts = facts
        self.host = facts.host
