"""Which device nodes a container needs for the GPUs that were asked for, why each is in or out, and what is missing.

The nodes are those that are really there: Docker refuses to start a container that is given one which is not. What a use needs
follows the toolkit: nvidia-uvm for compute, nvidia-modeset for display. Sources: libnvidia-container (nvc_mount.c), toolkit
(pkg/nvcdi, internal/nvcaps: MIG's folders count GPUs by minor), nvidia-modprobe's source for the commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor.device_args import Gpu, Instance, Kind, Missing, Node, Refused, Request, Selection
from gpudoctor.facts.devices import NVIDIA_MAJOR
from gpudoctor.host import Unseen

if TYPE_CHECKING:
    from gpudoctor.facts import Facts
    from gpudoctor.facts.gpu import ProcGpu

_CAPABILITIES = "/proc/driver/nvidia/capabilities"
_CAPS = "/dev/nvidia-caps/nvidia-cap"
_IMEX = "/dev/nvidia-caps-imex-channels/channel"
_SWITCH = "/dev/nvidia-nvswitch"
_UVM = "/dev/nvidia-uvm"
_TOOLS = "/dev/nvidia-uvm-tools"
_CTL = "/dev/nvidiactl"
_MODESET = "/dev/nvidia-modeset"
_LINK = "/dev/nvidia-nvlink"
# Prefixes and the name under which the kernel lists their major in /proc/devices; the first that fits counts.
_MAJORS = ((_UVM, "nvidia-uvm"), (_CAPS, "nvidia-caps"), (_IMEX, "nvidia-caps-imex-channels"), (_SWITCH, "nvidia-nvswitch"))
_ORDER = (_CTL, _UVM, _TOOLS, _MODESET, _CAPS, _IMEX, f"{_SWITCH}ctl", _SWITCH, _LINK)


def select(facts: Facts, wanted: Request) -> Selection:
    """Return what the container needs; raises Refused for a GPU that is not here, NoAnswer where the host does not tell."""
    if facts.platform.wsl:
        from gpudoctor.device_args import elsewhere

        return elsewhere.wsl(facts, wanted)
    if facts.platform.nvgpu:
        from gpudoctor.device_args import elsewhere

        return elsewhere.jetson(facts, wanted)
    if not facts.gpus.taken:
        return _without_driver(facts, wanted)
    guest = facts.platform.container
    gpus = _chosen(facts, _gpus(facts, guest=guest is not None), wanted)
    nodes, missing = _nodes(facts, gpus, wanted, guest)
    remarks = tuple(
        f"{each.name} is GPU instance {each.gi}, compute instance {each.ci} of {gpu.address}: MIG devices are counted in that order."
        for gpu in gpus
        for each in gpu.instances
        if each.name in wanted.gpus
    )
    kind: Kind = "machine" if guest is None else "guest"
    return Selection(kind, gpus, nodes, missing, "all" in wanted.gpus, remarks)


def _without_driver(facts: Facts, wanted: Request) -> Selection:
    """Return what to say where the driver has taken no GPU."""
    if facts.wsl.device:
        from gpudoctor.device_args import elsewhere

        return elsewhere.wsl(facts, wanted)
    if not facts.gpus.functions:
        raise Refused("There is no NVIDIA GPU on this host.")
    where = ", ".join(each.address for each in facts.gpus.functions)
    command = "sudo modprobe nvidia  # `gpudoctor doctor` says what keeps it from its GPUs"
    missing = Missing("the NVIDIA driver", f"it drives none of the GPUs on the bus ({where})", command)
    return Selection("machine", (), (), (missing,), "all" in wanted.gpus)


def _gpus(facts: Facts, *, guest: bool) -> tuple[Gpu, ...]:
    """Return the GPUs that NVML counts here, in its order: not the excluded ones, and in a guest only those it was given."""
    taken = [gpu for gpu in facts.gpus.taken if not _excluded(facts, gpu)]
    if guest:
        taken = [gpu for gpu in taken if f"/dev/nvidia{gpu.minor}" in facts.devices.nodes] or taken
    found = []
    for index, gpu in enumerate(taken):
        if gpu.minor is None:
            raise Unseen(gpu.path, "it names no device minor")
        node = f"/dev/nvidia{gpu.minor}"
        found.append(Gpu(index, gpu.address, gpu.uuid, gpu.minor, gpu.model, node, _instances(facts, index, gpu.minor)))
    return tuple(found)


def _excluded(facts: Facts, gpu: ProcGpu) -> bool:
    """Say whether the administrator excluded a GPU (NVreg_ExcludedGpus): the driver lists it and gives it to nobody."""
    _, told, value = (facts.host.text(gpu.path) or "").partition("GPU Excluded:")
    return bool(told) and value.split("\n", 1)[0].strip() == "Yes"


def _instances(facts: Facts, index: int, minor: int) -> tuple[Instance, ...]:
    """Return the MIG devices of the GPU with this minor, in order of GPU and compute instance."""
    # The folders below capabilities/ are called after the minor: gpu3 is /dev/nvidia3, whatever its index.
    nodes = {name: f"{_CAPS}{number}" for number, name in facts.gpus.mig_minors.items() if name.startswith(f"gpu{minor}/gi")}
    places = []
    for name in nodes:
        _, instance, *part = name.split("/")
        numbers = (instance.removeprefix("gi"), part[0].removeprefix("ci")) if part else ()
        if numbers and all(number.isdigit() for number in numbers):
            places.append((int(numbers[0]), int(numbers[1])))
    found = []
    for count, (gi, ci) in enumerate(sorted(places)):
        whole = f"gpu{minor}/gi{gi}"
        own = tuple(nodes[name] for name in (whole, f"{whole}/ci{ci}") if name in nodes)
        found.append(Instance(f"{index}:{count}", gi, ci, own))
    return tuple(found)


def _chosen(facts: Facts, gpus: tuple[Gpu, ...], wanted: Request) -> tuple[Gpu, ...]:
    """Return the GPUs with those marked that were asked for."""
    uuids: dict[str, str] = {}
    names: set[str] = set()
    for word in wanted.gpus:
        named = _named(facts, gpus, word)
        names |= named
        if word.lower().startswith("mig-"):
            uuids.update(dict.fromkeys(named, word))
    found = []
    for gpu in gpus:
        whole = str(gpu.number) in names
        instances = tuple(
            each._replace(chosen=whole or each.name in names, uuid=uuids.get(each.name, "")) for each in gpu.instances
        )
        found.append(gpu._replace(chosen=whole or any(each.chosen for each in instances), instances=instances))
    return tuple(found)


def _named(facts: Facts, gpus: tuple[Gpu, ...], word: str) -> set[str]:
    """Return the names (``0``, ``0:1``) of what a word means: ``all``, an index, a PCI address, a UUID, a MIG device."""
    lowered = word.lower()
    if word == "all":
        return {str(gpu.number) for gpu in gpus}
    if lowered.startswith("mig-"):
        return {_mig(facts, gpus, word)}
    if lowered.startswith("gpu-"):
        return {str(_by_uuid(facts, gpus, word).number)}
    if "." in word:
        address = _address(lowered)
        named = {str(gpu.number) for gpu in gpus if gpu.address == address}
    else:
        named = {str(gpu.number) for gpu in gpus} | {each.name for gpu in gpus for each in gpu.instances}
        named &= {word}
    if not named:
        raise Refused(f"There is no GPU {word} here; {_here(gpus)}")
    return named


def _here(gpus: tuple[Gpu, ...]) -> str:
    """Return a sentence about the GPUs that can be named."""
    names = [f"{gpu.number} ({gpu.address}, {gpu.uuid})" for gpu in gpus]
    names += [each.name for gpu in gpus for each in gpu.instances]
    return f"there are: {', '.join(names)}."


def _address(text: str) -> str:
    """Return ``0000:17:00.0`` for any way to write a PCI address: ``17:00.0``, ``00000000:17:00.0``."""
    parts = text.split(":")
    if len(parts) == 2:
        return f"0000:{text}"
    return f"{parts[0].lstrip('0').rjust(4, '0')}:{':'.join(parts[1:])}"


def _by_uuid(facts: Facts, gpus: tuple[Gpu, ...], word: str) -> Gpu:
    """Return the GPU with this UUID, by the driver's files; NVML is asked only where a file does not know the UUID yet."""
    lowered = word.lower()
    for gpu in gpus:
        if gpu.uuid.lower() == lowered:
            return gpu
    if all(gpu.uuid and "?" not in gpu.uuid for gpu in gpus):
        raise Refused(f"There is no GPU {word} here; {_here(gpus)}")
    addresses = {str(each.get("uuid")).lower(): each.get("pci") for each in _nvml(facts, word)}
    address = addresses.get(lowered)
    found = next((gpu for gpu in gpus if gpu.address == address), None)
    if found is None:
        raise Refused(f"There is no GPU {word} here; {_here(gpus)}")
    return found


def _mig(facts: Facts, gpus: tuple[Gpu, ...], word: str) -> str:
    """Return the name of a MIG device by its UUID: MIG-GPU-uuid/gi/ci (drivers before 470) says all, a newer one NVML must know."""
    parent, *numbers = word[len("MIG-") :].split("/")
    if len(numbers) == 2 and all(number.isdigit() for number in numbers):
        gpu = _by_uuid(facts, gpus, parent)
        place = (int(numbers[0]), int(numbers[1]))
    else:
        found = next(
            (
                (each.get("pci"), *instances)
                for each in _nvml(facts, word)
                for uuid, instances in zip(each.get("mig_devices") or (), each.get("mig_places") or (), strict=False)
                if uuid.lower() == word.lower()
            ),
            None,
        )
        if found is None:
            raise Refused(f"There is no MIG device {word} here; {_here(gpus)}")
        gpu = next((gpu for gpu in gpus if gpu.address == found[0]), gpus[0])
        place = (found[1], found[2])
    name = next((each.name for each in gpu.instances if (each.gi, each.ci) == place), None)
    if name is None:
        raise Refused(f"There is no MIG device {word} below {_CAPABILITIES}; {_here(gpus)}")
    return name


def _nvml(facts: Facts, word: str) -> list[dict[str, Any]]:
    """Return NVML's GPUs; raises Unseen where it may not be asked or does not answer."""
    if not facts.driver.safe_to_ask:
        raise Unseen(
            word, "only NVML knows this UUID, and it is not asked while nodes are missing (it would create them); use index 0:1"
        )
    told = facts.driver.nvml or {}
    if told.get("init") != 0:
        raise Unseen(
            word, f"only NVML knows this UUID, and it does not answer ({told.get('error') or 'it hangs or is not installed'})"
        )
    gpus = told.get("gpus")
    return gpus if isinstance(gpus, list) else []


def _nodes(
    facts: Facts, gpus: tuple[Gpu, ...], wanted: Request, guest: str | None
) -> tuple[tuple[Node, ...], tuple[Missing, ...]]:
    """Return every node with the decision about it, in output order, and the needed ones that are missing."""
    needed = _needed(gpus, wanted)
    rank = {gpu.node: gpu.number for gpu in gpus}
    found = []
    missing = []
    for path in sorted(facts.devices.nodes, key=lambda path: _place(path, rank)):
        stat = facts.devices.nodes[path].stat
        major, minor = stat.rdev or (None, None)
        chosen, why = _judged(path, gpus, wanted, needed)
        stale = _stale(facts, path, major, minor) if chosen else ""
        if stale:
            chosen, why = False, stale
            if path in needed:
                missing.append(Missing(path, stale, _command(facts, path, guest, stale=True)))
        found.append(Node(path, major, minor, chosen, why, stat.mode, rank.get(path)))
    there = {node.path for node in found}
    missing += [Missing(path, why, _command(facts, path, guest)) for path, why in needed.items() if path not in there]
    dri, absent = _dri(facts, gpus, wanted)
    missing.sort(key=lambda each: _place(each.what, rank))
    return (*found, *dri), (*missing, *absent)


def _needed(gpus: tuple[Gpu, ...], wanted: Request) -> dict[str, str]:
    """Return the nodes that the container cannot do without, each with the reason."""
    needed = {}
    for gpu in gpus:
        if gpu.chosen:
            needed[gpu.node] = f"GPU {gpu.number} ({gpu.address}{f', {gpu.model}' if gpu.model else ''})"
    needed[_CTL] = "every program that uses a GPU opens it"
    if _computes(wanted):
        needed[_UVM] = "CUDA cannot work without it"
    if "display" in wanted.purposes:
        needed[_MODESET] = "a display is driven through it"
    for gpu in gpus:
        for each in gpu.instances:
            if each.chosen:
                why = f"MIG device {each.name} (GPU instance {each.gi}, compute instance {each.ci})"
                needed.update({path: why for path in each.nodes if path not in needed})
    return needed


def _computes(wanted: Request) -> bool:
    """Say whether CUDA is used: for compute, and for video, whose encoder and decoder are used through it."""
    return "compute" in wanted.purposes or "video" in wanted.purposes


def _judged(path: str, gpus: tuple[Gpu, ...], wanted: Request, needed: dict[str, str]) -> tuple[bool, str]:
    """Say whether the container gets a node that is there, and why."""
    if path in needed:
        return True, needed[path]
    if path.removeprefix("/dev/nvidia").isdigit():
        gpu = next((gpu for gpu in gpus if gpu.node == path), None)
        return (
            False,
            f"GPU {gpu.number} ({gpu.address}) was not asked for"
            if gpu is not None
            else "no GPU that can be used has this minor",
        )
    if path == _TOOLS:
        return _computes(wanted), "for profilers and cuda-gdb" if _computes(wanted) else "only for compute and video"
    if path == _UVM:
        return False, "only for compute and video"
    if path == _MODESET:
        graphics = "graphics" in wanted.purposes
        return graphics, "EGL and Vulkan may drive a display through it" if graphics else "only for display and graphics"
    if path.startswith(_CAPS):
        return False, _cap(path, gpus)
    if path.startswith(_IMEX):
        given = "compute" in wanted.purposes
        return given, "IMEX channel: memory of GPUs of other machines over NVLink" if given else "only for compute"
    if path.startswith((_SWITCH, _LINK)):
        every = "all" in wanted.gpus
        return (
            every,
            "NVLink fabric of this board" if every else "the fabric serves every GPU of the board, and only some were asked for",
        )
    return False, "neither CUDA nor graphics needs it"


def _cap(path: str, gpus: tuple[Gpu, ...]) -> str:
    """Say why a capability node is left out."""
    number = path.removeprefix(_CAPS)
    if number in {"1", "2"}:
        return "for administering MIG, not for using it"
    owners = [each.name for gpu in gpus for each in gpu.instances if path in each.nodes]
    return f"MIG device {', '.join(owners)} was not asked for" if owners else "no MIG device that can be used has this node"


def _stale(facts: Facts, path: str, major: int | None, minor: int | None) -> str:
    """Return what is wrong with a node's numbers, "" where nothing is: after a reboot, dynamic majors may be others."""
    majors = facts.devices.majors
    if not majors or major is None:
        return ""
    digits = path.removeprefix("/dev/nvidia")
    if digits.isdigit() and (major, minor) != (NVIDIA_MAJOR, int(digits)):
        return f"it has the numbers {major}:{minor} and not {NVIDIA_MAJOR}:{digits}, so it leads elsewhere"
    name = next((name for prefix, name in _MAJORS if path.startswith(prefix)), None)
    if name is None or majors.get(name) == major:
        return ""
    if name not in majors:
        return f"the kernel has no {name} now (/proc/devices), so it leads nowhere"
    return f"it has the major {major}, and the kernel's {name} is {majors[name]} now (/proc/devices), so it leads nowhere"


def _command(facts: Facts, path: str, guest: str | None, *, stale: bool = False) -> str:
    """Return the command that makes a node."""
    making = _making(path)
    if path.startswith(_CAPS):
        making = _making_cap(facts, path)
    if guest is not None:
        if facts.platform.lxc:
            give = (
                f"`sudo pct set GUEST --devN {path}`"
                if facts.platform.proxmox
                else f"lxc.mount.entry = {path} {path[1:]} none bind,create=file"
            )
        else:
            give = f"start this container with --device {path}"
        return f"{making}  # on the host; then there: {give}"
    if not path.startswith(_CAPS) and not path.removeprefix("/dev/nvidia").isdigit() and _only_ctk(facts):
        making = "sudo nvidia-ctk system create-device-nodes --control-devices --load-kernel-modules"
    return f"sudo rm {path} && {making}" if stale else making


def _only_ctk(facts: Facts) -> bool:
    """Say whether nvidia-modprobe is not here and nvidia-ctk is."""
    return facts.host.lstat("/usr/bin/nvidia-modprobe") is None and facts.host.lstat("/usr/bin/nvidia-ctk") is not None


def _making(path: str) -> str:
    """Return nvidia-modprobe's command for a node."""
    digits = path.removeprefix("/dev/nvidia")
    if digits.isdigit():
        return f"sudo nvidia-modprobe -c {digits}"
    if path == _CTL:
        return "sudo nvidia-modprobe -c 255"
    return "sudo nvidia-modprobe -m" if path == _MODESET else "sudo nvidia-modprobe -u -c 0"


def _making_cap(facts: Facts, path: str) -> str:
    """Return nvidia-modprobe's command for a capability node: it goes by the capability's file."""
    number = path.removeprefix(_CAPS)
    gpu, _, rest = facts.gpus.mig_minors.get(int(number), "").partition("/")
    return f"sudo nvidia-modprobe -f {_CAPABILITIES}/{gpu}/mig/{rest}/access"


def _dri(facts: Facts, gpus: tuple[Gpu, ...], wanted: Request) -> tuple[tuple[Node, ...], tuple[Missing, ...]]:
    """Return the /dev/dri nodes with the decision about each, and those of the chosen cards that are missing.

    Whose node it is stands in sysfs: a machine may have cards of other makers, and any order of numbers.
    """
    drawing = [each for each in ("graphics", "video") if each in wanted.purposes]
    owners = {}
    for gpu in gpus:
        for name in facts.host.names(f"/sys/bus/pci/devices/{gpu.address}/drm"):
            if name.startswith(("card", "renderD")):
                owners[f"/dev/dri/{name}"] = gpu
    there = {f"/dev/dri/{name}" for name in facts.host.names("/dev/dri") if name.startswith(("card", "renderD"))}
    found = []
    for path in sorted(there, key=_number):
        stat = facts.host.lstat(path)
        if stat is None or stat.kind != "char":
            continue
        owner = owners.get(path)
        if owner is None:
            chosen, why = False, "of no NVIDIA GPU"
        elif not owner.chosen:
            chosen, why = False, f"of GPU {owner.number}, which was not asked for"
        else:
            chosen = bool(drawing)
            why = f"{' and '.join(drawing)} on GPU {owner.number}" if drawing else "only for graphics and video"
        major, minor = stat.rdev or (None, None)
        found.append(Node(path, major, minor, chosen, why, stat.mode, owner.number if owner is not None else None))
    absent = [
        Missing(path, f"{' and '.join(drawing)} on GPU {owner.number}", "sudo udevadm trigger --subsystem-match=drm")
        for path, owner in owners.items()
        if drawing and owner.chosen and path not in there
    ]
    return tuple(found), tuple(absent)


def _place(path: str, rank: dict[str, int]) -> tuple[int, int, str]:
    """Return where a node stands in the output: GPUs by index, then what they share, then the rest."""
    if path in rank:
        return 0, rank[path], path
    if path.removeprefix("/dev/nvidia").isdigit():
        return 1, _number(path)[1], path
    shared = next(
        (at for at, prefix in enumerate(_ORDER) if path == prefix or (prefix not in {_UVM, _CTL} and path.startswith(prefix))), 99
    )
    return 2 + shared, _number(path)[1], path


def _number(path: str) -> tuple[str, int]:
    """Return a path as its name and the number at its end, to sort card10 after card2."""
    name = path.rstrip("0123456789")
    digits = path[len(name) :]
    return name, int(digits) if digits else -1
