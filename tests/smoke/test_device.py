"""The rungs below every framework, with real nodes that have no driver and a libcuda of our own."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpudoctor import engine
from gpudoctor.facts import Facts
from gpudoctor.host.hostfile import parse
from gpudoctor.smoke import causes, climb
from gpudoctor.smoke.ladder import BELOW
from tests.smoke.conftest import PROBES, ROOT, host_place, rungs

HOST = ROOT / "fixtures" / "hosts" / "ubuntu-22.04-a10g-hook.host"
NODES = {"nodes": ["/dev/null"]}
OLD = next(iter(sorted(Path.home().glob(".pyenv/versions/3.8.*/bin/python3"))), None)


def facts() -> Facts:
    """Return the facts of a healthy host with one GPU."""
    from gpudoctor.host.hostfile import load

    return Facts(load(str(HOST)))


def climbed(monkeypatch, fake_libcuda, **environment):
    """Climb the rungs below every framework on the fake libcuda, in a real process."""
    for name, value in {"LD_LIBRARY_PATH": str(fake_libcuda), **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    job = climb._Try("", "device.py", NODES, BELOW)
    return climb._climb(facts(), climb.Asked((), timeout=float(environment.get("LIMIT", 60))), host_place(), job, lambda *_: None)


def test_all_rungs_pass_and_tell_what_is_there(monkeypatch, fake_libcuda):
    """Two devices are counted with capability, UUID and who reaches whom; CUDA starts, and that is not called a run on the GPU."""
    done = climbed(monkeypatch, fake_libcuda, FAKE_DEVICES="2", FAKE_CAPABILITY="90", FAKE_DRIVER="13020")
    assert [rung.state for rung in done.rungs] == ["passed"] * 4
    assert done.verdict == "starts"
    seen = done.rungs[3].facts
    assert seen["cuda"] == "13.2"
    assert [each["capability"] for each in seen["devices"]] == ["9.0", "9.0"]
    assert seen["devices"][0]["uuid"] == "GPU-10101010-1010-1010-1010-101010101010"
    assert seen["peers"] == [[0, 1], [1, 0]]
    assert done.rungs[1].says == str(fake_libcuda / "libcuda.so.1")


@pytest.mark.parametrize(
    ("code", "slug"),
    [
        (3, "uvm-hmm-cuinit-3"),
        (46, "compute-mode-exclusive"),
        (100, None),
        (500, ""),
        (802, "fabricmanager-not-running"),
        (803, "driver-library-mismatch"),
        (804, "forward-compat-804"),
        (999, None),
    ],
)
def test_the_number_of_cuinit_names_the_cause(monkeypatch, fake_libcuda, code: int, slug: str | None):
    """Each code of cuInit fails that rung with its number, leads to its failure mode and a cure, and nothing above is tried."""
    done = climbed(monkeypatch, fake_libcuda, FAKE_CUINIT=str(code))
    assert [rung.state for rung in done.rungs] == ["passed", "passed", "failed", "not tried"]
    assert done.verdict == "failed"
    assert done.rungs[2].facts["code"] == code
    assert done.cause is not None
    assert done.cause.cure
    if slug is not None:
        assert done.cause.slug == slug
    else:
        assert engine.named(done.cause.slug) is not None


def test_a_hidden_gpu_is_blamed_on_the_variable(monkeypatch, fake_libcuda):
    """Error 100 with CUDA_VISIBLE_DEVICES set is the variable's fault, and its value is named."""
    job = climb._Try("", "device.py", NODES, BELOW, "7")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(fake_libcuda))
    monkeypatch.setenv("FAKE_CUINIT", "100")
    done = climb._climb(facts(), climb.Asked(()), host_place(), job, lambda *_: None)
    assert done.cause is not None
    assert done.cause.slug == "cuda-visible-devices-wrong"
    assert "CUDA_VISIBLE_DEVICES=7" in done.cause.text
    assert "CUDA_VISIBLE_DEVICES=7" in done.command


def test_no_device_is_a_failure(monkeypatch, fake_libcuda):
    """CUDA that starts and counts nothing fails the rung of the devices."""
    done = climbed(monkeypatch, fake_libcuda, FAKE_DEVICES="0")
    assert done.first_failed is not None
    assert done.first_failed.name == "devices"


def test_a_crash_in_cuinit_is_a_result(monkeypatch, fake_libcuda):
    """A libcuda that crashes is told by the signal and the phase; the program goes on."""
    done = climbed(monkeypatch, fake_libcuda, FAKE_CRASH="11")
    assert done.first_failed is not None
    assert done.first_failed.name == "cuinit"
    assert "killed by signal 11 (SIGSEGV) during run" in done.first_failed.says


def test_a_cuinit_that_hangs_is_killed(monkeypatch, fake_libcuda):
    """A cuInit that does not come back is ended after the phase's limit."""
    done = climbed(monkeypatch, fake_libcuda, FAKE_HANG="60", LIMIT="1")
    assert done.first_failed is not None
    assert done.first_failed.name == "cuinit"
    assert "no answer within 1 s during run" in done.first_failed.says


def test_cuinit_is_not_called_where_it_would_make_nodes(probe, fake_libcuda):
    """Without leave to call it, cuInit is not called: a code that it would return does not show."""
    found = rungs(probe("device.py", {**NODES, "cuinit": False}, LD_LIBRARY_PATH=str(fake_libcuda), FAKE_CUINIT="999"))
    assert found["cuinit"]["state"] == "failed"
    assert "code" not in found["cuinit"]["facts"]
    assert "was not called" in found["cuinit"]["says"]


def test_a_host_without_a_loaded_driver_gives_no_leave():
    """The guard: no /proc/driver/nvidia/version, no cuInit."""
    from gpudoctor import device_args
    from gpudoctor.device_args import select

    loaded = facts()
    selection = select.select(loaded, device_args.request("all", "compute", "args", None))
    assert climb._may_start_cuda(loaded, selection)
    assert not climb._may_start_cuda(Facts(parse(b"-- /dev/nvidia0 -- char 195:0\n")), selection)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a device node")
def test_a_node_without_a_driver_is_enxio(probe, tmp_path):
    """A node of major 195 on a machine without the driver opens with ENXIO, which is told apart from a missing one."""
    node = tmp_path / "nvidia0"
    os.mknod(node, 0o020666, os.makedev(195, 0))
    try:
        os.close(os.open(node, os.O_RDWR))
        pytest.skip("a driver answers behind 195:0 here")
    except OSError as error:
        if error.errno != errno.ENXIO:
            pytest.skip(f"this file system has no device nodes ({error.strerror})")
    found = rungs(probe("device.py", {"nodes": [str(node), str(tmp_path / "none")]}))["nodes"]
    assert found["state"] == "failed"
    assert found["facts"]["errors"] == {str(node): errno.ENXIO, str(tmp_path / "none"): errno.ENOENT}
    assert "ENXIO" in found["says"]
    assert not (tmp_path / "none").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open what its mode forbids")
def test_a_closed_node_is_eacces(probe, tmp_path):
    """A node that its mode forbids is EACCES."""
    node = tmp_path / "closed"
    node.write_bytes(b"")
    node.chmod(0)
    found = rungs(probe("device.py", {"nodes": [str(node)]}))["nodes"]
    assert found["facts"]["errors"] == {str(node): errno.EACCES}


@pytest.mark.skipif(OLD is None, reason="no Python 3.8 here")
def test_probes_are_python_3_8():
    """Each probe compiles on Python 3.8, and the one below every framework runs there."""
    code = "import sys; [compile(open(each).read(), each, 'exec') for each in sys.argv[1:]]"
    paths = sorted(map(str, PROBES.glob("*.py")))
    assert len(paths) == 7
    subprocess.run([str(OLD), "-c", code, *paths], check=True)
    with (PROBES / "device.py").open("rb") as script:
        ran = subprocess.run(
            [str(OLD), "-", '{"nodes": ["/dev/null"]}'], stdin=script, capture_output=True, text=True, check=True
        )
    assert '"rung": "nodes", "state": "passed"' in ran.stdout


def test_probes_have_one_head():
    """The first part of each probe is the same, so that each is complete by itself and none differs."""
    heads = set()
    for path in PROBES.glob("[a-z]*.py"):
        head, line, _ = path.read_text().partition("# ------------------")
        assert line, path
        heads.add(head.partition('"""\n\n')[2])
    assert len(heads) == 1


def test_probes_import_only_the_standard_library_and_their_framework():
    """A probe imports nothing that its target may lack: no gpudoctor, no other package (numpy comes with each framework)."""
    import ast

    for path in PROBES.glob("[a-z]*.py"):
        own = path.stem.removesuffix("_probe")
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                assert top in sys.stdlib_module_names or top in {own, "numpy"}, f"{path}: {name}"


def test_each_failure_mode_named_is_a_rule():
    """Every slug that a rung can lead to has a page."""
    slugs = {slug for table in (causes._HOST_NODES, causes._IMAGE_NODES) for each in table.values() for slug in each}
    slugs |= {slug for on_host, in_image, _ in causes._CODES.values() for slug in (*on_host, *in_image)}
    slugs |= set(causes._CPU_BUILDS.values())
    assert len(slugs) > 20
    assert [slug for slug in sorted(slugs) if engine.named(slug) is None] == []
