"""SELinux labels the nvidia-docker script as a part of the X server, so it may not start docker.

The policy's list of file labels says `/usr/bin/nvidia.*` is xserver_exec_t, meant for the driver's own programs. The
nvidia-docker script of nvidia-docker2 matches it as well: whoever runs it becomes xserver_t, which may not run
docker ("/bin/nvidia-docker: line 34: /bin/docker: Permission denied", in the log "denied { entrypoint } for
comm="nvidia-docker""). `docker run --gpus` itself is not touched.

How it is told from its look-alikes: with `host/selinux-label` the container starts and NVML is refused inside it. A
label on disk cannot be read by us, so the policy's own list is the evidence, or the kernel's log; someone may have
changed the label by hand.

Cure: use `docker run --gpus all` (or `--runtime=nvidia`) instead of the script, which NVIDIA has given up; or give
the script a label of its own. The second is a change of the SELinux policy.

Sources: NVIDIA/nvidia-docker#814, NVIDIA/dgx-selinux#6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_WRAPPER = "/usr/bin/nvidia-docker"
_PATTERN = "/usr/bin/nvidia.*"
_LABEL = "xserver_exec_t"


def check(facts: Facts) -> Iterator[Finding]:
    """Find the nvidia-docker script on an enforcing host whose policy labels it as the X server's."""
    if facts.host.lstat(_WRAPPER) is None:
        raise NotApplicable("There is no nvidia-docker script on this host.")
    if not facts.platform.selinux_enforcing:
        raise NotApplicable("SELinux does not enforce anything on this host.")
    denial = facts.driver.logged("avc:", "denied", "entrypoint", "nvidia-docker")
    if denial is not None:
        evidence = Evidence(Where("kernel log"), denial)
    else:
        contexts = facts.platform.selinux_file_contexts
        # The file of local additions comes after the policy's own, and the last match counts.
        if _line(facts, f"{contexts}.local", _WRAPPER) is not None or _line(facts, contexts, _WRAPPER) is not None:
            return
        found = _line(facts, contexts, _PATTERN)
        if found is None or _LABEL not in found[1]:
            return
        evidence = Evidence(Where(contexts, found[0]), found[1])
    yield Finding(
        "SELinux does not let nvidia-docker start docker",
        "The policy gives the nvidia-docker script the label of the X server's programs, and those may not run docker "
        "(Permission denied); docker itself is not affected.",
        (Evidence(Where(_WRAPPER), "is there"), evidence),
        Cure(
            "SHOWN",
            "Use docker run --gpus all instead of the script, or give it a label of its own.",
            (
                f"sudo semanage fcontext -a -t container_runtime_exec_t {_WRAPPER}",
                f"sudo restorecon -v {_WRAPPER}",
            ),
            "The commands change the SELinux policy of this host; using docker itself changes nothing.",
        ),
    )


def _line(facts: Facts, path: str, pattern: str) -> tuple[int, str] | None:
    """Return number and words of the policy's line for exactly this pattern."""
    data = b"\n" + (facts.host.bytes(path) or b"")
    for blank in (b"\t", b" "):
        at = data.find(f"\n{pattern}".encode() + blank)
        if at >= 0:
            line = data[at + 1 :].partition(b"\n")[0].decode("utf-8", "replace")
            return data.count(b"\n", 0, at + 1), " ".join(line.split())
    return None


RULE = Rule(
    "host/selinux-wrapper",
    120,
    "warning",
    "SELinux does not let nvidia-docker start docker",
    check,
    needs=("gpu", "daemon"),
    signs=(
        "avc*denied*comm=nvidia-docker",
        "/bin/nvidia-docker: line*permission denied",
        "xserver_exec_t + nvidia-docker",
    ),
)
