"""A selection in the form of each tool. Only text is made here, and YAML is written, not dumped: a YAML library costs start-up.

Three ways lead to ``docker run``, and each takes off a layer of quotes more than the one before: ``$(gpudoctor device-args)`` in a
shell takes none (words are split, quotes stay), a recipe of make takes one (its shell), and make's own reading of a makefile takes
``$`` and ``#`` besides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gpudoctor.device_args import Gpu, Missing, Node, Request, Selection
    from gpudoctor.device_args.inject import Injection

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-=:@%+,")
_PLUGIN = (
    "The right way on Kubernetes is the NVIDIA device plugin (resources: limits: nvidia.com/gpu): it opens the device cgroup."
)
RESERVED = frozenset({"reservation", "gpus"})
"""The styles of Compose that ask Docker for a GPU as `docker run --gpus` does, and name no node."""
_NODES_ONLY = "the driver's libraries are not injected by device nodes"


def emit(selection: Selection, injection: Injection, wanted: Request, told: tuple[str, Iterable[Missing], Iterable[str]]) -> str:
    """Return the text for standard output; ``told`` is what only the JSON repeats: source, what is missing, remarks."""
    form = wanted.format
    words = _words(selection, injection)
    if form == "args":
        return " ".join(words) + "\n"
    if form == "podman":
        return " ".join(_words(selection, None)) + "\n"
    if form == "env":
        return f"DEVICE_ARGS={_shell(' '.join(words))}\n"
    if form == "make-args":
        return " ".join(map(_shell, words)) + "\n"
    if form == "make":
        return _make(words)
    if not selection.chosen and form != "json" and wanted.style not in RESERVED:
        # A list without an entry is refused or, as DevicePolicy=closed, does harm.
        return ""
    if form == "compose":
        return _lines(_compose(selection, injection, wanted))
    if form == "cdi-spec":
        return _lines(_cdi_spec(selection))
    if form == "systemd":
        return _lines(_systemd(selection, wanted))
    if form == "nomad":
        return _lines(_nomad(selection))
    if form == "kubernetes":
        return _lines(_kubernetes(selection))
    return _json(selection, injection, wanted, told)


def cdi_names(names: tuple[str, ...], wanted: Request) -> str:
    """Return CDI names as arguments, or as compose's ``devices:``."""
    if wanted.format == "compose":
        return _lines(["devices:", *(f"  - {_yaml(name)}" for name in names)])
    return " ".join(f"--device {name}" for name in names) + "\n"


def cdi_remarks(wanted: Request) -> tuple[str, ...]:
    """Return what has to be said beside CDI names."""
    return (f"Compose takes CDI names from {_since('compose-cdi-devices')} on.",) if wanted.style == "cdi" else ()


def remarks(selection: Selection, injection: Injection, wanted: Request) -> tuple[str, ...]:
    """Return what has to be said beside a format."""
    form = wanted.format
    alone = "" if selection.mounts else f"These are nodes only: {_NODES_ONLY}. "
    found = []
    if form == "compose" and wanted.style == "devices" and injection.by in {"hook", "cdi"}:
        found.append(
            "`devices:` gives nodes only; the driver's libraries come by what --style reservation prints, under the same service."
        )
    elif wanted.style == "gpus":
        feature = "compose-gpus-list" if injection.names or injection.capabilities else "compose-gpus-all"
        found.append(
            f"Compose takes this from {_since(feature)} on, and what --style reservation prints from {_since('compose-devices')} on."
        )
    elif form == "cdi-spec":
        found.append(
            f"This spec has nodes only: {_NODES_ONLY}. Where nvidia-ctk is to be had, `nvidia-ctk cdi generate` writes a full one."
        )
    elif (form == "podman" or wanted.style == "quadlet") and not selection.mounts:
        found.append(f"{alone}With a CDI spec of nvidia-ctk, use --format cdi.")
    elif form == "nomad":
        found.append(f"{alone}The right way on Nomad is the device plugin nomad-device-nvidia.")
    elif form == "kubernetes":
        found.append(_PLUGIN)
    closed = [node.path for node in selection.chosen if not node.mode & 0o006]
    if closed and form != "cdi":
        found.append(
            f"Only its group may open {', '.join(closed)}: a program that is not root in the container needs --group-add."
        )
    return tuple(found)


def _since(feature: str) -> str:
    """Return the first release with a feature of Docker's table, as ``2.30``."""
    from gpudoctor import tables

    return ".".join(map(str, tables.docker_since(feature)[:2]))


def _words(selection: Selection, injection: Injection | None) -> list[str]:
    """Return the words of ``docker run`` (without an injection: of podman), none of them quoted for a shell."""
    words = list(injection.words) if injection is not None else []
    for node in selection.chosen:
        words += ["--device", node.path]
    if injection is None or injection.by == "none":
        for mount in selection.mounts:
            words += ["--volume", mount]
        for value in selection.env:
            words += ["--env", value]
    return words


def _shell(word: str) -> str:
    """Return a word for a shell, quoted where it must be."""
    if word and not set(word) - _PLAIN:
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"


def _make(words: list[str]) -> str:
    """Return a makefile fragment to be included."""
    value = _for_make(" ".join(map(_shell, words)))
    return (
        f"# Written by gpudoctor {__version__} for the device nodes of this host; write it anew when its GPUs or their MIG devices change.\n"
        f"DEVICE_ARGS := {value}\n"
        "\n"
        "# An example target:\n"
        "# gpu-run:\n"
        "# \tdocker run --rm $(DEVICE_ARGS) IMAGE\n"
    )


def _for_make(text: str) -> str:
    """Return text that make reads as itself on the right of ``:=``: a comment sign takes a backslash, and those before it double."""
    parts = text.replace("$", "$$").split("#")
    for at, part in enumerate(parts[:-1]):
        slashes = len(part) - len(part.rstrip("\\"))
        parts[at] = part + "\\" * slashes
    return "\\#".join(parts)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _yaml(text: str) -> str:
    """Return text as a YAML scalar that every reader takes for text."""
    if text and text[0] == "/" and not set(text) - _PLAIN and not text.endswith(":"):
        return text
    return _quoted(text)


def _quoted(text: str) -> str:
    """Return text in the quotes that YAML and Nomad's language share."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _compose(selection: Selection, injection: Injection, wanted: Request) -> Iterator[str]:
    """Yield keys of one service of a Compose file."""
    if wanted.style == "devices":
        yield "devices:"
        for node in selection.chosen:
            yield f"  - {_yaml(f'{node.path}:{node.path}')}"
        env = list(selection.env) if injection.by == "none" else []
        if injection.by == "runtime":
            yield "runtime: nvidia"
            env = [word for word in injection.words if word.startswith("NVIDIA_")]
        if selection.mounts and injection.by == "none":
            yield "volumes:"
            yield from (f"  - {_yaml(mount)}" for mount in selection.mounts)
        if env:
            yield "environment:"
            yield from (f"  - {_yaml(value)}" for value in env)
        return
    indent = ""
    if wanted.style == "gpus":
        if not injection.names and not injection.capabilities:
            yield "gpus: all"
            return
        yield "gpus:"
    else:
        yield "deploy:"
        yield "  resources:"
        yield "    reservations:"
        yield "      devices:"
        indent = "      "
    capabilities = ("gpu", *injection.capabilities)
    yield f"{indent}  - driver: nvidia"
    if injection.names:
        yield f"{indent}    device_ids: [{', '.join(map(_yaml, injection.names))}]"
    else:
        yield f"{indent}    count: all"
    yield f"{indent}    capabilities: [{', '.join(capabilities)}]"


def _cdi_spec(selection: Selection) -> Iterator[str]:
    """Yield a CDI spec of the lowest version that has what it uses: device names that begin with a digit came with 0.5.0.

    Nodes go by path alone, for dynamic majors are others after the next boot; whoever reads the spec asks the host for them. As
    nvidia-ctk does it, a GPU with MIG devices is offered by these and not whole.
    """
    own: dict[str, list[Node]] = {}
    caps = {path for gpu in selection.gpus for each in gpu.instances for path in each.nodes}
    if selection.kind in {"machine", "guest"}:
        for gpu in selection.gpus:
            nodes = [node for node in selection.chosen if node.gpu == gpu.number]
            for each in gpu.instances:
                if each.chosen:
                    own[each.name] = nodes + [node for node in selection.chosen if node.path in each.nodes]
            if gpu.chosen and not gpu.instances:
                own[str(gpu.number)] = nodes
    shared = [node for node in selection.chosen if node.gpu is None and node.path not in caps]
    if selection.everything:
        own["all"] = [node for node in selection.chosen if node not in shared] or shared
    shared = [node for node in shared if node not in own.get("all", ())]
    # Where a GPU's node is missing, a device without any would make the whole spec refused.
    own = {name: nodes for name, nodes in own.items() if nodes}
    version = "0.5.0" if any(name[0].isdigit() for name in own) else "0.3.0"
    yield f"# Written by gpudoctor {__version__}: device nodes only. The driver's libraries are not in it; `nvidia-ctk cdi generate` adds them."
    yield f'cdiVersion: "{version}"'
    yield "kind: nvidia.com/gpu"
    yield "devices:"
    for name, nodes in own.items():
        yield f"  - name: {_yaml(name)}"
        yield "    containerEdits:"
        yield "      deviceNodes:"
        yield from (f"        - path: {_yaml(node.path)}" for node in nodes)
    if shared:
        yield "containerEdits:"
        yield "  deviceNodes:"
        yield from (f"    - path: {_yaml(node.path)}" for node in shared)


def _systemd(selection: Selection, wanted: Request) -> Iterator[str]:
    """Yield a drop-in for a service, or the lines of a quadlet."""
    if wanted.style == "quadlet":
        yield "[Container]"
        yield from (f"AddDevice={node.path}" for node in selection.chosen)
        yield from (f"Volume={mount}" for mount in selection.mounts)
        yield from (f"Environment={value}" for value in selection.env)
        return
    yield "[Service]"
    yield "DevicePolicy=closed"
    yield from (f"DeviceAllow={node.path} rw" for node in selection.chosen)


def _nomad(selection: Selection) -> Iterator[str]:
    """Yield a part of a task with Nomad's docker driver: its ``config``, and ``env`` where there is any."""
    yield "config {"
    yield "  devices = ["
    for node in selection.chosen:
        yield f'    {{ host_path = "{node.path}", container_path = "{node.path}", cgroup_permissions = "rw" }},'
    yield "  ]"
    if selection.mounts:
        yield f"  volumes = [{', '.join(map(_quoted, selection.mounts))}]"
    yield "}"
    if selection.env:
        yield "env {"
        for value in selection.env:
            name, _, told = value.partition("=")
            yield f"  {name} = {_quoted(told)}"
        yield "}"


def _kubernetes(selection: Selection) -> Iterator[str]:
    """Yield parts of a Pod's spec."""
    volumes = [(node.path, "CharDevice") for node in selection.chosen]
    volumes += [(mount.partition(":")[0], "Directory") for mount in selection.mounts]
    yield f"# {_PLUGIN}"
    yield "# A hostPath volume shows the node and does not open the cgroup: without privileged, opening it is refused."
    yield "containers:"
    yield "  - name: gpu"
    yield "    securityContext:"
    yield "      privileged: true"
    if selection.env:
        yield "    env:"
        for value in selection.env:
            name, _, told = value.partition("=")
            yield f"      - name: {name}"
            yield f"        value: {_yaml(told)}"
    yield "    volumeMounts:"
    for path, kind in volumes:
        yield f"      - name: {_label(path)}"
        yield f"        mountPath: {_yaml(path)}"
        if kind == "Directory":
            yield "        readOnly: true"
    yield "volumes:"
    for path, kind in volumes:
        yield f"  - name: {_label(path)}"
        yield "    hostPath:"
        yield f"      path: {_yaml(path)}"
        yield f"      type: {kind}"


def _label(path: str) -> str:
    """Return a DNS label for a path: ``dev-nvidia0``."""
    return "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in path.strip("/")).lower()


def _json(selection: Selection, injection: Injection, wanted: Request, told: tuple[str, Iterable[Missing], Iterable[str]]) -> str:
    """Return the JSON that docs/schema/device-args.schema.json describes."""
    import json

    source, missing, said = told
    absent = [{"what": each.what, "why": each.why, "command": each.command} for each in missing]
    value: dict[str, Any] = {
        "schema": 1,
        "source": source,
        "kind": selection.kind,
        "complete": not absent,
        "requested": {"gpus": list(wanted.gpus), "with": list(wanted.purposes)},
        "gpus": [_gpu(gpu) for gpu in selection.gpus],
        "nodes": [
            {"path": node.path, "major": node.major, "minor": node.minor, "in": node.chosen, "why": node.why}
            for node in selection.nodes
        ],
        "missing": absent,
        "injection": injection.by,
        "args": _words(selection, injection),
        "remarks": list(said),
    }
    return json.dumps(value, indent=2) + "\n"


def _gpu(gpu: Gpu) -> dict[str, Any]:
    return {
        "index": gpu.number,
        "address": gpu.address or None,
        "uuid": gpu.uuid or None,
        "minor": gpu.minor,
        "model": gpu.model or None,
        "in": gpu.chosen,
        "mig": [
            {"name": each.name, "gi": each.gi, "ci": each.ci, "uuid": each.uuid or None, "in": each.chosen}
            for each in gpu.instances
        ],
    }
