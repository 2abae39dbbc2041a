"""The toolkit's config.toml cannot be read as TOML, or has a value of the wrong kind.

The hook, the nvidia runtime and nvidia-ctk all read this file first and give up over a mistake in it, so no
container gets a GPU: "error loading config". It comes of editing by hand: a quote that is not closed, a key
set twice, `True` for `true`, a setting appended behind the last table, or "true" in quotes where a bare true
belongs.

How it is told from its look-alikes: line and column of the mistake are named. A file that is in order but
says something wrong has rules of its own (`toolkit/no-cgroups-true-rootful`, `toolkit/ldconfig-path-wrong`).
Docker's own daemon.json is `docker/daemon-json-invalid`. An absent file is no fault: the defaults then hold.

Cure: mend the line; no restart is needed. If nothing in the file is worth keeping, `nvidia-ctk config` prints
a fresh one. Only a person can say what was meant there, so no program edits the file.

Sources: TOML specification 1.0; NVIDIA container toolkit source (internal/config).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_CLI = "nvidia-container-cli"
_BOOLEANS = (
    ("", "disable-require"),
    ("", "accept-nvidia-visible-devices-envvar-when-unprivileged"),
    ("", "accept-nvidia-visible-devices-as-volume-mounts"),
    (_CLI, "no-cgroups"),
    (_CLI, "load-kmods"),
    (_CLI, "no-pivot"),
    ("nvidia-container-runtime-hook", "skip-mode-detection"),
)


def check(facts: Facts) -> Iterator[Finding]:
    """Find a config.toml that the toolkit's programs refuse."""
    toolkit = facts.toolkit
    if facts.docker.kind == "desktop" or not toolkit.installed:
        raise NotApplicable("The NVIDIA container toolkit is not installed, or not what Docker uses.")
    malformed = toolkit.config.malformed
    path = toolkit.config_path
    if malformed is not None:
        column = f"column {malformed.column}: " if malformed.column else ""
        evidence = [Evidence(Where(path, malformed.line or None), f"{column}{malformed.reason}")]
    else:
        evidence = []
        for table, key in _BOOLEANS:
            value = toolkit.setting(table, key)
            if value is not None and not isinstance(value, bool):
                shown = f'"{value}"' if isinstance(value, str) else str(value)
                evidence.append(
                    Evidence(Where(path, toolkit.line(table, key)), f"{key} = {shown}: only true or false may stand here")
                )
    if not evidence:
        return
    needed = toolkit.gpus_path == "hook" or toolkit.runtime_path is not None
    hurt = "so no container gets a GPU" if needed else "so CDI specs are no longer written"
    yield Finding(
        "config.toml cannot be read",
        f"The toolkit's programs refuse {path} because of a mistake in it, {hurt}.",
        tuple(evidence),
        Cure(
            "SHOWN",
            "Mend the line, then start the containers anew.",
            (f"sudoedit {path}", "nvidia-ctk config > /dev/null  # says nothing once the file is in order"),
            "None.",
        ),
        severity="error" if needed else "warning",
        breaks=None if needed else (),
    )


RULE = Rule(
    "toolkit/config-toml-invalid",
    24,
    "error",
    "config.toml cannot be read",
    check,
    breaks=("runtime",),
    needs=("toolkit",),
    signs=(
        "nvidia-container-runtime/config.toml + toml:",
        "failed to (load|parse) config*toml + nvidia-container",
        "failed to load config values + nvidia",
        "couldn't open configuration file + nvidia-container",
        "error loading config + nvidia-container-runtime",
    ),
)
