"""What evidence amounts to: "on the GPU" needs both witnesses, and an answer that is no good is a failure wherever it was computed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gpudoctor.bundle import Call, verdict

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
HOLDS = [
    {"pid": 7, "devices": ["/dev/nvidia0", "/dev/nvidiactl"], "libraries": ["libcuda.so.1"], "visible": {}, "readable": True}
]
IDLE = [{"pid": 7, "devices": [], "libraries": [], "visible": {}, "readable": True}]


def session(nodes: dict[str, int] | None, kinds: dict[str, dict[str, int]] | None = None, **more: Any) -> dict[str, Any]:
    """Return what is told of one session of ONNX Runtime."""
    got = more.pop("got", [CUDA, CPU])
    return {
        "model": "m.onnx", "asked": [CUDA, CPU], "got": got, "after": got, "nodes": nodes, "kinds": kinds or {}, "ran": 1, "off": None,
        "outputs": [], **more,
    }  # fmt: skip


def module(parameters: dict[str, int], outputs: dict[str, int], **more: Any) -> dict[str, Any]:
    """Return what is told of one module of PyTorch."""
    return {"type": "Net", "calls": 1, "parameters": parameters, "outputs": outputs, "values": [], "off": None, **more}


def judged(seen: dict[str, Any], processes: list[dict[str, Any]] = HOLDS, device: str = "cuda", **line: Any) -> Call:
    """Judge a call that was answered, with this evidence."""
    told = {"answered": "predict", "ok": True, "seconds": 0.5, "seen": seen, **line}
    return verdict.called(told, device, processes, line.pop("nvml", None), "given")


def ort(*sessions: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the evidence of ONNX Runtime."""
    return {"onnxruntime": {"version": "1.23.2", "sessions": list(sessions), **more}}


def torch(*modules: dict[str, Any], allocated: int = 0, **more: Any) -> dict[str, Any]:
    """Return the evidence of PyTorch."""
    return {"torch": {"version": "2.13", "modules": list(modules), "allocated": allocated, **more}}


@pytest.mark.parametrize(
    "seen",
    [
        ort(session({CUDA: 12})),
        ort(session({CUDA: 12, CPU: 2}, {CPU: {"Shape": 1, "Gather": 1}})),
        torch(module({"cuda:0": 4}, {"cuda:0": 1}), allocated=4096),
        torch(module({"cuda:0": 4}, {"cpu": 1})),
        torch(module({"cuda:0": 4}, {"cuda:0": 1}), module({}, {"cpu": 1}, type="Resize")),
        torch(allocated=1 << 20),
        {
            "tensorflow": {
                "version": "2.21",
                "gpus": ["/device:GPU:0"],
                "variables": {"/device:GPU:0": 2},
                "peak": {"/device:GPU:0": 512},
            }
        },
    ],
)
def test_what_a_framework_did_on_the_gpu_passes_where_a_process_has_it_open(seen):
    """Nodes, parameters or memory on the GPU pass if a process has a GPU's node open, and not without."""
    good = judged(seen)
    assert (good.ok, good.ran_on) == (True, "gpu"), good
    bad = judged(seen, IDLE)
    assert (bad.ok, bad.ran_on) == (False, "unknown"), bad
    assert "none of its processes has a GPU open" in bad.text


def test_the_drivers_own_list_is_a_witness_too():
    """A process that NVML lists as a user of the GPU uses it, though its descriptors show nothing."""
    told = {"answered": "predict", "ok": True, "seen": ort(session({CUDA: 3}))}
    made = verdict.called(told, "cuda", IDLE, [{"gpu": 0, "pid": 7, "memory": 1 << 28}], "given")
    assert (made.ok, made.ran_on) == (True, "gpu")


@pytest.mark.parametrize(
    ("seen", "where", "words"),
    [
        (ort(session({CPU: 12}, got=[CPU])), "cpu", "did not get it"),
        (ort(session({CPU: 12}, asked=None, got=[CPU])), "cpu", "without naming a provider"),
        (ort(session({CPU: 12}, got=[CPU]), available=[CPU]), "cpu", "built without"),
        (
            ort(session({CPU: 12}, got=[CPU], printed="CUDA failure 35: CUDA driver version is insufficient ; GPU=0")),
            "cpu",
            "35: CUDA driver",
        ),
        (ort(session({CPU: 12}, got=[CPU], loader="libcublasLt.so.12: cannot open")), "cpu", "libcublasLt.so.12"),
        (ort(session({CUDA: 9, CPU: 3}, {CPU: {"Conv": 2, "Shape": 1}})), "mixed", "on the CPU Conv"),
        (torch(module({"cpu": 4}, {"cpu": 1}), why_not="No CUDA GPUs are available"), "cpu", "No CUDA GPUs"),
        (torch(module({"cpu": 2, "cuda:0": 2}, {"cuda:0": 1})), "mixed", "cpu and cuda"),
        (torch(module({"cpu": 4}, {"cpu": 1})) | ort(session({CUDA: 3})), "mixed", "parameters"),
        ({"tensorflow": {"version": "2.21", "gpus": [], "variables": {"": 2}, "peak": {}}}, "cpu", "has no GPU"),
        (torch(module({"cpu": 4}, {"cuda:0": 1})), "mixed", "its outputs on cuda"),
        (
            {
                "tensorflow": {
                    "version": "2.21",
                    "gpus": ["/device:GPU:0"],
                    "variables": {"/job:localhost/device:CPU:0": 2},
                    "peak": {"/device:GPU:0": 512},
                }
            },
            "mixed",
            "all its variables are on the CPU",
        ),
        ({}, "unknown", "no framework"),
    ],
)
def test_answered_but_not_on_the_gpu_is_no_pass(seen, where, words):
    """Asked for the GPU, an answer of the CPU or of both is a failure, and the sentence has the framework's own reason."""
    made = judged(seen)
    assert made.ran_on == where
    assert made.ok is (None if where == "unknown" else False)
    assert words in made.text


def test_a_bundle_that_computes_nothing_known_is_no_pass():
    """Where no framework computed and no process has a GPU open, it did not run on the GPU."""
    made = judged({}, IDLE)
    assert (made.ok, made.ran_on) == (False, "cpu")


def test_on_the_cpu_as_asked_passes_and_says_what_that_is_worth():
    """With --device cpu an answer of the CPU is good, one of the GPU is not, and the sentence says that no GPU was tried."""
    made = judged(ort(session({CPU: 3}, asked=[CPU], got=[CPU])), IDLE, "cpu")
    assert (made.ok, made.ran_on) == (True, "cpu")
    assert "says nothing of a GPU" in made.text
    assert judged(ort(session({CUDA: 3})), HOLDS, "cpu").ok is False


def test_on_the_cpu_what_cannot_be_told_is_no_failure():
    """Where its processes could not be looked at and no framework says anything, it is left open."""
    hidden = [{"pid": 1, "devices": [], "libraries": [], "visible": {}, "readable": False}]
    assert judged({}, hidden, "cpu").ok is None


@pytest.mark.parametrize(
    ("seen", "line", "words"),
    [
        ({}, {"unsound": "NaN"}, "NaN"),
        ({}, {"unsound": "infinite"}, "infinite"),
        (torch(module({"cuda:0": 1}, {"cuda:0": 1}, values=[{"name": "", "shape": [1], "unsound": "NaN"}])), {}, "NaN"),
        (
            ort(session({CUDA: 1}, outputs=[{"name": "y", "shape": [1, 4], "declared": [1, 3]}])),
            {},
            "shape [1, 4], declared is [1, 3]",
        ),
        (ort(session({CUDA: 1}, off=0.5)), {}, "differs from the CPU's answer by 5.0e-01"),
        (ort(session({CUDA: 1}, off=float("inf"))), {}, "differs"),
        (torch(module({"cuda:0": 1}, {"cuda:0": 1}, off=float("nan"))), {}, "differs"),
    ],
)
def test_a_bad_answer_fails_wherever_it_was_computed(seen, line, words):
    """NaN, infinity, a shape that is not the declared one, and an answer that is not the CPU's are failures with a sentence."""
    made = judged(seen, **line)
    assert made.ok is False
    assert words in made.text


def test_a_small_difference_is_told_and_no_failure():
    """Within the tolerance the answer is good, and by how much it differs stands in the sentence."""
    made = judged(ort(session({CUDA: 1}, off=1e-5)))
    assert made.ok
    assert "1.0e-05" in made.text


def test_evidence_is_always_json():
    """Evidence with infinities, odd keys and deep nesting is written as JSON that every reader takes."""
    deep: dict[str, Any] = {}
    deep["x"] = [[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]
    made = judged({"torch": {"modules": [], "odd": float("inf"), "more": deep}, 5: {1, 2}})
    json.loads(json.dumps(made.evidence, allow_nan=False))


@pytest.mark.parametrize(
    ("oks", "wanted"), [([], "nothing-to-test"), ([True], "pass"), ([True, None], "cannot-tell"), ([True, None, False], "fail")]
)
def test_the_verdict_is_that_of_the_worst_call(oks, wanted):
    """One failure fails all; one that could not be tried leaves it open; none at all is nothing to test."""
    assert verdict.verdict([Call("x", ok, "unknown", {}, "") for ok in oks]) == wanted


def test_both_places_and_no_open_gpu_is_told_apart():
    """A framework that speaks of both, while no process has a GPU open, is not believed."""
    made = judged(ort(session({CUDA: 9, CPU: 3}, {CPU: {"Conv": 2}})), IDLE)
    assert (made.ok, made.ran_on) == (False, "unknown")
    assert "none of its processes has a GPU open" in made.text
