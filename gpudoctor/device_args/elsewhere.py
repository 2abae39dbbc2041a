"""The hosts whose GPU has other nodes: WSL2 (one node for all GPUs) and a Jetson up to Orin (dozens of nodes, named in lists)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.device_args import Gpu, Missing, Node, Refused, Request, Selection
from gpudoctor.facts.wsl import DXG, LIBRARIES

if TYPE_CHECKING:
    from gpudoctor.facts import Facts

_WSL = "/usr/lib/wsl"


def wsl(facts: Facts, wanted: Request) -> Selection:
    """Return WSL2's one node, and the folder of the libraries that it needs where nothing injects them."""
    if facts.wsl.version == 1:
        raise Refused("WSL 1 has no GPU; on Windows, `wsl --set-version DISTRIBUTION 2` makes this WSL 2.")
    if wanted.gpus not in {("all",), ("0",)}:
        raise Refused(
            f"{DXG} is one node for every GPU of Windows: --gpus {','.join(wanted.gpus)} cannot be given alone, only all."
        )
    stat = facts.host.followed(DXG)
    if stat is None:
        command = "wsl --update && wsl --shutdown  # on Windows, whose NVIDIA driver makes it"
        return Selection("wsl", (), (), (Missing(DXG, "it is the GPU of WSL2", command),), everything=True)
    if not facts.wsl.stores and not any(each.startswith("libcuda.so") for each in facts.host.names(LIBRARIES)):
        raise Refused(f"{DXG} is of a GPU of another maker: there is no NVIDIA driver in {_WSL}.")
    major, minor = stat.rdev or (None, None)
    gpu = Gpu(0, "", "", None, "the GPUs of Windows", DXG, chosen=True)
    node = Node(DXG, major, minor, chosen=True, why="every GPU of Windows, through its driver", mode=stat.mode)
    mounts = (f"{_WSL}:{_WSL}:ro",)
    return Selection("wsl", (gpu,), (node,), (), everything=True, mounts=mounts, env=(f"LD_LIBRARY_PATH={LIBRARIES}",))


def jetson(facts: Facts, wanted: Request) -> Selection:
    """Return the nodes that the toolkit's lists name and that are there; a list names those of every board."""
    if wanted.gpus not in {("all",), ("0",)}:
        raise Refused(f"A Jetson has one GPU, which is 0: --gpus {','.join(wanted.gpus)} is none of it.")
    patterns = []
    for name in facts.toolkit.csv_files:
        for line in (facts.host.text(f"{facts.toolkit.csv_folder}/{name}") or "").split("\n"):
            kind, comma, path = line.partition(",")
            if comma and kind.strip() == "dev":
                patterns.append(path.strip())
    if not patterns:
        raise Refused(
            f"The nodes of a Jetson stand in lists, and there is none in {facts.toolkit.csv_folder}: install JetPack's container packages "
            "(nvidia-container) first."
        )
    found = {}
    for pattern in dict.fromkeys(patterns):
        for path in _there(facts, pattern):
            stat = facts.host.lstat(path)
            if stat is not None and stat.kind == "char" and stat.rdev is not None:
                chosen, why = _judged(path, wanted)
                found[path] = Node(path, *stat.rdev, chosen, why, stat.mode)
    nodes = tuple(found[path] for path in sorted(found))
    gpu = Gpu(0, "", "", None, "the Tegra's own GPU", "", chosen=True)
    return Selection("jetson", (gpu,), nodes, (), everything=True)


def _judged(path: str, wanted: Request) -> tuple[bool, str]:
    """Say whether a container gets a node of the lists, and why."""
    if path.startswith("/dev/dri/"):
        drawing = "graphics" in wanted.purposes or "video" in wanted.purposes
        return drawing, "for graphics and video" if drawing else "only for graphics and video"
    if path.startswith(("/dev/fb", "/dev/nvidia-modeset")):
        shown = "display" in wanted.purposes or "graphics" in wanted.purposes
        return shown, "for display and graphics" if shown else "only for display and graphics"
    return True, "named in the toolkit's lists for this board"


def _there(facts: Facts, pattern: str) -> list[str]:
    """Return the paths that a list's entry names: one, or with a final ``*`` those that begin so."""
    if not pattern.endswith("*"):
        return [pattern]
    folder, _, start = pattern[:-1].rpartition("/")
    return [f"{folder}/{name}" for name in facts.host.names(folder) if name.startswith(start)]
