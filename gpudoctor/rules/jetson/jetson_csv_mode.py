"""On a Jetson the GPU reaches a container by lists (csv mode), and something of that is not in place.

A Jetson up to Orin has no PCI GPU: the nvidia *runtime* mounts what the lists in
/etc/nvidia-container-runtime/host-files-for-container.d name. `--gpus` alone goes to the hook (before Docker 29.2 and CDI),
which refuses ("invoking the NVIDIA Container Runtime Hook directly ... is not supported") or looks for nodes that do not exist
("stat failed: /dev/nvidiactl"). Without lists, or with the mode forced to legacy, the container starts and finds no CUDA.

How it is told from its look-alikes, by four facts, each a finding of its own: the mode in config.toml; no *.csv file;
libcuda.so.1 not in the linker's cache ("load library failed: libcuda.so.1"); a container that asked by `--gpus` without the
runtime. On JetPack 4 a toolkit before 1.10 needs NVIDIA's libnvidia-container0 beside it, which upstream packages do not
bring. The runtime missing in daemon.json is `docker/runtime-not-registered`; "file exists" comes from an image that was not
made for Jetson.

Cure: `docker run --runtime=nvidia` with an l4t or -igpu image; mode = "auto"; the lists and libraries from JetPack's own
packages; `ldconfig`, after its folder was named in /etc/ld.so.conf.d where that is missing. Nothing of it touches the kernel. The
fix sets the mode and does the last; what packages bring it leaves to you.

Sources: NVIDIA container toolkit source (csv mode, mode resolution) and JetPack documentation; nvidia-container-runtime
issues 123, 173; nvidia-docker issue 1709.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_TITLE = "csv mode of this Jetson is not in place"
_CUDA = "libcuda.so.1"
_JETPACK_4 = 32


def check(facts: Facts) -> Iterator[Finding]:
    """Find a wrong mode, missing lists, a missing or unlisted libcuda, and containers that asked by --gpus alone."""
    platform, toolkit = facts.platform, facts.toolkit
    if not platform.nvgpu:
        raise NotApplicable("This is no Jetson with csv mode (up to Orin).")
    if not toolkit.installed:
        raise NotApplicable("The container toolkit is not installed.")
    if toolkit.mode == "legacy":
        yield Finding(
            "the runtime's mode is legacy on a Jetson",
            "The runtime is told to use the way of PCI GPUs, which does not work on a Jetson: containers get no driver.",
            (Evidence(Where(toolkit.config_path, toolkit.line("nvidia-container-runtime", "mode")), 'mode = "legacy"'),),
            Cure(
                "SAFE",
                'Set mode = "auto", then start the containers anew.',
                (f'sudo sed -i \'s/^mode = "legacy"/mode = "auto"/\' {toolkit.config_path}',),
                "None.",
            ),
        )
    if not toolkit.csv_files:
        yield Finding(
            "the lists for csv mode are missing",
            "There is no list of what a container needs of this Jetson, so containers start without driver and CUDA.",
            (Evidence(Where(toolkit.csv_folder), "no *.csv file"),),
            Cure("SHOWN", "Install the lists again, from JetPack's own packages.", _lists(facts), "None for running containers."),
            # A Jetson's CDI spec is made from the lists too: what lacks it follows from this.
            breaks=("libraries", "container"),
            needs=("gpu", "toolkit"),
        )
    yield from _libraries(facts)
    yield from _old_toolkit(facts)
    yield from _gpus_alone(facts)


def _lists(facts: Facts) -> tuple[str, ...]:
    names = ["nvidia-l4t-init"]
    if facts.platform.l4t == _JETPACK_4:
        names += ["nvidia-container-csv-cuda", "nvidia-container-csv-cudnn", "nvidia-container-csv-tensorrt"]
    return ("sudo apt-get update", f"sudo apt-get install --reinstall -y {' '.join(names)}")


def _libraries(facts: Facts) -> Iterator[Finding]:
    if facts.driver.cached(_CUDA):
        return
    library = facts.driver.library(_CUDA)
    if library is None:
        yield Finding(
            "libcuda is missing on this Jetson",
            "The host has no libcuda.so.1 to lend to containers: the root file system is a minimal one, or a package is missing.",
            (Evidence(Where("/usr/lib/aarch64-linux-gnu"), f"no {_CUDA} in nvidia/ or tegra/, nor in the linker's cache"),),
            Cure(
                "SHOWN",
                "Install JetPack's driver libraries.",
                ("sudo apt-get update", advice.install(facts, "nvidia-l4t-core", "nvidia-l4t-cuda", "nvidia-l4t-init")),
                "Packages are added.",
            ),
            breaks=("libraries",),
            needs=(),
        )
        return
    # Only toolkits before csv mode find libcuda through the cache; newer ones go by the paths in the lists.
    by_path = facts.toolkit.since("csv-mode")
    yield Finding(
        "libcuda is not in the linker's cache",
        "The linker's cache does not know the folder of Tegra's libraries, so nvidia-container-cli and programs on the host "
        "cannot load libcuda.so.1.",
        (Evidence(Where("ldconfig -p"), f"no {_CUDA}"), Evidence(Where(library.path), "is there")),
        Cure(
            "SAFE",
            "Write the linker's cache anew, then start the containers anew.",
            (*(f"echo {folder} | sudo tee /etc/ld.so.conf.d/nvidia-tegra.conf" for folder in _unlisted(facts)), "sudo ldconfig"),
            "None.",
        ),
        severity="warning" if by_path else None,
        breaks=() if by_path else None,
    )


def _unlisted(facts: Facts) -> tuple[str, ...]:
    """Return libcuda's folder where the linker's configuration does not name it, so that ldconfig alone would not find it."""
    library = facts.driver.library(_CUDA)
    if library is None:
        return ()
    folder = library.path.rpartition("/")[0]
    files = ["/etc/ld.so.conf", *(f"/etc/ld.so.conf.d/{name}" for name in facts.host.names("/etc/ld.so.conf.d"))]
    lines = [line.strip() for path in files if path.endswith(".conf") for line in (facts.host.text(path) or "").split("\n")]
    return () if folder in lines else (folder,)


def _old_toolkit(facts: Facts) -> Iterator[Finding]:
    toolkit, packages = facts.toolkit, facts.packages
    if facts.platform.l4t != _JETPACK_4 or not toolkit.version_numbers or toolkit.since("csv-mode"):
        return
    if packages.manager != "dpkg" or packages.installed("libnvidia-container0") is not None:
        return
    yield Finding(
        "JetPack's libnvidia-container0 is missing",
        f"Toolkit {toolkit.version} knows no csv mode (1.10), and JetPack's libnvidia-container0, which reads the lists for it, "
        "is not installed: containers look for /dev/nvidiactl and fail.",
        (
            Evidence(Where(toolkit.version_source), f"version {toolkit.version}"),
            Evidence(Where(packages.source), "no libnvidia-container0"),
        ),
        Cure(
            "SHOWN",
            "Install JetPack's own container packages.",
            ("sudo apt-get update", advice.install(facts, "libnvidia-container0"), advice.restart_docker(facts)),
            advice.RESTART_RISK,
        ),
    )


def _gpus_alone(facts: Facts) -> Iterator[Finding]:
    if facts.toolkit.gpus_path == "cdi":
        return  # the CDI spec of a Jetson is made from the same lists
    for container in facts.docker.known_containers:
        if container.runtime != "nvidia" and any(driver != "cdi" for driver in container.drivers):
            yield Finding(
                "a container asked by --gpus alone",
                f"Container {container.name} was started with --gpus but without the nvidia runtime, which a Jetson needs.",
                (Evidence(Where(container.path), f"runtime {container.runtime or 'runc'}, a device request by --gpus"),),
                Cure(
                    "SHOWN",
                    "Create the container anew with --runtime=nvidia, from an l4t or -igpu image.",
                    ("docker run --runtime=nvidia ...",),
                    "What the old container holds outside its volumes is lost when it is removed.",
                ),
            )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Set the runtime's mode back to auto, or have the linker's cache know Tegra's libraries."""
    if facts.toolkit.mode == "legacy":
        yield steps.toolkit_setting(facts, "nvidia-container-runtime.mode", "auto")
    if not facts.driver.cached(_CUDA) and facts.driver.library(_CUDA) is not None:
        for folder in _unlisted(facts):
            path = "/etc/ld.so.conf.d/gpudoctor-tegra.conf"
            yield steps.own_file(path, "where Tegra's libraries are.", f"{folder}\n".encode())
        yield steps.then("ldconfig", "It writes the linker's cache anew.", undo="ldconfig")


RULE = Rule(
    "jetson/jetson-csv-mode",
    27,
    "error",
    _TITLE,
    check,
    breaks=("container",),
    needs=("gpu", "libraries", "toolkit"),
    fix=fix,
    signs=(
        "load library failed: libcuda.so.1",
        "stat failed: /dev/nvidiactl: no such file",
        "nvidia-container-runtime/host-files-for-container.d",
        "(jetson|l4t|jetpack|orin|tegra) + --gpus",
        "~ (jetson|tegra|l4t|jetpack|orin|xavier)",
    ),
)
