"""The cgroup hierarchy: v1, hybrid or v2, and the driver that Docker uses."""

from __future__ import annotations

from typing import Literal

from gpudoctor.facts import Area, fact
from gpudoctor.formats import mountinfo

MOUNTINFO = "/proc/self/mountinfo"
CONTROLLERS = "/sys/fs/cgroup/cgroup.controllers"


class Cgroup(Area):
    """Which hierarchy is mounted now."""

    @fact
    def mode(self) -> Literal["v2", "hybrid", "v1"] | None:
        """Return the hierarchy: ``hybrid`` is v1 with an empty v2 tree beside it; None where nothing is mounted."""
        data = self.host.bytes(MOUNTINFO)
        mode = None if data is None else mountinfo.cgroup_mode(data)
        if mode is not None:
            return mode
        if self.host.exists(CONTROLLERS):
            return "v2"
        if self.host.exists("/sys/fs/cgroup/unified"):
            return "hybrid"
        return "v1" if self.host.exists("/sys/fs/cgroup/devices") else None

    @fact
    def source(self) -> str:
        """Return where the hierarchy shows, for evidence."""
        return CONTROLLERS if self.mode == "v2" else MOUNTINFO
