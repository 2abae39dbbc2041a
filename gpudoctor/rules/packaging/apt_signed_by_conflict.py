"""Two of APT's files name the same NVIDIA repository with different keys, so APT reads no source at all.

`apt-get update` says "E: Conflicting values set for option Signed-By regarding source
https://nvidia.github.io/libnvidia-container/..." and "The list of sources could not be read": nothing on this
machine can be installed or upgraded by apt any more, security fixes included. It comes of a guide followed twice in
different years: an old list without signed-by beside a new one with it, or CUDA's list beside the cuda-keyring
package's.

How it is told from its look-alikes: with `packaging/apt-key-missing` the sources are read and one signature cannot
be checked (NO_PUBKEY). The same address with the same key in two files only makes APT warn.

Cure: keep one file, put the other aside (a name that ends in .disabled is passed over in silence), then `apt-get
update`. Nothing installed is touched. `gpudoctor fix` comments the other lines out (Enabled: no in a .sources
file).

Sources: NVIDIA container toolkit troubleshooting guide; NVIDIA/libnvidia-container#194, NVIDIA/nvidia-docker#1626;
apt's source code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.packages import APT
from gpudoctor.model import Cure, Edit, Evidence, Finding, NotApplicable, Refused, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.formats.apt import Source
    from gpudoctor.model import Steps, Wishes


def check(facts: Facts) -> Iterator[Finding]:
    """Find one address and suite of NVIDIA's with two values of signed-by."""
    if not facts.host.exists(APT):
        raise NotApplicable("No package source of APT is configured on this host.")
    sources = facts.packages.nvidia_apt_sources
    if not sources:
        raise NotApplicable("APT has no source of NVIDIA's.")
    seen: set[tuple[str, ...]] = set()
    for uri, group in _groups(facts):
        paths = tuple(sorted({each.path for each in group}))
        if paths in seen:
            continue
        seen.add(paths)
        kept = _kept(group)
        yield Finding(
            "APT's sources disagree on the key of one repository",
            f"{uri} stands in {len(paths)} files with different values of signed-by, so apt reads no source at all.",
            tuple(Evidence(Where(each.path, each.line), f"signed-by {each.signed_by or 'not set'}") for each in group),
            Cure(
                "SAFE",
                f"Keep {kept.path} and put the other aside, then run apt-get update.",
                (*_aside(kept, group, facts.packages.apt_sources), "sudo apt-get update"),
                "None: nothing installed is touched.",
            ),
        )


def _groups(facts: Facts) -> Iterator[tuple[str, list[Source]]]:
    """Yield each address of NVIDIA's that stands with several values of signed-by for one suite, and its sources."""
    same: dict[tuple[str, str], list[Source]] = {}
    for source in facts.packages.nvidia_apt_sources:
        uri = source.uri.rstrip("/")
        if "$(ARCH)" in uri:
            uri = uri.replace("$(ARCH)", {"x86_64": "amd64", "aarch64": "arm64"}.get(facts.platform.machine, ""))
        same.setdefault((uri, source.suite), []).append(source)
    for (uri, _), group in same.items():
        if len({each.signed_by for each in group}) > 1:
            yield uri, group


def _kept(group: list[Source]) -> Source:
    """Return the source to keep: one with a key, the toolkit guide's own file before others."""
    return min(group, key=lambda each: (each.signed_by is None, not each.path.endswith("/nvidia-container-toolkit.list")))


def _aside(kept: Source, group: list[Source], sources: tuple[Source, ...]) -> tuple[str, ...]:
    """Return the commands that put the other sources aside: the whole file where it holds nothing else."""
    lines = {(each.path, each.line) for each in group if each.signed_by != kept.signed_by}
    commands = []
    for path in sorted({path for path, _ in lines}):
        whole = {each.line for each in sources if each.path == path} <= {line for at, line in lines if at == path}
        if whole and path != f"{APT}/sources.list":
            commands.append(f"sudo mv {path} {path}.disabled")
        elif path.endswith(".sources"):
            commands += [f"sudo sed -i '{line}i Enabled: no' {path}" for at, line in sorted(lines, reverse=True) if at == path]
        else:
            commands += [f"sudo sed -i '{line}s/^/# /' {path}" for at, line in sorted(lines) if at == path]
    return tuple(commands)


def fix(facts: Facts, _: Wishes) -> Steps:
    """Comment the other sources out (in a .sources file: switch their stanza off), so that one value of signed-by is left."""
    groups = [group for _uri, group in _groups(facts)]
    gone = {each for group in groups for each in group if each.signed_by != _kept(group).signed_by}
    places = {(each.path, each.line) for each in gone}
    # One stanza of a .sources file may name several addresses.
    for each in facts.packages.apt_sources:
        if each.enabled and (each.path, each.line) in places and each not in gone:
            raise Refused(f"{each.path}:{each.line} names {each.uri} in the same stanza, which has to stay: part them by hand.")
    for path in sorted({path for path, _ in places}):
        lines = facts.host.read(path).split(b"\n")
        for number in sorted((line for at, line in places if at == path), reverse=True):
            if path.endswith(".sources"):
                _switch_off(lines, number)
            else:
                lines[number - 1] = b"# " + lines[number - 1]
        yield Edit(path, b"\n".join(lines))


def _switch_off(lines: list[bytes], number: int) -> None:
    """Set ``Enabled: no`` in the stanza that begins with this line."""
    end = next((at for at in range(number, len(lines)) if not lines[at].strip()), len(lines))
    told = next((at for at in range(number - 1, end) if lines[at].lower().startswith(b"enabled:")), None)
    if told is not None:
        lines[told] = b"Enabled: no"
    else:
        lines.insert(number - 1, b"Enabled: no")


RULE = Rule(
    "packaging/apt-signed-by-conflict",
    45,
    "warning",
    "APT's sources disagree on the key of one repository",
    check,
    fix=fix,
    signs=(
        "conflicting values set for option signed-by regarding source https://(nvidia.github.io|developer.download.nvidia.com)*",
        "conflicting values set for option signed-by*(nvidia|cuda)*",
        "/usr/share/keyrings/(nvidia-container-toolkit-keyring|cuda-archive-keyring).gpg !=",
    ),
)
