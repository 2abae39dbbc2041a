"""systemd units: installed, enabled, active; and the unit files' own words."""

from __future__ import annotations

from typing import Literal

from gpudoctor.facts import Area
from gpudoctor.host import Unseen

UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)


class Services(Area):
    """Units by name, such as ``docker.service``."""

    def unit_file(self, unit: str) -> str | None:
        """Return the unit's file that counts (the first folder wins), None where it is not installed."""
        return next((path for folder in UNIT_FOLDERS if self.host.lstat(path := f"{folder}/{unit}") is not None), None)

    def files(self, unit: str) -> tuple[tuple[str, bytes], ...]:
        """Return the unit's file and its drop-ins with their bytes, in the order in which systemd reads them."""
        main = self.unit_file(unit)
        paths = [main] if main is not None else []
        drop_ins: dict[str, str] = {}
        for folder in reversed(UNIT_FOLDERS):
            for name in self.host.names(f"{folder}/{unit}.d"):
                if name.endswith(".conf"):
                    drop_ins[name] = f"{folder}/{unit}.d/{name}"
        paths += [drop_ins[name] for name in sorted(drop_ins)]
        files = ((path, self.host.bytes(path)) for path in paths)
        return tuple((path, data) for path, data in files if data is not None)

    def enabled(self, unit: str) -> bool:
        """Say whether a target wants the unit at boot."""
        targets = ("multi-user.target", "graphical.target", "sysinit.target", "basic.target", "default.target", "sockets.target")
        return any(
            self.host.lstat(f"{folder}/{target}.{kind}/{unit}") is not None
            for folder in ("/etc/systemd/system", "/usr/lib/systemd/system")
            for target in targets
            for kind in ("wants", "requires")
        )

    def active(self, unit: str) -> Literal["active", "inactive", "failed", "activating", "unknown"]:
        """Return what ``systemctl is-active`` says; ``unknown`` where systemd is not there or was not asked."""
        try:
            ran = self.host.command("systemctl", "is-active", unit)
        except Unseen:
            ran = None
        word = ran.out.decode("utf-8", "replace").strip() if ran is not None else ""
        if word in {"active", "inactive", "failed", "activating"}:
            return word  # type: ignore[return-value]
        return "unknown"
