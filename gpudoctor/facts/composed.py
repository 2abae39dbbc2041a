"""The Compose files that were given, as Compose sees them together, and the Compose that this host has.

A service is never judged by its name. It wants a GPU where it says so: by a reservation or ``gpus:``, by the nvidia runtime, by a
device node or a CDI name, by NVIDIA_VISIBLE_DEVICES or CUDA_VISIBLE_DEVICES, or by an image whose name says that it is built for one.

A variable has the value that whoever runs the doctor has set, else that of ``.env`` beside the first file, else its default. Where
none of these is there Compose puts in nothing; whoever needs such a value cannot tell, since it may be set when Compose is run. The
same holds for what is not in the files: a service that extends a file that is not there, or an overlay whose base was not given.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Literal

from gpudoctor import tables
from gpudoctor.facts import Area, fact
from gpudoctor.facts.image import reference
from gpudoctor.formats import Malformed, composed
from gpudoctor.host import Denied, NoAnswer, Unseen
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpudoctor.facts import File
    from gpudoctor.formats.composed import Composed, Value

VISIBLE = "NVIDIA_VISIBLE_DEVICES"
CAPABILITIES = "NVIDIA_DRIVER_CAPABILITIES"
CUDA_VISIBLE = "CUDA_VISIBLE_DEVICES"
RESERVED = ("deploy", "resources", "reservations", "devices")
COUNT_FILLED = (2, 30)
"""The Compose from which a request with neither count nor device_ids asks for all GPUs (compose-go, pull request 689)."""

PLUGIN = ("docker", "compose", "version", "--short")
STANDALONE = ("docker-compose", "version", "--short")
_PACKAGES = ("docker-compose-plugin", "docker-compose-v2", "docker-compose")
_GPU_IMAGES = frozenset(
    {
        "nvidia/cuda",
        "nvidia/cudagl",
        "nvidia/pytorch",
        "nvidia/tensorflow",
        "nvidia/tritonserver",
        "nvidia/dcgm-exporter",
        "vllm/vllm-openai",
        "lmsysorg/sglang",
    }
)
"""Images that do nothing without an NVIDIA GPU, whatever their tag says (but for ``cpu`` or another maker's name)."""
_OTHER_BUILDS = ("cpu", "rocm", "xpu", "intel", "hpu", "tpu", "neuron", "sdk", "min")


class Program(NamedTuple):
    """A Compose of this host: the command that reaches it, its version, and where that was read."""

    command: Literal["docker compose", "docker-compose"]
    version: str
    source: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version as numbers."""
        return tables.version(self.version)


class Request(NamedTuple):
    """A request for devices, of ``deploy.resources.reservations.devices`` or of ``gpus:``; what it does not say is None."""

    by: Literal["reservation", "gpus"]
    place: Value
    driver: Value | None
    number: Value | None
    ids: tuple[Value, ...] | None
    capabilities: tuple[Value, ...] | None

    @property
    def for_gpu(self) -> bool:
        """Whether it asks for an NVIDIA GPU: by ``gpus:``, its driver, a capability, or names of CDI."""
        if self.by == "gpus":
            return self.driver is None or self.driver.text in {"nvidia", "cdi", ""}
        if self.driver is not None and self.driver.text == "nvidia":
            return True
        if any(each.text == "gpu" or each.text.startswith("nvidia") for each in self.capabilities or ()):
            return self.driver is None or self.driver.text in {"", "cdi"}
        return any(each.text.startswith("nvidia.com/") for each in self.ids or ())

    @property
    def short(self) -> bool:
        """Whether it is written ``gpus: all``."""
        return self.by == "gpus" and self.number is not None and self.place.tag == self.number.tag

    @property
    def is_cdi(self) -> bool:
        """Whether it names CDI devices, which the engine itself puts in."""
        return self.driver is not None and self.driver.text == "cdi"

    @property
    def says(self) -> str:
        """The request in one line, as YAML would have it."""
        parts = [f"driver: {self.driver.text}"] if self.driver is not None else []
        parts += [f"count: {self.number.text}"] if self.number is not None else []
        parts += [f"device_ids: [{', '.join(each.text for each in self.ids)}]"] if self.ids is not None else []
        if self.capabilities is not None:
            parts.append(f"capabilities: [{', '.join(each.text for each in self.capabilities)}]")
        return f"{'gpus' if self.by == 'gpus' else 'reservations.devices'}: {{{', '.join(parts)}}}"


class Device(NamedTuple):
    """An entry of ``devices:``: a node of the host, or a CDI name."""

    place: Value
    source: str
    unset: tuple[str, ...]

    @property
    def is_node(self) -> bool:
        """Whether it is an NVIDIA device node."""
        return self.source.startswith(("/dev/nvidia", "/dev/dxg", "/dev/nvhost"))

    @property
    def is_cdi(self) -> bool:
        """Whether it is the CDI name of an NVIDIA device."""
        return self.source.startswith("nvidia.com/")


class Service(NamedTuple):
    """A service as Compose sees it. ``lacking`` says why not all of it is known, empty where it is."""

    name: str
    value: Value
    requests: tuple[Request, ...]
    devices: tuple[Device, ...]
    runtime: Value | None
    environment: dict[str, Value]
    lacking: str

    @property
    def gpu_requests(self) -> tuple[Request, ...]:
        """The requests that are for an NVIDIA GPU."""
        return tuple(each for each in self.requests if each.for_gpu)

    @property
    def nodes(self) -> tuple[Device, ...]:
        """The NVIDIA device nodes that it lists."""
        return tuple(each for each in self.devices if each.is_node)

    @property
    def cdi(self) -> tuple[Device, ...]:
        """The CDI names that it lists."""
        return tuple(each for each in self.devices if each.is_cdi)

    @property
    def by_runtime(self) -> bool:
        """Whether it names an nvidia runtime."""
        return self.runtime is not None and self.runtime.text.startswith("nvidia")

    @property
    def signs(self) -> tuple[tuple[Value, str], ...]:
        """What shows that it wants a GPU: each place, and what stands there."""
        found = [(each.place, each.says) for each in self.gpu_requests]
        if self.runtime is not None and self.by_runtime:
            found.append((self.runtime, f"runtime: {self.runtime.text}"))
        for name in (VISIBLE, CUDA_VISIBLE):
            value = self.environment.get(name)
            if value is not None and value.text.strip() not in {"", "none", "void", "-1", "NoDevFiles"}:
                found.append((value, f"{name}={value.text}"))
        found += [(each.place, each.source) for each in (*self.nodes, *self.cdi)]
        image = self.value.get("image")
        if image is not None and image.kind == "text" and not image.unset and built_for_gpu(image.text):
            found.append((image, f"image: {image.text}"))
        return tuple(found)

    def unknown_environment(self) -> Value | None:
        """Return the ``env_file`` of which some could not be read: any variable may be in there."""
        return self.environment.get("")


def built_for_gpu(image: str) -> bool:
    """Say whether the name of an image tells that it is built for an NVIDIA GPU."""
    named = reference(image)
    words = named.tag.lower().replace(".", "-").replace("_", "-").split("-")
    if any(word.startswith(_OTHER_BUILDS) for word in words):
        return False
    # latest-gpu, 2.4.0-cuda12.4-cudnn9-runtime
    return named.repository in _GPU_IMAGES or "gpu" in words or any(word.startswith("cuda") for word in words)


class Compose(Area):
    """The files that were given, merged, and the Compose of this host."""

    @fact
    def _dotenv(self) -> dict[str, str]:
        files = self.facts.given.compose
        found = self._beside(files[0].path, ".env") if files else None
        return composed.env_file(found[1], self._shell) if found is not None else {}

    def _shell(self, name: str) -> str | None:
        try:
            return self.host.variable(name)
        except NoAnswer:
            return None

    def variable(self, name: str) -> str | None:
        """Return what Compose puts in for a variable, None where it is not set."""
        told = self._shell(name)
        return self._dotenv.get(name) if told is None else told

    def _beside(self, path: str, named: str) -> tuple[str, bytes] | None:
        given = self.facts.given
        wanted = beside(path, named, given.compose)
        return next(
            (
                (each.path, each.data)
                for each in (*given.compose, *given.compose_beside)
                if posixpath.normpath(each.path) == wanted
            ),
            None,
        )

    @fact
    def merged(self) -> Composed:
        """Return the files as Compose merges them."""
        try:
            return composed.merged(
                tuple((each.path, each.data) for each in self.facts.given.compose), self._beside, self.variable
            )
        except Malformed as bad:
            raise Denied(bad.path, str(bad)) from None

    @fact
    def versions(self) -> dict[str, Value]:
        """Return what each file has as its ``version:``, by the file's path."""
        return {top.file: version for top in self.merged.layers if (version := _text(top, "version")) is not None}

    @fact
    def services(self) -> tuple[Service, ...]:
        """Return the services of all files, merged."""
        return tuple(self._service(name, value) for name, value in self.merged.services.items())

    def _service(self, name: str, value: Value) -> Service:
        requests = tuple(_request("reservation", each) for each in value.all(*RESERVED) if each.kind == "map")
        requests += tuple(_request("gpus", each) for each in value.all("gpus") if each.kind == "map")
        lacking = self.merged.lacking.get(name)
        told = lacking.why if lacking is not None else ""
        if not told and not self.merged.includes and value.get("image") is None and value.get("build") is None:
            told = "it has neither image nor build here, so it lies over a file that was not given"
        return Service(
            name,
            value,
            requests,
            tuple(_device(each) for each in value.all("devices")),
            _runtime(value),
            self._environment(value),
            told,
        )

    def _environment(self, value: Value) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for each in value.all("env_file"):
            path = each.get("path") if each.kind == "map" else each
            home = self.merged.homes.get(each.file, each.file)
            data = self._beside(home, path.text) if path is not None and not path.unset else None
            if data is None:
                found[""] = each
                continue
            read = composed.env_file(data[1], self.variable)
            found.update({name: each._replace(kind="text", text=text, tag="str") for name, text in read.items()})
        own = value.get("environment")
        for name, each in (own.pairs if own is not None and own.kind == "map" else {}).items():
            if not each.empty:
                found[name] = each
                continue
            # A name alone is passed on from the environment of Compose itself.
            told = self.variable(name)
            found[name] = each._replace(text=told or "", tag="str", unset=() if told is not None else (name,))
        return found

    @fact
    def program(self) -> Program | None:
        """Return the Compose of this host, ``docker compose`` where both are there; None where there is none.

        It is asked only where `docker info` would be, since some releases talk to the daemon even for their version; else its package
        tells. Raises Unseen where neither does.
        """
        docker = self.facts.docker
        may_ask = self.host.closed or (not docker.remote and bool(docker.daemons))
        missed: NoAnswer | None = None
        for argv in (PLUGIN, STANDALONE) if may_ask else ():
            try:
                ran = self.host.command(*argv)
            except NoAnswer as miss:
                missed = missed or miss
                continue
            version = ran.out.decode("utf-8", "replace").strip().removeprefix("v") if ran is not None and ran.rc == 0 else ""
            if tables.version(version):
                return Program("docker compose" if argv == PLUGIN else "docker-compose", version, " ".join(argv))
        package = self.facts.packages.installed(*_PACKAGES)
        if package is not None:
            version = package.version.partition(":")[2] or package.version
            plugin = package.name != "docker-compose" or tables.version(version) >= (2,)
            return Program("docker compose" if plugin else "docker-compose", version, self.facts.packages.source)
        if missed is not None:
            raise missed
        if not may_ask and docker.installed:
            raise Unseen(" ".join(PLUGIN), "no Docker daemon of this machine runs, and no package tells the version of Compose")
        return None


def beside(path: str, named: str, layers: Sequence[File] = ()) -> str:
    """Return the path of a file that another one names: relative to the first of the files that lie over each other, or to itself."""
    holder = layers[0].path if any(each.path == path for each in layers) else path
    return posixpath.normpath(posixpath.join(posixpath.dirname(holder), named))


def _text(value: Value, name: str) -> Value | None:
    found = value.get(name)
    return found if found is not None and found.kind == "text" else None


def _runtime(value: Value) -> Value | None:
    """Return the runtime that a service names: an empty text names none, and leaves it to the daemon."""
    found = _text(value, "runtime")
    return found if found is not None and (found.text or found.unset) else None


def _words(value: Value) -> tuple[Value, ...]:
    """Return the texts of a list, those of lists in it too: `capabilities: [[gpu]]` is what the engine's interface has."""
    inner = value.elements if value.kind == "list" else (value,)
    return tuple(word for each in inner for word in (_words(each) if each.kind == "list" else (each,)) if word.kind == "text")


def _request(by: Literal["reservation", "gpus"], value: Value) -> Request:
    ids = value.get("device_ids")
    able = value.get("capabilities")
    return Request(
        by,
        value,
        _text(value, "driver"),
        _text(value, "count"),
        None if ids is None else tuple(each for each in value.all("device_ids") if each.kind == "text"),
        None if able is None else _words(able),
    )


def _device(value: Value) -> Device:
    if value.kind == "map":
        source = _text(value, "source")
        return Device(value, source.text if source is not None else "", source.unset if source is not None else ())
    text = value.text
    is_cdi = "/" in text.partition("=")[0] and "=" in text and not text.startswith("/")
    return Device(value, text if is_cdi else text.partition(":")[0], value.unset)
