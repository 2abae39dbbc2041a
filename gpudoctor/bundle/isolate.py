"""What keeps a bundle's code to itself while it is tried: where it may run at all, what it is shown, and what it cannot reach.

Loading a bundle runs its code. On the host it is a process of the same user: it has no network and cannot write into the bundle where
namespaces can be made, sees an empty home and none of the caller's secrets in its environment, and is killed in the end. It can still
read and write whatever that user can. A container takes that away too: where an image is given, there is no other way.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpudoctor.bundle import Check
    from gpudoctor.smoke.image import Container

LARGEST_FILE = 8 << 30
"""Bytes; weights that are unpacked into a cache are smaller."""
PIDS = 4096
_MOST_BESIDE = 50
BUNDLE = "/gpudoctor-bundle"
CODE = "/gpudoctor-code"
FOLDER = "/gpudoctor-smoke"
HOME = "/tmp/gpudoctor"  # noqa: S108 - in a container
MODELS = f"{HOME}/bentoml/models"
_SELINUX = "/sys/fs/selinux/enforce"
_KEPT = frozenset(
    {
        "PATH",
        "LANG",
        "LANGUAGE",
        "TZ",
        "LD_LIBRARY_PATH",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "PYTHONPATH",
        "PYTHONHOME",
        "USER",
        "LOGNAME",
    }
)
_KEPT_STARTS = (
    "LC_",
    "CUDA_",
    "NVIDIA_",
    "NCCL_",
    "TF_",
    "XLA_",
    "TORCH_",
    "PYTORCH_",
    "ORT_",
    "OMP_",
    "MKL_",
    "OPENBLAS_",
    "KERAS_",
    "PYENV_",
    "BENTOML_DISABLE_GPU",
    "BENTOML_NUM_THREAD",
)
_SECRET = ("TOKEN", "SECRET", "PASSW", "CREDENTIAL", "APIKEY", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY", "AUTH")


def refused(checks: Iterable[Check], *, trust: bool, container: bool) -> str:
    """Return why the bundle is not loaded without --trust, "" where it may be.

    A pickle that reaches what no model needs runs it when it is loaded; where it could not be told whether one does, it may.
    """
    if trust:
        return ""
    first = next((each for each in checks if each.check == "dangerous-pickle" and each.severity != "hint"), None)
    if first is None:
        return ""
    where = "in this container" if container else "as you, on this host"
    return (
        f"not loaded: {first.text.rstrip('.')} ({first.where}); loading it would run that {where}. "
        "--trust loads it all the same" + ("" if container else "; with --image it runs in a container")
    )


def environment(caller: Mapping[str, str], home: str) -> dict[str, str]:
    """Return the environment on the host: what frameworks and Python read, of the caller's; home and caches in a folder of ours."""
    kept = {
        name: value
        for name, value in caller.items()
        if (name in _KEPT or name.startswith(_KEPT_STARTS)) and not any(word in name.upper() for word in _SECRET)
    }
    kept.update(everywhere(home))
    # Packages that the user installed for himself stay where they are, though home is another.
    kept["PYTHONUSERBASE"] = caller.get("PYTHONUSERBASE") or os.path.join(os.path.expanduser("~"), ".local")
    return kept


def everywhere(home: str) -> dict[str, str]:
    """Return what is set on the host and in containers: a home that is thrown away, nothing told to others, nothing written beside code."""
    return {
        "HOME": home,
        "TMPDIR": os.path.join(home, "tmp"),
        "XDG_CACHE_HOME": f"{home}/.cache",
        "BENTOML_HOME": f"{home}/bentoml",
        "BENTOML_DO_NOT_TRACK": "True",
        "DO_NOT_TRACK": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def mounts(root: str, only: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return what of this host a container is shown of a bundle, and where in it.

    A file that is a link to elsewhere (in a cache of models they are) would lead nowhere in there: it is shown as itself, and with it
    those whose names begin as its name does, which have its weights.
    """
    if not only or not os.path.islink(os.path.join(root, only[0])):
        return ((root, BUNDLE),)
    start = only[0].partition(".")[0]
    near = sorted(name for name in os.listdir(root) if name.startswith(start) and name != only[0])
    shown = ((os.path.realpath(os.path.join(root, name)), f"{BUNDLE}/{name}") for name in (only[0], *near[:_MOST_BESIDE]))
    return tuple(each for each in shown if os.path.isfile(each[0]))


def _read_only(source: str, target: str) -> tuple[str, str]:
    """Return a mount as words; unlike those of --volume they take a path with a colon, and CSV's quotes one with a comma."""
    fields = ("type=bind", f"source={source}", f"target={target}", "readonly")
    quoted = ('"{}"'.format(each.replace('"', '""')) if "," in each or '"' in each else each for each in fields)
    return "--mount", ",".join(quoted)


def words(
    container: Container, name: str, top: str, shown: Iterable[tuple[str, str]], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the words that start a container whose Python reads the collector from standard input; ``shown`` is as of ``mounts``.

    No network (its own loopback is there), the bundle and our programs read-only, no capability, limits of memory and processes.
    """
    from gpudoctor.smoke import image

    said = ["docker", "run", "--rm", "--interactive", "--name", name, "--network", "none"]
    said += ["--volume", f"{top}/out:{FOLDER}", "--volume", f"{top}/code:{CODE}:ro"]
    for source, target in shown:
        said += _read_only(source, target)
    # Root in there has to read what another user of the host owns, and no more.
    said += ["--cap-drop", "ALL", "--cap-add", "DAC_OVERRIDE", "--security-opt", "no-new-privileges", "--pids-limit", str(PIDS)]
    if os.path.exists(_SELINUX):
        # A label of the container's own would have to be written onto the bundle's files.
        said += ["--security-opt", "label=disable"]
    memory = _memory()
    if memory:
        said += ["--memory", str(memory), "--memory-swap", str(memory)]
    for key, value in environment.items():
        said += ["--env", f"{key}={value}"]
    # The user's words come last and win: `--docker-arg=--entrypoint=/opt/venv/bin/python` names another Python.
    return (*said, *container.gpus, "--entrypoint", image.PYTHON, *container.extra, container.image, "-")


def _memory() -> int:
    """Return four fifths of this machine's memory in bytes, 0 where it is not known."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            total = next((int(line.split()[1]) for line in file if line.startswith("MemTotal:")), 0)
    except (OSError, ValueError, IndexError):
        return 0
    return total * 1024 // 5 * 4


def in_container(limits: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Say what a container kept the bundle's code from; the limits are those that the collector read in it (None: it did not start)."""
    if limits is None:
        return ()
    kept = "no network, the bundle mounted read-only, no capability but that of opening files whatever their modes, no new privileges"
    said = [f"The bundle's code ran in a container: {kept}."]
    processes, memory = limits.get("pids"), limits.get("memory")
    has = [f"{processes} processes"] if processes else []
    has += [f"{memory / (1 << 30):.1f} GiB of memory"] if memory else []
    lacks = [what for what, limit in (("processes", processes), ("memory", memory)) if not limit]
    if has:
        said.append(f"It had at most {' and '.join(has)}.")
    if lacks:
        said.append(
            f"No limit of {' and '.join(lacks)} is seen in it: Docker drops one for which this kernel has no cgroup controller."
        )
    if os.path.exists(_SELINUX):
        said.append("SELinux does not confine this container: the label would have to be written onto the bundle's files.")
    return tuple(said)


def on_host(told: Mapping[str, Any] | None, *, root: bool) -> tuple[str, ...]:
    """Say what the host's process was kept from, and what not, by what the collector told (None: it did not come so far)."""
    if told is None:
        return ()
    said = [
        "The bundle's code ran on this host, in a session of its own, with an empty home and without the variables of your environment that may be secret."
    ]
    if told.get("network", "not tried") == "":
        said.append("It had no network: a namespace of its own, with loopback alone.")
    else:
        said.append(f"It could use the network: no namespace could be made ({told.get('network', 'not tried')}).")
    if told.get("writes"):
        said.append("It could not change the bundle: what it wrote into its folder was thrown away.")
    elif told.get("read_only", "not tried") == "":
        said.append("It could not write into the bundle, which was mounted read-only for it.")
    else:
        said.append(f"It could write into the bundle: it could not be mounted read-only ({told.get('read_only', 'not tried')}).")
    if root:
        said.append(
            "It ran as root, because you are: nothing else on this host was out of its reach. --image runs it in a container."
        )
    else:
        said.append(
            "It could read and write what you can, and use your memory: --image runs it in a container, which takes that away."
        )
    return tuple(said)
