"""What `ps` prints: every process on a GPU, with its container by name and the memory it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpudoctor.facts import Facts
    from gpudoctor.facts.usage import Gpu, User

_MIB = 20
_HEADER = ("GPU", "PCI", "CONTAINER", "PID", "PROGRAM", "MEMORY")


def table(facts: Facts) -> str:
    """Return the table, one row a process and one for a GPU without any; raises NoAnswer where NVML does not tell."""
    rows = [_HEADER]
    for gpu in facts.usage.gpus:
        held = f"{_size(gpu.used)} of {_size(gpu.total)}" if gpu.total is not None else "?"
        if gpu.error or gpu.users is None:
            rows.append((str(gpu.number), gpu.pci or "?", gpu.error or "processes not told by NVML", "", "", held))
        elif not gpu.users:
            rows.append((str(gpu.number), gpu.pci, "-", "", "free" if not gpu.used else "no process of CUDA", held))
        rows += [
            (str(gpu.number), gpu.pci, _container(user), str(user.pid), user.program or "?", _size(user.memory))
            for user in gpu.users or ()
        ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    return "".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows)


def ask(facts: Facts) -> None:
    """Ask what the table needs, for a snapshot; where there is no answer, that is what is kept."""
    from gpudoctor.host import NoAnswer

    try:
        table(facts)
    except NoAnswer:
        return


def as_json(facts: Facts, source: str) -> str:
    """Return the same as one JSON object (docs/schema/ps.schema.json); raises NoAnswer where NVML does not tell."""
    import json

    return json.dumps({"schema": 1, "source": source, "gpus": [_gpu(each) for each in facts.usage.gpus]}) + "\n"


def _gpu(gpu: Gpu) -> dict[str, Any]:
    return {
        "index": gpu.number,
        "name": gpu.name or None,
        "pci": gpu.pci or None,
        "uuid": gpu.uuid or None,
        "memory_total": gpu.total,
        "memory_used": gpu.used,
        "error": gpu.error or None,
        "processes": None
        if gpu.users is None
        else [
            {
                "pid": user.pid,
                "program": user.program or None,
                "memory": user.memory,
                "engine": user.engine,
                "container": user.container or None,
                "container_id": user.container_id or None,
            }
            for user in gpu.users
        ],
    }


def _container(user: User) -> str:
    if user.engine is None:
        return "? (not seen in /proc)"
    if not user.engine:
        return "- (host)"
    return user.container if user.engine == "docker" else f"{user.container} ({user.engine})"


def _size(size: int | None) -> str:
    return "?" if size is None else f"{size >> _MIB} MiB"
