"""The command ``run-args``: the whole line, or Compose service, that serves a bundle or its image on this host's GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from gpudoctor.bundle import Bundle
    from gpudoctor.host import Host

_OLD, _NEW = "bentoml-0.13", "bentoml-1"
_PORTS = {_OLD: (5000,), _NEW: (3000,), "mlflow": (8080,), "triton": (8000, 8001, 8002)}
"""Where each server listens in its container. Sources: the Dockerfiles that BentoML and MLflow write, Triton's documentation."""
_NEW_STYLE = "1.2"
"""The first BentoML whose services say themselves how many workers they have, and whose server takes no number."""
_COPIES = "Each worker loads the model onto the GPU once more: more than one takes that much more of its memory."
_OPEN = "-p publishes the port on every interface of this host; write 127.0.0.1:PORT:PORT where it is for this host alone."


class Asked(NamedTuple):
    """What was asked for: a bundle's path or an image's name, GPUs, ``docker`` or ``compose``, workers, the host's port."""

    what: str
    gpus: str
    form: str
    workers: int | None
    port: int | None


class Line(NamedTuple):
    """What to print, what has to be said beside it, and whether something is missing on the host."""

    text: str
    remarks: tuple[str, ...]
    missing: bool


class _Served(NamedTuple):
    """How a server is run: its image, the ports of its container, the volume and the words after the image, and remarks."""

    name: str
    image: str
    ports: tuple[int, ...]
    volume: str = ""
    words: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def asked(what: str, gpus: str, form: str, workers: int | None, port: int | None) -> Asked:
    """Return what was asked for; ValueError says what of it is wrong."""
    if form not in {"docker", "compose"}:
        raise ValueError(f"--format {form}: docker or compose")
    if workers is not None and workers < 1:
        raise ValueError(f"--workers {workers}: at least 1")
    if port is not None and not 0 < port < 65536:
        raise ValueError(f"--port {port}: 1 to 65535")
    return Asked(what, gpus, form, workers, port)


def line(host: Host, want: Asked) -> Line:
    """Return the line for this host; ValueError where there is none, NoAnswer where the host does not say enough."""
    import os

    from gpudoctor import device_args
    from gpudoctor.facts import Facts

    served = _bundle(want) if os.path.lexists(want.what) else _image(host, want)
    facts = Facts(host)
    form = "args" if want.form == "docker" else "compose"
    try:
        gpus = device_args.answer(facts, device_args.request(want.gpus, "compute", form, None), "")
        # In Compose the nodes and the request stand beside each other: the request brings the libraries.
        request = (
            device_args.answer(facts, device_args.request(want.gpus, "compute", "compose", "reservation"), "")
            if form == "compose"
            else None
        )
    except device_args.Refused as refused:
        raise ValueError(str(refused)) from None
    missing = tuple(dict.fromkeys((*gpus.missing, *(request.missing if request is not None else ()))))
    told = tuple(f"missing: {each.what}: {each.why}; run: {each.command}" for each in missing)
    if request is None:
        text = _docker(served, gpus.text, want)
        remarks = (*told, *gpus.remarks, *served.remarks, _OPEN)
    else:
        text = _compose(served, (gpus.text, request.text), want)
        remarks = (*told, *request.remarks, *served.remarks)
    return Line("" if missing else text, tuple(dict.fromkeys(remarks)), bool(missing))


def _bundle(want: Asked) -> _Served:
    import os
    import shutil

    from gpudoctor.bundle import NotABundle
    from gpudoctor.bundle.recognise import recognise
    from gpudoctor.smoke.run import folder

    into = folder(os.urandom(8).hex())
    try:
        bundle, _, _ = recognise(want.what, into)
    except NotABundle as no:
        raise ValueError(no.check.text) from None
    finally:
        shutil.rmtree(into, ignore_errors=True)
    name = bundle.name.lower() or "model"
    if bundle.format in {_OLD, _NEW}:
        image = f"{name}:{bundle.version.lower()}" if bundle.version else f"{name}:latest"
        made = f"The image is what `bentoml containerize {bundle.name}:{bundle.version or 'latest'} -t {image}` makes."
        words, remarks = _workers(bundle.format, bundle.packed_by, want)
        return _Served(name, image, _PORTS[bundle.format], "", words, (made, *remarks))
    if bundle.format == "mlflow":
        made = f"mlflow models build-docker -m {want.what} -n {name}"
        return _Served(name, name, _PORTS["mlflow"], remarks=(f"The image is what `{made}` makes.",))
    if bundle.format == "triton":
        return _triton(bundle, name)
    raise ValueError(
        f"{want.what}: a {bundle.format} file is served by no program of its own, so there is no image to run; "
        "pack it with BentoML or MLflow, or put it into a Triton repository"
    )


def _triton(bundle: Bundle, name: str) -> _Served:
    return _Served(
        name,
        "TRITON_IMAGE",
        _PORTS["triton"],
        f"{bundle.root}:/models:ro",
        ("tritonserver", "--model-repository=/models"),
        ("Put the tag of nvcr.io/nvidia/tritonserver that this driver takes in place of TRITON_IMAGE.",),
    )


def _workers(kind: str, packed_by: str, want: Asked) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words for the workers and what to say of them; BentoML 0.13 starts half as many as processors where it is not told."""
    from gpudoctor.tables import version

    if kind == _OLD:
        return (f"--workers={want.workers or 1}",), (_COPIES,)
    if want.workers is None:
        return (), ()
    if not () < version(packed_by) < version(_NEW_STYLE):
        raise ValueError(
            f"--workers: from {_NEW_STYLE} on BentoML takes the number from the service alone: @bentoml.service(workers={want.workers})"
        )
    return (f"--api-workers={want.workers}",), (_COPIES,) if want.workers > 1 else ()


def _image(host: Host, want: Asked) -> _Served:
    from gpudoctor.commands import given
    from gpudoctor.facts import Facts
    from gpudoctor.host import NoAnswer

    image = Facts(host, given.read(want.what, None)).image
    name = image.base.name.rpartition("/")[2].partition(":")[0].partition("@")[0].lower()
    try:
        exposed = image.config.get("ExposedPorts")
        variables = set(image.env)
    except NoAnswer as missed:
        if want.port is None:
            raise ValueError(f"{want.what}: cannot tell where it listens ({missed}); give --port") from None
        exposed, variables = None, set()
    kind = _OLD if "BUNDLE_PATH" in variables else _NEW if "BENTO_PATH" in variables else ""
    if kind:
        return _Served(name, want.what, _PORTS[kind], "", *_workers(kind, "", want))
    listed = exposed if isinstance(exposed, dict) else {}
    ports = tuple(sorted({int(each.partition("/")[0]) for each in listed if each.endswith("/tcp") and each[:-4].isdecimal()}))
    if not ports and want.port is not None:
        ports = (want.port,)
    if not ports:
        raise ValueError(f"{want.what}: the image exposes no port, so where it listens is not known; give --port")
    if want.workers is not None:
        raise ValueError(f"--workers: {want.what} is no image of BentoML's, and how its server takes workers is not known")
    return _Served(name, want.what, ports)


def _ports(served: _Served, want: Asked) -> tuple[str, ...]:
    """Return ``host:container`` for each port; the port that was asked for stands for the first."""
    return tuple(f"{want.port if want.port and not at else port}:{port}" for at, port in enumerate(served.ports))


def _docker(served: _Served, gpus: str, want: Asked) -> str:
    import shlex

    words = [word for port in _ports(served, want) for word in ("-p", port)]
    if served.volume:
        words += ["-v", shlex.quote(served.volume)]
    # What device-args prints is written for the shell already.
    return " ".join(["docker run", gpus.strip(), *words, shlex.quote(served.image), *map(shlex.quote, served.words)]) + "\n"


def _compose(served: _Served, gpus: tuple[str, str], want: Asked) -> str:
    import json

    # JSON's strings are YAML's too, whatever is in them; a `$` is Compose's own sign.
    def quoted(text: str) -> str:
        return json.dumps(text.replace("$", "$$"))

    lines = ["services:", f"  {_service(served.name)}:", f"    image: {quoted(served.image)}"]
    if served.words:
        lines.append(f"    command: [{', '.join(map(quoted, served.words))}]")
    lines += ["    ports:", *(f"      - {quoted(port)}" for port in _ports(served, want))]
    if served.volume:
        lines += ["    volumes:", f"      - {quoted(served.volume)}"]
    parts = dict.fromkeys(part for part in gpus if part)
    lines += [f"    {each}" for part in parts for each in part.splitlines()]
    return "\n".join(lines) + "\n"


def _service(name: str) -> str:
    """Return a name that Compose takes for a service."""
    kept = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_.-") else "-" for sign in name).strip("_.-")
    return kept or "model"
