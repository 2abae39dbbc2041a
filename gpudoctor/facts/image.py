"""The image or the Dockerfile that was given: what it asks of a host, and what it has.

Of an image, ``docker image inspect`` tells the variables and ``docker history`` the commands it was built with; nothing is run in it,
and the files in its layers are not looked at. Of a Dockerfile, what it adds is known, and of the image it begins with what the tag of
a well-known one tells: variables of any other base are not known, so a variable that is not there says nothing.

Requirements files that lie beside the Dockerfile and that it copies are read too (``Given.beside``). What any other requirements file,
a folder copied from elsewhere or a script brings is not known: `unread` names the first of these, and who needs what may be in there
cannot tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from gpudoctor import tables
from gpudoctor.facts import Area, fact
from gpudoctor.host import Denied, NoAnswer, Unseen
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpudoctor.formats.dockerfile import Command, Copy, Dockerfile, Package

_Row = TypeVar("_Row")
Libraries = Literal["none", "base", "runtime", "devel"]
"""Which of CUDA's libraries are in the linker's path: none; the run-time library alone; those of computing; headers and stubs too."""

INSPECT = ("docker", "image", "inspect")
HISTORY = ("docker", "history", "--no-trunc", "--format", "{{json .}}")
CUDNN_UNNUMBERED = (12, 4)
"""From this CUDA on the tags say ``cudnn`` without a number, and mean 9."""

# The Python that these releases bring, by the end of a tag or by the name of an official image.
_PYTHONS = {
    "ubuntu18.04": (3, 6),
    "ubuntu20.04": (3, 8),
    "ubuntu22.04": (3, 10),
    "ubuntu24.04": (3, 12),
    "ubi8": (3, 6),
    "rockylinux8": (3, 6),
    "ubi9": (3, 9),
    "rockylinux9": (3, 9),
}
_RELEASES = {
    "ubuntu": {
        "18.04": (3, 6),
        "bionic": (3, 6),
        "20.04": (3, 8),
        "focal": (3, 8),
        "22.04": (3, 10),
        "jammy": (3, 10),
        "24.04": (3, 12),
    },
    "debian": {
        "10": (3, 7),
        "buster": (3, 7),
        "11": (3, 9),
        "bullseye": (3, 9),
        "12": (3, 11),
        "bookworm": (3, 11),
        "13": (3, 13),
    },
}
_WITHOUT_CUDA = frozenset(
    {"python", "ubuntu", "debian", "alpine", "fedora", "node", "golang", "rust", "buildpack-deps", "rockylinux"}
)
"""Official images that have no CUDA in them."""
_OTHER_PYTHONS = ("conda", "mamba", "micromamba", "pyenv", "pixi", "asdf", "mise")
"""Programs that bring a Python of their own."""
_PINNING = {
    "torch": ("vllm", "sglang", "xformers", "torchvision", "torchaudio", "torchtext", "fastai", "lmdeploy", "tensorrt-llm"),
    "onnxruntime-gpu": (),
    "tensorflow": ("tensorflow-text", "tensorflow-addons"),
}
"""Packages that ask for one certain release of another one where they are not themselves installed without a version."""
_PARTS = 3
_ALWAYS_PINNING = frozenset({"vllm", "sglang", "xformers", "lmdeploy", "tensorrt-llm", "fastai"})
_BRINGING = {
    "torch": frozenset(
        """
        accelerate auto-gptq autoawq bertopic bitsandbytes coqui-tts deepspeed demucs docling easyocr fairseq fastai flair flash-attn
        k-diffusion kornia lightning lmdeploy marker-pdf monai open-clip-torch openai-whisper optimum peft pyannote-audio
        pytorch-lightning sentence-transformers sglang silero-vad simpletransformers speechbrain stanza surya-ocr timm torchaudio
        torchmetrics torchtext torchvision trl tts ultralytics unstructured-inference vllm whisperx xformers
        """.split()  # noqa: SIM905 - a list of words is easier to keep in this form
    ),
}
"""Packages that bring a framework which a requirements file need not name; which release and build, their own bounds say."""
_LIBRARY_WORDS = ("cuda", "cudnn", "cublas", "nvidia")
"""In names of files that may bring CUDA's libraries."""


class Told(NamedTuple):
    """A value, where it was read (a path or a command, and a line), and what stands there."""

    value: str
    path: str
    line: int | None
    says: str


class Reference(NamedTuple):
    """An image's name, taken apart: the repository without a registry of Docker's or NVIDIA's, and the tag ("" is none)."""

    name: str
    repository: str
    tag: str
    digest: str


class Wheel(NamedTuple):
    """A framework that the image has: its release, the build ("cu121", "cpu", "" is not known), the CUDA and cuDNN it brings or needs.

    ``assumed`` says in words why this release, where the image does not name one; ``unless`` what was not examined and may change it.
    """

    release: str
    variant: str
    cuda: str
    cudnn: str
    driver: str
    told: Told
    assumed: str = ""
    unless: str = ""


def reference(name: str) -> Reference:
    """Take an image's name apart."""
    rest, _, digest = name.partition("@")
    path, sign, tag = rest.rpartition(":")
    if not sign or "/" in tag:
        path, tag = rest, ""
    for registry in (
        "docker.io/",
        "index.docker.io/",
        "registry-1.docker.io/",
        "nvcr.io/",
        "library/",
        "public.ecr.aws/docker/library/",
    ):
        path = path.removeprefix(registry)
    return Reference(name, path.lower(), tag, digest)


class Image(Area):
    """What was given, an image or a Dockerfile; an image that is not on this host is known by its name alone."""

    @fact
    def of_file(self) -> bool:
        """Say whether it is a Dockerfile."""
        return self.facts.given.dockerfile is not None

    @fact
    def dockerfile(self) -> Dockerfile | None:
        """Return the Dockerfile that was given, read; raises Malformed where it is none."""
        given = self.facts.given.dockerfile
        if given is None:
            return None
        from gpudoctor.formats import dockerfile

        return dockerfile.parse(given.data)

    @fact
    def path(self) -> str:
        """Return what to call the source of a fact: the Dockerfile, or the command that was asked."""
        given = self.facts.given
        return given.dockerfile.path if given.dockerfile is not None else f"docker image inspect {given.image}"

    @fact
    def label(self) -> str:
        """Return what to call it in a sentence."""
        return "this Dockerfile's image" if self.of_file else f"the image {self.facts.given.image}"

    @fact
    def _inspected(self) -> dict[str, Any] | None:
        name = self.facts.given.image
        if not name or not self._may_ask:
            return None
        ran = self.host.command(*INSPECT, name)
        if ran is None:
            return None
        if b"permission denied" in ran.err.lower():
            raise Denied(" ".join((*INSPECT, name)), "permission denied on the Docker socket")
        import json

        try:
            value = json.loads(ran.out)
        except (ValueError, RecursionError):
            return None
        first = value[0] if isinstance(value, list) and value else value
        return first if isinstance(first, dict) and ran.rc == 0 else None

    @fact
    def _may_ask(self) -> bool:
        """Say whether Docker can be asked: as for ``docker info``, only where a dockerd runs here."""
        docker = self.facts.docker
        return self.host.closed or (not docker.remote and bool(docker.daemons))

    @fact
    def is_here(self) -> bool:
        """Say whether the image that was named is on this host; a Dockerfile always is."""
        return self.of_file or self._inspected is not None

    def _need_image(self) -> None:
        if not self.is_here:
            raise Unseen(self.path, "this image is not on this host, so only its name is known (docker pull it, and ask again)")

    @fact
    def config(self) -> dict[str, Any]:
        """Return the image's configuration, as containers get it; raises Unseen where the image is not on this host."""
        self._need_image()
        config = (self._inspected or {}).get("Config")
        return config if isinstance(config, dict) else {}

    @fact
    def env(self) -> dict[str, Told]:
        """Return the variables that containers get: all of an image's, those that a Dockerfile adds."""
        if self.dockerfile is not None:
            return {
                name: Told(each.value, self.path, each.line, f"{name}={each.value}") for name, each in self.dockerfile.env.items()
            }
        entries = [str(each).partition("=") for each in self.config.get("Env") or () if isinstance(each, str)]
        return {name: Told(value, self.path, None, f"{name}={value}") for name, _, value in entries}

    @fact
    def machine(self) -> str:
        """Return the machine that it is for, as ``uname -m`` says it; empty where that is not known."""
        names = {"amd64": "x86_64", "arm64": "aarch64"}
        if self.dockerfile is not None:
            asked = self.dockerfile.base.platform.rpartition("/")[2].lower()
            return names.get(asked, "") if asked else self.facts.platform.machine
        self._need_image()
        told = str((self._inspected or {}).get("Architecture") or "")
        return names.get(told, told)

    @fact
    def base(self) -> Reference:
        """Return the image's own name, or that of the image that the Dockerfile's final stage begins with."""
        return reference(self.dockerfile.base.image if self.dockerfile is not None else self.facts.given.image)

    @fact
    def base_told(self) -> Told:
        """Return where the name of `base` was read."""
        if self.dockerfile is not None:
            return Told(self.base.name, self.path, self.dockerfile.base.line, f"FROM {self.base.name}")
        return Told(self.base.name, "--image", None, self.base.name)

    @fact
    def bases(self) -> tuple[tuple[Reference, Told], ...]:
        """Return every image that has to be pulled, and where it is named."""
        if self.dockerfile is None:
            return ((self.base, self.base_told),)
        return tuple(
            (reference(each.image), Told(each.image, self.path, each.line, f"FROM {each.image}"))
            for each in self.dockerfile.bases
        )

    @fact
    def commands(self) -> tuple[Command, ...]:
        """Return the commands that it is built with: those of the Dockerfile's final stage, or of the image's history."""
        if self.dockerfile is not None:
            return self.dockerfile.commands
        self._need_image()
        ran = self.host.command(*HISTORY, self.facts.given.image)
        if ran is None or ran.rc != 0 or not ran.out.strip():
            raise Unseen(f"docker history {self.facts.given.image}", "it was not told how this image was built")
        from gpudoctor.formats import dockerfile

        found: list[Command] = []
        for line in reversed(ran.out.decode("utf-8", "replace").splitlines()):
            script = _script(line)
            if script:
                found += dockerfile.commands(script, lambda name: self.env[name].value if name in self.env else None, lambda _: 0)
        return tuple(found)

    @fact
    def copies(self) -> tuple[Copy, ...]:
        """Return what a Dockerfile copies; an image's history does not tell it in words."""
        return self.dockerfile.copies if self.dockerfile is not None else ()

    @fact
    def packages(self) -> tuple[Package, ...]:
        """Return what is surely installed and not removed again, in order; requirements files that were not read too."""
        from gpudoctor.formats import pip_requirements

        found: list[Package] = []
        for each in self._listed:
            holds = pip_requirements.holds(each.marker, self._python_of(each), self._known_machine) if each.marker else True
            if holds is False:
                continue
            if holds is None:
                found.append(each._replace(sure=False))
            elif each.removed:
                found = [other for other in found if other.name != each.name or other.manager == "system"]
            else:
                found.append(each)
        return tuple(found)

    @fact
    def _listed(self) -> tuple[Package, ...]:
        """Return every line that installs or removes something, with those of the requirements files."""
        if self.dockerfile is not None:
            from gpudoctor.formats import build_context

            beside = {each.path: each.data for each in self.facts.given.beside}
            return build_context.expand(self.dockerfile, beside.get)
        from gpudoctor.formats import dockerfile

        return tuple(dockerfile.packages(self.commands))

    @fact
    def _known_machine(self) -> str:
        try:
            return self.machine
        except NoAnswer:
            return ""

    def told(self, package: Package) -> Told:
        """Return where a package is installed."""
        if package.file:
            folder = self.path.rpartition("/")[0]
            beside = f"{folder}/{package.file}" if "/" in self.path else package.file
            return Told(package.spec, beside, package.line, package.words)
        where = self.path if self.of_file else f"docker history {self.facts.given.image}"
        return Told(package.spec, where, package.line or None, f"{package.manager} install {package.words}")

    def installed(self, *names: str) -> Package | None:
        """Return the last package of these names that is surely installed by pip or conda, None where none is."""
        found = [each for each in self.packages if each.name in names and each.manager in {"pip", "conda"} and each.sure]
        return found[-1] if found else None

    def _decisive(self, *names: str) -> tuple[Package | None, str]:
        """Return the package that decides which release of a framework is there, and what was not examined and may change it.

        pip keeps a release that is there and fits: the first line decides, unless a later one asks for another. Raises Unseen where
        lines under a condition, or other packages, decide.
        """
        from gpudoctor.tables import wheels

        found = [each for each in self.packages if each.name in names and each.manager in {"pip", "conda"}]
        if not found:
            bringing = next(
                (each for each in self.packages if each.manager == "pip" and each.name in _BRINGING.get(names[0], ())), None
            )
            if bringing is not None and bringing.file:
                raise Unseen(self.path, f"which release of {names[0]} {_at(bringing)} brings is not in the tables")
            return None, ""
        unsure = next((each for each in found if not each.sure), None)
        if unsure is not None:
            raise Unseen(self.path, f"{unsure.words} is installed under a condition")
        decisive = found[0]
        for later in found[1:]:
            if later.fresh or not _exact(decisive) or not wheels.admits(later.spec, decisive.spec.lstrip("=").partition("+")[0]):
                decisive = later if later.spec or later.fresh else decisive
        pins = [
            each
            for each in self.packages
            if each.name in _PINNING.get(names[0], ()) and (each.spec or each.name in _ALWAYS_PINNING)
        ]
        if pins and not (_exact(decisive) and all((each.step or each.line) == (decisive.step or decisive.line) for each in pins)):
            raise Unseen(self.path, f"which release of {names[0]} {pins[0].words} asks for is not in the tables")
        files = [each for each in self.packages if each.manager == "file"]
        if files and not _exact(decisive) and self.packages.index(files[0]) < self.packages.index(decisive):
            raise Unseen(self.path, f"{_at(files[0])} is not examined, and may bring another release of {names[0]}")
        return decisive, _at(files[0]) if files else ""

    @fact
    def unread(self) -> str:
        """Return what may bring packages or libraries that are not seen, in a few words; empty where there is nothing of the kind."""
        for each in self.packages:
            if each.manager == "file" and each.option != "-c":
                return _at(each)
        if self.unread_libraries:
            return self.unread_libraries
        for each in self.packages:
            if not each.sure:
                return f"{_at(each)}, which is installed under a condition"
        return ""

    @fact
    def unread_libraries(self) -> str:
        """Return what may bring libraries past every package manager: a copied folder, an archive, a script; empty where nothing may."""
        for copy in self.copies:
            origin = f" from {copy.origin}" if copy.origin else ""
            system = (
                copy.origin
                and copy.target.startswith(("/usr", "/opt", "/lib", "/etc"))
                and not copy.target.startswith("/usr/local/bin")
            )
            if system or any(word in name.lower() for name in (*copy.sources, copy.target) for word in _LIBRARY_WORDS):
                return f"what is copied{origin} to {copy.target} (line {copy.line})"
        for command in self.commands:
            if _is_opaque(command):
                words = " ".join(command.argv)[:60]
                return f"{words} (line {command.line})" if command.line else words
        return ""

    @fact
    def flavour(self) -> Libraries | None:
        """Return which of CUDA's libraries the base brings to the linker's path; None where it is not known."""
        tag = self.base.tag.lower()
        if self._is_cuda_image:
            return next((each for each in ("devel", "runtime", "base") if each in tag.split("-")), None)
        if self.of_file:
            return "none" if self.base.repository in _WITHOUT_CUDA else None
        env = self.env
        if "NV_CUDA_CUDART_DEV_VERSION" in env:
            return "devel"
        if "NV_CUDA_LIB_VERSION" in env:
            return "runtime"
        if "NV_CUDA_CUDART_VERSION" in env:
            return "base"
        return "none" if self.base.repository in _WITHOUT_CUDA else None

    @fact
    def _is_cuda_image(self) -> bool:
        return self.base.repository == "nvidia/cuda" or self.base.repository.endswith("/nvidia/cuda")

    @fact
    def cuda(self) -> Told | None:
        """Return the CUDA of the image's libraries, such as ``12.4.1``; None where it says none."""
        if not self.is_here and self._is_cuda_image and tables.version(self.base.tag):
            return self.base_told._replace(value=_leading(self.base.tag))
        told = self.env.get("CUDA_VERSION")
        if told is not None and tables.version(told.value):
            return told
        if self._is_cuda_image and tables.version(self.base.tag):
            return self.base_told._replace(value=_leading(self.base.tag))
        return None

    @fact
    def built_for(self) -> Told | None:
        """Return the CUDA that the image's programs are built for: that of its libraries, or of a pytorch/pytorch tag."""
        if self.base.repository == "pytorch/pytorch":
            for part in self.base.tag.split("-"):
                if part.startswith("cuda") and tables.version(part[4:]):
                    return self.base_told._replace(value=part[4:])
        return self.cuda

    @fact
    def cudnn(self) -> Told | None:
        """Return the cuDNN that the base brings, ``9.1.0.70`` or only ``9``; None where it brings none. Raises Unseen."""
        told = self.env.get("NV_CUDNN_VERSION") or self.env.get("CUDNN_VERSION") if self.is_here else None
        if told is not None and tables.version(told.value):
            return told._replace(value=told.value.partition("-")[0])
        if self._is_cuda_image:
            part = next((each for each in self.base.tag.split("-") if each.startswith("cudnn")), None)
            if part is None:
                return None
            number = part[len("cudnn") :]
            if not number and tables.version(self.base.tag)[:2] >= CUDNN_UNNUMBERED:
                number = "9"
            if number.isdigit():
                return self.base_told._replace(value=number)
        elif self.flavour in {"none", "base"} or not self.of_file:
            return None
        raise Unseen(self.path, f"whether {self.base.name} brings cuDNN is not known")

    @fact
    def cuda_packages(self) -> tuple[Package, ...]:
        """Return packages that bring CUDA's computing libraries where the base has none, or others."""
        prefixes = ("cuda-libraries", "cuda-toolkit", "cuda-runtime", "libcublas", "nvidia-cublas", "nvidia-cuda-runtime")
        names = {"cudatoolkit", "cuda", "nvidia-cuda-toolkit", "cudatoolkit-dev", "cuda-python"}
        return tuple(each for each in self.packages if each.name.startswith(prefixes) or each.name in names)

    @fact
    def cudnn_packages(self) -> tuple[Package, ...]:
        """Return packages that bring cuDNN."""
        return tuple(each for each in self.packages if each.name.startswith(("nvidia-cudnn", "libcudnn", "cudnn")))

    @fact
    def python(self) -> tuple[int, ...]:
        """Return the version of the Python that pip belongs to, () where it is not known."""
        told = self.env.get("PYTHON_VERSION")
        if told is not None:
            return tables.version(told.value)[:2]
        seen = {word.rpartition("/")[2] for each in self.commands for word in each.argv[:1]}
        uv = {word for each in self.commands if each.argv[0].endswith("uv") for word in each.argv[1:]}
        if seen & set(_OTHER_PYTHONS) or uv & {"python", "--python", "-p", "sync"}:
            return ()
        named = {each.name for each in self._listed if each.name.startswith("python3.") and each.name[8:].isdigit()}
        # The distribution's pip belongs to the distribution's own Python, whatever else is installed beside it.
        if named and not any(each.name == "python3-pip" for each in self._listed):
            return tables.version(named.pop().removeprefix("python")) if len(named) == 1 else ()
        if named:
            return ()
        repository, tag = self.base.repository, self.base.tag
        if repository == "python":
            return tables.version(tag)[:2] if len(tables.version(tag)) > 1 else ()
        if repository in _RELEASES:
            return _RELEASES[repository].get(tag.partition("-")[0], ())
        return next((version for end, version in _PYTHONS.items() if tag.endswith(end)), ())

    @fact
    def datable(self) -> bool:
        """Say whether the newest release of a package is known: of a Dockerfile, which is built today; an image was built some day."""
        return self.of_file

    def _python_of(self, package: Package) -> tuple[int, ...]:
        return tables.version(package.python) if package.python else self.python

    def _spec(self, package: Package) -> str:
        """Return a package's version bounds; raises Unseen where the release cannot be told from them."""
        if package.spec == "@" or "$" in package.words:
            raise Unseen(self.path, f"which release {package.words} is, is not told")
        if not _exact(package) and not self.datable:
            raise Unseen(self.path, f"which release {package.words} was when the image was built is not told")
        if not _exact(package) and not self._python_of(package):
            raise Unseen(self.path, f"for which Python {package.words} is installed is not told")
        return package.spec.partition("+")[0]

    def _need_default_index(self, package: Package) -> None:
        """Raise Unseen where pip takes a package from an index whose builds are not known."""
        names = {
            "PIP_INDEX_URL",
            "PIP_EXTRA_INDEX_URL",
            "PIP_FIND_LINKS",
            "UV_INDEX_URL",
            "UV_EXTRA_INDEX_URL",
            "UV_DEFAULT_INDEX",
        }
        set_elsewhere = any(name in self.env for name in (*names, "UV_TORCH_BACKEND")) or any(
            each.argv[1:3] == ("config", "set") for each in self.commands
        )
        if package.indexes or package.others or set_elsewhere:
            raise Unseen(self.path, f"which build of {package.words} pip takes of several indexes is not told")

    def _assumed(self, package: Package, python: tuple[int, ...]) -> str:
        if package.spec.startswith("=="):
            return ""
        for_python = f" for Python {'.'.join(map(str, python))}" if python else ""
        return f"the newest{for_python} as of {tables.AS_OF}"

    @fact
    def torch(self) -> Wheel | None:
        """Return the PyTorch in it, None where none is seen; raises Unseen where its build cannot be told."""
        package, unless = self._decisive("torch", "pytorch")
        own = self._torch_of_base
        if package is None or (own is not None and not package.fresh and self._keeps(package, own)):
            return own._replace(unless=self._first_file) if own is not None else None
        from gpudoctor.tables import wheels

        told = self.told(package)
        variant = package.spec.partition("+")[2].removeprefix("pt") or _variant(package.indexes)
        if any("nightly" in index for index in package.indexes):
            raise Unseen(self.path, f"which build {package.words} of a nightly index is, is not in the tables")
        if package.manager == "conda":
            variant = self._conda_variant
        python = self._python_of(package)
        bounds = package.spec if variant and not variant.startswith("cu") else self._spec(package)
        if variant and not variant.startswith("cu"):
            # A CPU, ROCm or XPU build has no CUDA, whatever its release.
            return Wheel(package.spec.removeprefix("=="), variant, "", "", "", told, unless=unless)
        newest = wheels.torch(bounds, python)
        if newest is None:
            raise Unseen(self.path, f"which build {package.words} is, is not in the tables")
        release = ".".join(map(str, tables.version(newest.release)[:2]))
        beside = _variant(package.others)
        if not variant and not package.indexes and _exact(package) and beside in wheels.torch_variants(release, "x86_64"):
            # Of two indexes pip takes the higher number, and 2.4.0+cu121 is higher than 2.4.0.
            variant = beside
        if variant:
            wheel_cuda = _dotted(variant)
            if not package.spec.startswith("==") and variant not in wheels.torch_variants(release, "x86_64"):
                release = _newest_with(variant, bounds, python) or release
            cudnn = newest.cudnn if wheel_cuda.partition(".")[0] == newest.cuda.partition(".")[0] else ""
        else:
            self._need_default_index(package)
            self._need_x86_64(package)
            wheel_cuda, cudnn = newest.cuda, newest.cudnn
            variant = f"cu{newest.cuda.replace('.', '')}"
        return Wheel(release, variant, wheel_cuda, cudnn, _floor(wheel_cuda), told, self._assumed(package, python), unless)

    def _keeps(self, package: Package, own: Wheel) -> bool:
        """Say whether pip is content with the release that the base has."""
        from gpudoctor.tables import wheels

        return not _exact(package) and wheels.admits(package.spec, own.release)

    @fact
    def _first_file(self) -> str:
        return next((_at(each) for each in self.packages if each.manager == "file"), "")

    @fact
    def _torch_of_base(self) -> Wheel | None:
        """Return the PyTorch of a pytorch/pytorch tag: ``2.4.0-cuda12.4-cudnn9-runtime``."""
        if self.base.repository in {"nvidia/pytorch", "nvidia/tensorrt-llm", "huggingface/transformers-pytorch-gpu"}:
            raise Unseen(self.path, f"which build of PyTorch {self.base.name} has is not in the tables")
        if self.base.repository != "pytorch/pytorch":
            return None
        parts = self.base.tag.split("-")
        release = ".".join(map(str, tables.version(parts[0])[:2]))
        cuda = self.built_for.value if self.built_for is not None else ""
        if not release or len(parts) < _PARTS or not cuda:
            return None
        return Wheel(release, f"cu{cuda.replace('.', '')}", cuda, "", _floor(cuda), self.base_told)

    @fact
    def _conda_variant(self) -> str:
        if self.installed("cpuonly") is not None:
            return "cpu"
        cuda = self.installed("pytorch-cuda", "cudatoolkit")
        version = tables.version(cuda.spec.lstrip("=")) if cuda is not None else ()
        if len(version) < 2:
            raise Unseen(self.path, "which build of PyTorch conda takes is not told")
        return f"cu{version[0]}{version[1]}"

    def _need_x86_64(self, package: Package) -> None:
        """Raise Unseen on another machine, for which a release has other builds on PyPI, or none."""
        if self.machine != "x86_64":
            raise Unseen(self.path, f"which build {package.words} is on this machine is not in the tables")

    def _row(self, package: Package, look_up: Callable[[str, tuple[int, ...]], _Row | None]) -> tuple[_Row, tuple[int, ...]]:
        """Return a package's row of the tables, and the Python it is for; raises Unseen where it is not in them."""
        if package.manager == "conda":
            raise Unseen(self.path, f"the build of {package.words} that conda has is not in the tables")
        self._need_default_index(package)
        python = self._python_of(package)
        row = look_up(self._spec(package), python)
        if row is None:
            raise Unseen(self.path, f"which CUDA {package.words} needs is not in the tables")
        return row, python

    @fact
    def onnxruntime(self) -> Wheel | None:
        """Return the onnxruntime-gpu in it, None where none is seen; raises Unseen where its build cannot be told."""
        package, unless = self._decisive("onnxruntime-gpu")
        if package is None:
            return None
        from gpudoctor.tables import wheels

        self._need_x86_64(package)
        row, python = self._row(package, wheels.onnxruntime)
        return Wheel(
            row.release, "", row.cuda, str(row.cudnn), row.driver, self.told(package), self._assumed(package, python), unless
        )

    @fact
    def tensorflow(self) -> Wheel | None:
        """Return the TensorFlow in it, None where none is seen; ``variant`` is ``and-cuda`` where it brings its libraries."""
        package, unless = self._decisive("tensorflow", "tensorflow-gpu")
        if package is None:
            return None
        from gpudoctor.tables import wheels

        self._need_x86_64(package)
        row, python = self._row(package, wheels.tensorflow)
        brings = "and-cuda" if "and-cuda" in package.extras and row.and_cuda else ""
        return Wheel(
            row.release, brings, row.cuda, row.cudnn, row.driver, self.told(package), self._assumed(package, python), unless
        )


def _script(line: str) -> str:
    """Return the shell script of one line of ``docker history``, empty where it is no RUN."""
    import json

    try:
        created = str(json.loads(line).get("CreatedBy") or "")
    except (ValueError, RecursionError, AttributeError):
        return ""
    if "#(nop)" in created:
        return ""
    shell, sign, script = created.partition("/bin/sh -c ")
    if not sign:
        shell, sign, script = created.partition("/bin/bash -c ")
    # Before it stands RUN, and the build arguments as |2 NAME=value NAME=value.
    if not sign or (shell.strip() and not shell.startswith(("RUN", "|", "SHELL"))):
        return ""
    return script.removesuffix("# buildkit")


def _exact(package: Package) -> bool:
    return package.spec.startswith("==") and "," not in package.spec and "*" not in package.spec


def _at(package: Package) -> str:
    if package.file:
        return f"{package.words} ({package.file}:{package.line})"
    return f"{package.words} (line {package.line})" if package.line else package.words


def _is_opaque(command: Command) -> bool:
    """Say whether a command may bring CUDA's libraries in a way that is not read: an archive, a local package, a script."""
    program = command.argv[0].rpartition("/")[2]
    words = [word.lower() for word in command.argv]
    if program in {"dpkg", "rpm", "tar", "unzip", "cp", "mv", "rsync", "apt-get", "apt", "dnf", "yum"}:
        local = program not in {"apt-get", "apt", "dnf", "yum"} or any(word.endswith((".deb", ".rpm")) for word in words)
        return (
            local
            and any(word in name for name in words[1:] for word in _LIBRARY_WORDS)
            and not any("keyring" in name for name in words)
        )
    script = next((word for word in words[1:] if not word.startswith("-")), "")
    if program in {"sh", "bash"} and "-c" not in words:
        return bool(script) and not script.endswith(("miniconda.sh", "get-pip.py", "rustup.sh"))
    return command.argv[0].startswith("./") or (program.endswith(".run") and "cuda" in program)


def _leading(tag: str) -> str:
    return ".".join(map(str, tables.version(tag)))


def _variant(indexes: tuple[str, ...]) -> str:
    """Return the build that an index of PyTorch's has: ``https://download.pytorch.org/whl/cu121`` -> ``cu121``."""
    for index in indexes:
        for part in reversed(index.rstrip("/").split("/")):
            name = part.lower()
            if name in {"cpu", "xpu"} or (
                name.startswith(("cu", "rocm")) and name.strip("curo.m0123456789") == "" and len(name) > 3
            ):
                return name
    return ""


def _dotted(variant: str) -> str:
    """Return the CUDA of a build: ``cu121`` -> ``12.1``."""
    return f"{variant[2:-1]}.{variant[-1]}"


def _floor(cuda: str) -> str:
    """Return the oldest driver on which programs of a CUDA run, empty where it is not known."""
    row = tables.cuda(cuda)
    return (row.minor or row.full or "") if row is not None else ""


def _newest_with(variant: str, bounds: str, python: tuple[int, ...]) -> str:
    """Return the newest PyTorch release that has a build for a CUDA."""
    from gpudoctor.tables import wheels

    for minor in range(40, 0, -1):
        for major in (2, 1):
            release = f"{major}.{minor}"
            known = variant in wheels.torch_variants(release, "x86_64") and wheels.torch(f"=={release}", python) is not None
            if known and wheels.admits(bounds, release):
                return release
    return ""
