"""Toolkit 1.14.0 ignores config.toml, and this host's config.toml says something that matters.

In that one release the hook reads no configuration at all and goes by its defaults. Device lists given as
mounts are then taken for device names ("nvidia-container-cli: device error:
/var/run/nvidia-container-devices: unknown device"), no-cgroups = true has no effect, so that rootless Docker
and LXC guests fail, a driver root is not looked into, and a key that was set for safety does nothing.

How it is told from its look-alikes: the version is exactly 1.14.0, and a key that the hook reads differs from
its default. With the default file nothing is wrong here. A file that cannot be parsed is
`toolkit/config-toml-invalid`.

Cure: upgrade the toolkit; 1.14.1 reads the file again. Settings that had no effect until then come into force
with it: look at them first.

Sources: NVIDIA container toolkit changelog of 1.14.1; nvidia-container-toolkit issue 108.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_RELEASE = (1, 14, 0)
_CLI = "nvidia-container-cli"
_DEFAULTS: tuple[tuple[str, str, tuple[object, ...]], ...] = (
    ("", "accept-nvidia-visible-devices-as-volume-mounts", (False,)),
    ("", "accept-nvidia-visible-devices-envvar-when-unprivileged", (True,)),
    ("", "disable-require", (False,)),
    (_CLI, "no-cgroups", (False,)),
    (_CLI, "load-kmods", (True,)),
    (_CLI, "root", ("", "/")),
    (_CLI, "ldcache", ("", "/etc/ld.so.cache")),
    (_CLI, "environment", ([],)),
)
"""What the hook reads, by table and key, with the values that change nothing."""


def check(facts: Facts) -> Iterator[Finding]:
    """Find toolkit 1.14.0 with settings that its hook does not see."""
    docker, toolkit = facts.docker, facts.toolkit
    if toolkit.version_numbers[:3] != _RELEASE:
        raise NotApplicable("The toolkit is not 1.14.0.")
    if docker.kind in {"snap", "desktop"} or not toolkit.hook_acts:
        raise NotApplicable("No container goes through the host's own hook here.")
    ignored = []
    for table, key, harmless in _DEFAULTS:
        value = toolkit.setting(table, key)
        if value is not None and value not in harmless:
            ignored.append((table, key, value))
    if not ignored:
        return
    keys = {key for _, key, _ in ignored}
    broken = "accept-nvidia-visible-devices-as-volume-mounts" in keys or "root" in keys
    broken = broken or ("no-cgroups" in keys and (docker.kind == "rootless" or facts.platform.lxc))
    evidence = [Evidence(Where(toolkit.version_source), f"toolkit {toolkit.version}; 1.14.1 reads the file again")]
    for table, key, value in ignored:
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        evidence.append(Evidence(Where(toolkit.config_path, toolkit.line(table, key)), f"{key} = {shown}: has no effect"))
    yield Finding(
        "toolkit 1.14.0 ignores config.toml",
        f"The hook of toolkit 1.14.0 does not read config.toml, so {', '.join(sorted(keys))} {'has' if len(keys) == 1 else 'have'} no effect"
        + (" and GPU containers that need it fail." if broken else "."),
        tuple(evidence),
        Cure(
            "SHOWN",
            "Upgrade the toolkit to 1.14.1 or newer.",
            advice.upgrade_toolkit(facts),
            f"What config.toml says comes into force: look at it first. {advice.RESTART_RISK}",
        ),
        severity="error" if broken else "warning",
        breaks=None if broken else (),
    )


RULE = Rule(
    "toolkit/toolkit-1.14-regression-volume-mounts",
    121,
    "error",
    "toolkit 1.14.0 ignores config.toml",
    check,
    breaks=("container",),
    needs=("gpu", "driver", "toolkit"),
    signs=(
        "device error: /var/run/nvidia-container-devices: unknown device",
        "device error: *: unknown device",
    ),
)
