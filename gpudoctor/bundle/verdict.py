"""What the evidence of one call amounts to: whether it is a good answer, and where it was computed.

Two witnesses are heard. The process that ran the model tells what its frameworks did (nodes a provider, devices of parameters and of
outputs, bytes of GPU memory): that is its own word, and a bundle that means ill could write it. What is seen from outside, which GPU
nodes its processes have open and whom the driver lists as a user of the GPU, it cannot write; "on the GPU" needs both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor.bundle import Call
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Literal

    from gpudoctor.bundle import Verdict

    Where = Literal["gpu", "cpu", "mixed", "unknown", "nowhere"]

CPU = "CPUExecutionProvider"
TOLERANCE = 2e-2
"""How far an answer may be from the CPU's, of the output's largest value: TensorFloat-32 keeps ten bits."""
HEAVY = frozenset(
    {
        "Attention",
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "Einsum",
        "FusedConv",
        "FusedGemm",
        "FusedMatMul",
        "GRU",
        "Gemm",
        "LSTM",
        "MatMul",
        "MatMulInteger",
        "MatMulNBits",
        "MultiHeadAttention",
        "QAttention",
        "QLinearConv",
        "QLinearMatMul",
        "RNN",
    }
)
"""Types of ONNX nodes that one has a GPU for. Others, of shapes above all, ONNX Runtime itself puts on the CPU for good reason."""


class Seen(NamedTuple):
    """What one witness amounts to: where, and a phrase that says by what."""

    where: Where
    says: str
    contradicted: bool = False
    """What the frameworks say is not what is seen from outside."""


def called(
    line: Mapping[str, Any],
    device: str,
    processes: Sequence[Mapping[str, Any]],
    nvml: Sequence[Mapping[str, Any]] | None,
    body: str,
) -> Call:
    """Return what one call came to.

    ``line``: what the worker told; ``processes``: what the collector saw of each process; ``nvml``: the GPU's users among them, None
    where that was not asked or not answered; ``body``: whose input it was (``given``, ``example`` or ``built``).
    """
    seen = line.get("seen") if isinstance(line.get("seen"), dict) else {}
    assert isinstance(seen, dict)  # noqa: S101 - said just above, for the type checker
    devices = sorted({str(node) for each in processes for node in each.get("devices") or ()})
    libraries = sorted({str(name) for each in processes for name in each.get("libraries") or ()})
    holds = bool(devices) or bool(nvml)
    witnesses = [*_onnxruntime(seen), *_torch(seen), *_tensorflow(seen, nvml)]
    where, says, contradicted = _placed(witnesses, holds=holds, readable=all(each.get("readable", True) for each in processes))
    evidence: dict[str, object] = {
        "input": body,
        "seconds": line.get("seconds"),
        "answer": str(line.get("answer") or "")[:500],
        "frameworks": plain(seen),
        "devices": devices,
        "libraries": libraries,
        "visible": plain(line.get("visible") or {}),
        "processes": [
            {"pid": each.get("pid"), "devices": list(each.get("devices") or ()), "visible": plain(each.get("visible") or {})}
            for each in processes
        ],
        "nvml": None if nvml is None else [plain(each) for each in nvml],
    }
    api = str(line.get("answered") or "")
    if line.get("ok") is None:
        return Call(api, None, "nowhere", evidence, str(line.get("text") or "it was not told what to call it with"))
    if not line.get("ok"):
        text = f"failed: {failure(line)}"
        return Call(api, ok=False, ran_on=where if witnesses else "nowhere", evidence=evidence, text=text)
    faults = _faults(line, seen)
    if faults:
        return Call(api, ok=False, ran_on=where, evidence=evidence, text=f"answered, but {'; '.join(faults)} ({says})")
    ok, text = _judged(where, says, device, seen, line)
    return Call(api, ok=False if contradicted else ok, ran_on=where, evidence=evidence, text=text)


def failure(line: Mapping[str, Any]) -> str:
    """Return how a load or a call failed as one phrase: class and first words, and the place in the bundle."""
    words = " ".join(str(line.get("text") or "").split())[:600]
    where = f" ({line['where']})" if line.get("where") else ""
    kind = str(line.get("error") or "")
    return f"{words}{where}" if kind in {"Failed", ""} else f"{kind}: {words}{where}".replace(": (", " (")


def _placed(witnesses: Sequence[Seen], *, holds: bool, readable: bool) -> Seen:
    """Put the witnesses together."""
    if not witnesses:
        if holds:
            return Seen("unknown", "no framework that is known here computed anything, though a process has a GPU open")
        if not readable:
            return Seen("unknown", "no framework that is known here computed anything, and its processes could not be looked at")
        return Seen("cpu", "no process of it has a GPU open, and no framework that is known here computed anything")
    says = "; ".join(each.says for each in witnesses)
    places = {each.where for each in witnesses}
    where: Where = "mixed" if len(places - {"unknown"}) > 1 else next(iter(places - {"unknown"}), "unknown")
    if where in {"gpu", "mixed"} and not holds:
        if readable:
            return Seen("unknown", f"{says}, and yet none of its processes has a GPU open", contradicted=True)
        return Seen("unknown", f"{says}, and its processes could not be looked at")
    return Seen(where, says)


def _onnxruntime(seen: Mapping[str, Any]) -> Iterable[Seen]:
    told = seen.get("onnxruntime") or {}
    for each in told.get("sessions") or ():
        nodes = each.get("nodes")
        if not nodes:
            after = [str(name) for name in each.get("after") or each.get("got") or ()]
            if after and not set(after) - {CPU}:
                yield Seen("cpu", "the session of ONNX Runtime has the CPU provider alone")
            else:
                yield Seen("unknown", "ONNX Runtime's profile names no node")
            continue
        total = sum(nodes.values())
        on_cpu = nodes.get(CPU, 0)
        others = ", ".join(sorted(set(nodes) - {CPU}))
        if not on_cpu:
            yield Seen("gpu", f"ONNX Runtime ran all {total} nodes by {others}")
        elif on_cpu == total:
            yield Seen("cpu", f"ONNX Runtime ran all {total} nodes by {CPU}{_why_cpu(each, told)}")
        else:
            kinds = (each.get("kinds") or {}).get(CPU) or {}
            heavy = sorted(HEAVY & set(kinds))
            listed = ", ".join(heavy or sorted(kinds)[:6])
            says = f"ONNX Runtime ran {total - on_cpu} of {total} nodes by {others}, and on the CPU {listed}"
            yield Seen("mixed" if heavy else "gpu", says)


def _why_cpu(session: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """Return why a session has no GPU provider, where it says so itself."""
    asked, got = session.get("asked"), session.get("got") or []
    if asked is None:
        return ": the session was made without naming a provider, and then it never takes the GPU"
    wanted = [name for name in asked if name != CPU]
    if not wanted:
        return ": the session was asked for that provider alone"
    missing = [name for name in wanted if name not in got]
    if missing:
        if missing[0] not in (told.get("available") or missing):
            return f": it was asked for {missing[0]}, which this package was built without"
        words = str(session.get("printed") or "").partition("CUDA failure ")[2].partition(";")[0].strip()
        words = f"CUDA failure {words}" if words else str(session.get("loader") or "")
        reason = f" ({words})" if words else ""
        return f": it was asked for {missing[0]} and did not get it{reason}"
    return ": it was given other providers, and none of them took a node"


def _torch(seen: Mapping[str, Any]) -> Iterable[Seen]:
    told = seen.get("torch") or {}
    ran = [each for each in told.get("modules") or () if each.get("outputs") or each.get("parameters")]
    allocated = int(told.get("allocated") or 0)
    # One without parameters (a transform of images) tells only where nothing with parameters ran.
    for each in [one for one in ran if one.get("parameters")] or ran:
        holds, gives = ({str(place).partition(":")[0] for place in each.get(part) or {}} for part in ("parameters", "outputs"))
        places = holds or gives
        name = each.get("type") or "a module"
        what = f"the parameters of PyTorch's {name}" if holds else f"the outputs of PyTorch's {name}"
        if places == {"cuda"}:
            yield Seen("gpu", f"{what} are on cuda")
        elif "cuda" in places:
            yield Seen("mixed", f"{what} are on {' and '.join(sorted(places))}")
        elif places and "cuda" in gives:
            yield Seen("mixed", f"{what} are on {', '.join(sorted(places))}, its outputs on cuda")
        elif places:
            why = f" ({told['why_not']})" if told.get("why_not") else ""
            yield Seen("cpu", f"{what} are on {', '.join(sorted(places))}{why}")
    if not ran and allocated:
        yield Seen("gpu", f"PyTorch allocated {_size(allocated)} on the GPU during the call")


def _tensorflow(seen: Mapping[str, Any], nvml: Sequence[Mapping[str, Any]] | None) -> Iterable[Seen]:
    told = seen.get("tensorflow") or {}
    variables = told.get("variables") or {}
    if not told or (not variables and not told.get("peak")):
        return
    gpus = told.get("gpus")
    if gpus is None:
        yield Seen("unknown", "this TensorFlow does not say where it computed")
    elif not gpus:
        built = "" if told.get("built", True) else ": this one was built without CUDA"
        yield Seen("cpu", f"TensorFlow has no GPU{built}")
    elif any(int(peak) > 0 for peak in (told.get("peak") or {}).values()):
        stray = sum(count for where, count in variables.items() if "CPU" in where.rpartition("device:")[2].upper())
        if stray and stray == sum(variables.values()):
            yield Seen("mixed", "TensorFlow used the GPU, and all its variables are on the CPU")
        else:
            yield Seen("gpu", f"TensorFlow used {_size(max(map(int, told['peak'].values())))} of the GPU's memory")
    elif nvml is not None:
        yield Seen("cpu", "TensorFlow has a GPU and put nothing on it")
    else:
        yield Seen("unknown", "TensorFlow has a GPU, and its figures show nothing on it")


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{max(count >> 10, 1)} KiB"


def _outputs(seen: Mapping[str, Any], line: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    yield from line.get("outputs") or ()
    for session in (seen.get("onnxruntime") or {}).get("sessions") or ():
        yield from session.get("outputs") or ()
    for module in (seen.get("torch") or {}).get("modules") or ():
        yield from module.get("values") or ()


def _faults(line: Mapping[str, Any], seen: Mapping[str, Any]) -> list[str]:
    """Return what is the matter with an answer: not a number, another shape than declared, another answer than the CPU's."""
    found = []
    bad = str(line.get("unsound") or "") or next(
        (str(each["unsound"]) for each in _outputs(seen, line) if each.get("unsound")), ""
    )
    if bad:
        found.append("a number in it is NaN" if bad == "NaN" else "a number in it is infinite")
    found += [
        f"output {each.get('name')} has the shape {each.get('shape')}, declared is {each['declared']}"
        for each in _outputs(seen, line)
        if each.get("declared") is not None
    ]
    for name, off in _offs(seen):
        if isinstance(off, int | float) and not off <= TOLERANCE:
            found.append(f"{name} differs from the CPU's answer by {off:.1e} of its largest value (allowed: {TOLERANCE:.0e})")
    return list(dict.fromkeys(found))


def _offs(seen: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for session in (seen.get("onnxruntime") or {}).get("sessions") or ():
        yield session.get("model") or "the model", session.get("off")
    for module in (seen.get("torch") or {}).get("modules") or ():
        yield module.get("type") or "the model", module.get("off")


def _judged(where: Where, says: str, device: str, seen: Mapping[str, Any], line: Mapping[str, Any]) -> tuple[bool | None, str]:
    """Return whether an answer that is sound is a good one, and the sentence."""
    offs = [off for _, off in _offs(seen) if isinstance(off, int | float)]
    near = f"; it differs from the CPU's answer by {max(offs):.1e} at most" if offs else ""
    took = f" in {float(line.get('seconds') or 0):.3g} s"
    if device == "cpu":
        if where == "cpu":
            return True, f"answered{took} on the CPU, as asked; that says nothing of a GPU ({says})"
        if where == "unknown":
            return None, f"answered{took}; where it computed is not proven: {says}"
        return False, f"answered{took}, asked for the CPU, but not there alone ({says})"
    if where == "gpu":
        return True, f"answered{took} on the GPU: {says}{near}"
    if where == "mixed":
        return False, f"answered{took}, but partly on the CPU: {says}{near}"
    if where == "cpu":
        return False, f"answered{took}, but on the CPU: {says}"
    return None, f"answered{took}; where it computed is not proven: {says}"


def verdict(calls: Sequence[Call]) -> Verdict:
    """Return what the calls amount to: one that failed is a failure, one that could not be tried leaves it open."""
    if not calls:
        return "nothing-to-test"
    if any(each.ok is False for each in calls):
        return "fail"
    return "cannot-tell" if any(each.ok is None for each in calls) else "pass"


def plain(value: object, deep: int = 12) -> Any:
    """Return a value as JSON can hold it: no NaN, keys that are text, bounded in depth and in the length of lists and texts."""
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, bool | int | None):
        return value
    if isinstance(value, str):
        return value[:2000]
    if deep and isinstance(value, dict):
        return {str(key)[:200]: plain(each, deep - 1) for key, each in list(value.items())[:200]}
    if deep and isinstance(value, list | tuple):
        return [plain(each, deep - 1) for each in value[:200]]
    return str(value)[:200]
