"""PyTorch: a convolutional net and a transformer block; where parameters, outputs and the allocator's bytes are."""

from __future__ import annotations

import sys

# Piped to Python, whose working folder would come first among the places to import from: a stray json.py there is not meant.
sys.path[:] = [each for each in sys.path if each]

import json  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402


class Out:
    """Where the verdict goes, line by line: into a file of its own, for frameworks write to standard output.

    Without a folder it goes to standard output. Each line has the nonce of this run; what has not is not ours.
    """

    def __init__(self, settings):
        """Take the settings: ``out`` a folder, ``nonce``, ``device`` (cuda or cpu), and what a probe has of its own."""
        self.settings = settings
        self.rung = "import"
        self.began = time.monotonic()
        self.handle = 1
        if settings.get("out"):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self.handle = os.open(os.path.join(settings["out"], "verdict"), flags, 0o644)

    def write(self, **line):
        """Write one line."""
        line["nonce"] = self.settings.get("nonce", "")
        os.write(self.handle, (json.dumps(line) + "\n").encode())

    def phase(self, name, rung):
        """Say that a phase (import, load, run) begins, and with which rung: each phase has a time limit of its own."""
        self.rung = rung
        self.began = time.monotonic()
        self.write(phase=name, rung=rung)

    def told(self, state, says, then=None, **facts):
        """Say how the rung that is being climbed went, and which one comes next."""
        now = time.monotonic()
        self.write(rung=self.rung, state=state, says=says, seconds=round(now - self.began, 4), facts=facts)
        self.began = now
        self.rung = then or self.rung


class Stop(Exception):  # noqa: N818 - the end of the ladder, not an error of the program
    """Nothing above this rung can be tried."""


def run(climb):
    """Climb with the settings of the command line; an exception is how the rung that was being climbed failed."""
    out = Out(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {})
    try:
        climb(out)
    except Stop:
        pass
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the result
        out.told("failed", (f"{type(error).__name__}: {error}")[:2000], error=type(error).__name__)
    try:
        with open("/proc/self/status") as status:
            peak = [line.split()[1] for line in status if line.startswith("VmHWM:")]
    except OSError:
        peak = []
    out.write(end=True, peak_kib=int(peak[0]) if peak else None)
    sys.stdout.flush()
    # What frameworks do when Python ends is no part of the test, and is known to crash and to hang.
    os._exit(0)


# ---------------------------------------------------------------------------------------------------------------------


TOLERANCES = {"float32": 1e-2, "bfloat16": 1e-1, "float16": 2e-2}
"""Absolute, of outputs near 1, against the CPU in float32: TensorFloat-32 keeps 10 bits of fraction, bfloat16 keeps 7."""


def covers(targets, capability):
    """Say whether code for one of these targets runs on a capability (major, minor), and by which.

    A cubin sm_XY runs on X.Z with Z >= Y; one for sm_XYa on X.Y alone; PTX compute_XY is compiled for every one from X.Y on.
    """
    for target in targets:
        kind, _, digits = target.partition("_")
        exact = digits.endswith("a")
        digits = digits.rstrip("af")
        if kind not in ("sm", "compute") or not digits.isdigit():
            continue
        major, minor = int(digits[:-1]), int(digits[-1])
        if exact:
            fits = (major, minor) == capability
        elif kind == "sm":
            fits = major == capability[0] and minor <= capability[1]
        else:
            fits = (major, minor) <= capability
        if fits:
            return target
    return ""


def kernels(out, targets, capability, name):
    """Climb the rung of the kernels: whether this build has code for a GPU of this capability."""
    shown = f"{capability[0]}.{capability[1]}"
    facts = {"targets": targets, "capability": shown}
    if not targets:
        out.told("untold", f"{name} does not say which GPUs its kernels are for: the run shows it", "computes", **facts)
        return
    fit = covers(targets, capability)
    if not fit:
        out.told("failed", "compiled for {}, and the GPU has capability {}".format(" ".join(targets), shown), **facts)
        raise Stop
    out.told("passed", f"{fit} serves capability {shown}", "computes", by=fit, **facts)


def models(torch):
    """Return the two models and an input for each, made from a fixed seed: a convolutional net and a transformer block."""
    nn = torch.nn
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    block = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0)
    return [
        ("a convolutional net", net.eval(), torch.randn(4, 3, 32, 32)),
        ("a transformer block", block.eval(), torch.randn(16, 2, 64)),
    ]


def placed_on(tensors):
    """Return the devices of tensors, as ``cuda`` or ``cpu``, sorted."""
    return sorted({each.device.type for each in tensors})


def one(torch, model, x, kind, device):
    """Run a copy of a model in one type on one device; return its output in float32 on the CPU, and where all of it was."""
    import copy

    copied = copy.deepcopy(model).to(device=device, dtype=getattr(torch, kind))
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    with torch.no_grad():
        y = copied(x.to(device=device, dtype=getattr(torch, kind)))
    where = {"parameters": placed_on(copied.parameters()), "output": placed_on([y]), "allocated": 0}
    if device == "cuda":
        torch.cuda.synchronize()
        where["allocated"] = torch.cuda.max_memory_allocated() - before
    return y.float().cpu(), where


def compute(out, torch, device):
    """Climb the rung of the results; return where everything was."""
    kinds = ["float32"]
    if device == "cpu" or torch.cuda.is_bf16_supported():
        kinds.append("bfloat16")
    if device == "cuda" and torch.cuda.get_device_capability() >= (5, 3):
        kinds.append("float16")
    where, wrong, off_by = [], [], {}
    for name, model, x in models(torch):
        with torch.no_grad():
            reference = model(x)
        for kind in kinds:
            y, place = one(torch, model, x, kind, device)
            off = float((y - reference).abs().max())
            off_by[f"{name}, {kind}"] = off
            where.append(dict(place, model=name, type=kind))
            # Written so that a NaN is wrong.
            if not off <= TOLERANCES[kind]:
                wrong.append(f"{name} in {kind} is off the CPU's result by {off:.1e} (allowed: {TOLERANCES[kind]:.0e})")
    says = "a convolutional net and a transformer block in %s: off the CPU's float32 by at most %.1e"
    says = "; ".join(wrong) or says % (", ".join(kinds), max(off_by.values()))
    out.told("failed" if wrong else "passed", says, "placed", off=off_by, tolerance=TOLERANCES)
    return where


def peers(out, torch):
    """Copy between each two GPUs and compare: where the board or an IOMMU breaks peer-to-peer, data arrive wrong and nothing says so."""
    out.phase("run", "peers")
    count = torch.cuda.device_count()
    if count < 2:
        out.told("untold", "one GPU is visible: nothing to copy to")
        return
    wrong = []
    for one_, other in [(a, b) for a in range(count) for b in range(count) if a != b]:
        x = torch.arange(1 << 20, dtype=torch.float32, device=f"cuda:{one_}")
        if not bool(torch.equal(x.to(f"cuda:{other}").cpu(), x.cpu())):
            wrong.append(f"{one_} to {other}")
    direct = [[a, b] for a in range(count) for b in range(count) if a != b and torch.cuda.can_device_access_peer(a, b)]
    says = "wrong data arrive from GPU " + ", from GPU ".join(wrong) if wrong else f"4 MiB arrive whole between all {count} GPUs"
    out.told("failed" if wrong else "passed", says, direct=direct, gpus=count)


def climb(out):
    """Climb from the import to the memory that is given back."""
    device = out.settings.get("device", "cuda")
    out.phase("import", "import")
    import torch

    built = torch.version.cuda or ""
    says = "PyTorch {}, built {}".format(torch.__version__, f"for CUDA {built}" if built else "without CUDA")
    facts = {"version": torch.__version__, "cuda": built, "path": os.path.dirname(torch.__file__)}
    out.told("passed", says, "sees", **facts)
    if out.settings.get("peers"):
        peers(out, torch)
        return
    out.phase("load", "sees")
    if device == "cuda":
        if not torch.cuda.is_available():
            why = "this build has no CUDA"
            if built:
                try:
                    torch.cuda.init()
                    why = "it does not say why"
                except Exception as error:  # noqa: BLE001 - what it says is the result
                    why = str(error)
            out.told("failed", f"torch.cuda.is_available() is False: {why}", cuda=built)
            raise Stop
        capability = torch.cuda.get_device_capability()
        name = torch.cuda.get_device_name()
        out.told(
            "passed",
            f"{name}, capability {capability[0]}.{capability[1]}",
            "kernels",
            device=name,
            gpus=torch.cuda.device_count(),
        )
        # 1.9 answers get_arch_list() with nothing where it sees no GPU; what it was compiled for stands here.
        targets = torch._C._cuda_getArchFlags().split()  # noqa: SLF001
        kernels(out, targets, capability, "PyTorch")
    else:
        out.told("passed", f"the CPU, {torch.get_num_threads()} threads", "kernels")
        out.told("passed", "those for the CPU", "computes")
    out.phase("run", "computes")
    started = torch.cuda.memory_allocated() if device == "cuda" else 0
    where = compute(out, torch, device)
    strays = [each for each in where if each["parameters"] != [device] or each["output"] != [device]]
    strays += [each for each in where if device == "cuda" and each["allocated"] <= 0]
    facts = {"where": where, "on": device if not strays else f"not all on {device}"}
    if strays:
        out.told(
            "failed", "{}: parameters on {}".format(strays[0]["model"], ", ".join(strays[0]["parameters"])), "freed", **facts
        )
    else:
        more = f", and its allocator gave {max(each['allocated'] for each in where) >> 10} KiB for them"
        says = f"parameters and outputs of all {len(where)} runs are on {device}{more if device == 'cuda' else ''}"
        out.told("passed", says, "freed", **facts)
    if device == "cpu":
        out.told("untold", "a matter of GPU memory")
        return
    import gc

    peak = torch.cuda.max_memory_reserved()
    gc.collect()
    torch.cuda.empty_cache()
    kept = torch.cuda.memory_allocated() - started
    says = f"{kept} bytes are still allocated after the models are gone; the allocator's peak was {peak >> 20} MiB"
    # cuBLAS keeps a workspace for the life of the process: some MiB, not a leak.
    out.told("passed" if kept <= 64 << 20 else "failed", says, kept=kept, peak=peak)


if __name__ == "__main__":
    run(climb)
