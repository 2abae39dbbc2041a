"""config.toml names an ldconfig that is not there, or one that the toolkit does not accept.

After it has put the driver's libraries into a container, the hook runs the host's ldconfig there. The key
`ldconfig` says which: "@" means a path of the host. Ubuntu's real program is /sbin/ldconfig.real (its
/sbin/ldconfig is a shell script around it), elsewhere it is /sbin/ldconfig, so a config.toml copied from
another distribution fails: "ldcache error: open failed: /sbin/ldconfig.real: no such file or directory", or
"process /sbin/ldconfig failed with error code: 127" where the script is run in an image that has no
ldconfig.real.

How it is told from its look-alikes: with `toolkit/ldconfig-hook-failed-legacy` the path is right and ldconfig
itself fails (error code 1). From 1.15 on the toolkit tries the path with and without ".real" by itself; from
1.17.3 on it refuses one without "@" unless features.allow-ldconfig-from-container is set. The key has no
effect where no container goes through the hook.

Cure: name this host's ldconfig, with the "@". No restart is needed; containers must be started anew.

Sources: NVIDIA container toolkit release notes of 1.15.0-rc.1 and 1.17.3; nvidia-docker issue 587; libc-bin
of Ubuntu.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import Unseen
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_TABLE, _KEY = "nvidia-container-cli", "ldconfig"
_TRIES_BOTH = (1, 15)
_HOST_ONLY = (1, 17, 3)


def check(facts: Facts) -> Iterator[Finding]:
    """Find an ldconfig setting that cannot work on this host."""
    docker, toolkit = facts.docker, facts.toolkit
    if not docker.installed or docker.kind in {"snap", "desktop"} or not toolkit.installed:
        raise NotApplicable("No Docker on this host uses the host's own toolkit.")
    told = toolkit.setting(_TABLE, _KEY)
    if not isinstance(told, str) or not told:
        return
    path = told.removeprefix("@")
    plain = path.removesuffix(".real")
    there = [each for each in dict.fromkeys((path, f"{plain}.real", plain)) if facts.host.exists(each)]
    if there[:1] == [path] and path.endswith(".real") and told.startswith("@"):
        return
    if not toolkit.hook_acts:
        raise NotApplicable(f"The key has no effect here: no container goes through the hook ({toolkit.summary}).")
    version = toolkit.version_numbers
    if not version:
        raise Unseen("nvidia-ctk --version", "the toolkit's version is not known")
    if not told.startswith("@"):
        if version >= _HOST_ONLY and toolkit.setting("features", "allow-ldconfig-from-container") is not True:
            text = f"Toolkit {toolkit.version} refuses an ldconfig path without @ in front, so no GPU container starts."
            why = Evidence(Where(toolkit.version_source), f"toolkit {toolkit.version}; from 1.17.3 on the path must start with @")
            yield _finding(facts, told, why, text)
    elif not there or (version < _TRIES_BOTH and path not in there):
        text = f"The hook is told to run {path}, which this host does not have, so every GPU container fails (ldcache error)."
        yield _finding(facts, told, Evidence(Where(path), "absent"), text)
    elif version < _TRIES_BOTH and f"{plain}.real" in there:
        text = (
            f"{path} is a script around {plain}.real on this host, so containers of images without {plain}.real fail "
            "(ldcache error, code 127)."
        )
        why = Evidence(Where(f"{plain}.real"), f"is there: {path} is only a script around it")
        yield _finding(facts, told, why, text)._replace(severity="warning", breaks=())


def _finding(facts: Facts, told: str, why: Evidence, text: str) -> Finding:
    toolkit = facts.toolkit
    right = next((f"@{path}" for path in ("/sbin/ldconfig.real", "/sbin/ldconfig") if facts.host.exists(path)), None)
    if right is not None:
        summary = "Name this host's ldconfig, then start the containers anew."
        commands = (advice.set_toolkit_config(facts, _TABLE, _KEY, right),)
    else:
        summary = "Name the ldconfig of this host's C library with @ in front, then start the containers anew."
        commands = (f"sudoedit {toolkit.config_path}",)
    return Finding(
        "config.toml names a wrong ldconfig",
        text,
        (
            Evidence(Where(toolkit.config_path, toolkit.line(_TABLE, _KEY)), f'ldconfig = "{told}"'),
            why,
        ),
        Cure("SAFE", summary, commands, "None."),
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Name the ldconfig that this host has."""
    right = next((f"@{path}" for path in ("/sbin/ldconfig.real", "/sbin/ldconfig") if facts.host.exists(path)), None)
    if right is None:
        raise Refused(
            "This host has neither /sbin/ldconfig.real nor /sbin/ldconfig, and which one its C library uses is not known."
        )
    yield steps.toolkit_setting(facts, f"{_TABLE}.{_KEY}", right)


RULE = Rule(
    "toolkit/ldconfig-path-wrong",
    82,
    "error",
    "config.toml names a wrong ldconfig",
    check,
    breaks=("container",),
    needs=("gpu", "driver", "toolkit"),
    fix=fix,
    signs=(
        "ldcache error: open failed: *ldconfig",
        "ldconfig* failed with error code: 127",
        "ldconfig.real: no such file or directory",
    ),
)
