"""The running kernel is older than 3.10, the oldest that Docker and NVIDIA's container toolkit run on.

Such kernels lack the namespaces and cgroups that both are built on. What is printed then names anything but the kernel.

How it is told from its look-alikes: by the kernel's version alone. A kernel that is new enough for the toolkit and too old for the
installed driver is `host/kernel-too-old-for-driver`.

Cure: upgrade the kernel, which in this case means the distribution. Nothing is changed by us.

Sources: NVIDIA container toolkit installation guide (prerequisites); Docker's check-config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import Unseen
from gpudoctor.model import Cure, Evidence, Finding, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_OLDEST = (3, 10)


def check(facts: Facts) -> Iterator[Finding]:
    """Find a kernel before 3.10."""
    platform = facts.platform
    if not platform.kernel_version:
        raise Unseen("/proc/sys/kernel/osrelease", "nothing says which kernel runs")
    if platform.kernel_version[:2] >= _OLDEST:
        return
    yield Finding(
        "the kernel is too old for containers with GPUs",
        f"Kernel {platform.kernel} runs; Docker and NVIDIA's container toolkit need 3.10 or newer.",
        (Evidence(Where("/proc/sys/kernel/osrelease"), platform.kernel),),
        Cure("SHOWN", "Move to a distribution release with a newer kernel.", (), "The whole system is replaced or upgraded."),
    )


RULE = Rule("host/kernel-too-old", 27, "error", "the kernel is too old for containers with GPUs", check, breaks=("platform",))
