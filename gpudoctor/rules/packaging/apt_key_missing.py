"""APT cannot check the signature of an NVIDIA repository.

`apt-get update` says "NO_PUBKEY DDCAE044F796ECB0" (the container toolkit's repository) or "NO_PUBKEY
A4B469963BF863CC" (CUDA's), and the packages of that repository can be neither installed nor upgraded. The key's file
is absent, or may not be read by the user _apt who checks signatures (made under umask 077), or holds something else:
an error page, a key in text form under a name that ends in .gpg, or the key that CUDA's repository used before April
2022.

How it is told from its look-alikes: `packaging/apt-signed-by-conflict` makes apt refuse all sources ("Conflicting
values"). A key that is there and good does not help where the network is not; that is not looked at.

Cure: fetch the key anew, or open the file to everybody (keys are public). CUDA's key comes with NVIDIA's package
cuda-keyring. Nothing installed is touched. `gpudoctor fix` opens files and folders, and fetches nothing.

Sources: sources.list(5); NVIDIA container toolkit installation guide; NVIDIA's notice on the rotated CUDA key;
NVIDIA/nvidia-container-toolkit#81, #160, #409.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.packages import APT
from gpudoctor.model import Cure, Edit, Evidence, Finding, NotApplicable, Rule, Then, Where
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.formats.apt import Source
    from gpudoctor.model import Steps, Wishes

_TOOLKIT_KEY = "DDCAE044F796ECB0"
_CUDA_KEY = "A4B469963BF863CC"
_TOOLKIT_URL = "https://nvidia.github.io/libnvidia-container/gpgkey"
_READ = 0o444
_ENTER = 0o005  # list and enter, for others
_ARMOUR = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"


class _Fault(NamedTuple):
    """What is wrong with a key's file; ``closed`` is the file or folder that everybody ought to be able to read."""

    path: str
    says: str
    closed: str | None = None


def check(facts: Facts) -> Iterator[Finding]:
    """Find an NVIDIA source whose key APT does not have or cannot use."""
    if not facts.host.exists(APT):
        raise NotApplicable("No package source of APT is configured on this host.")
    sources = facts.packages.nvidia_apt_sources
    if not sources:
        raise NotApplicable("APT has no source of NVIDIA's.")
    for source, key, fault in _faults(facts):
        yield _finding(source, key, fault)


def _faults(facts: Facts) -> Iterator[tuple[Source, str, _Fault]]:
    """Yield each source whose key APT does not have or cannot use, that key's number, and what is wrong with it."""
    seen: set[tuple[str, str | None]] = set()
    for source in facts.packages.nvidia_apt_sources:
        key = _CUDA_KEY if "developer.download.nvidia.com/compute/cuda/" in source.uri else _TOOLKIT_KEY
        if "nvidia.github.io/" not in source.uri and key is not _CUDA_KEY:
            continue  # a repository whose key is not known here
        if (key, source.signed_by) in seen:
            continue
        seen.add((key, source.signed_by))
        fault = _fault(facts, source, key)
        if fault is not None:
            yield source, key, fault


def _finding(source: Source, key: str, fault: _Fault) -> Finding:
    if fault.closed is not None:
        mode = "a+rx" if fault.closed != fault.path else "a+r"
        cure = Cure(
            "SAFE",
            "Open it to everybody: keys are public.",
            (f"sudo chmod {mode} {fault.closed}", "sudo apt-get update"),
            "None.",
        )
    else:
        cure = Cure(
            "SHOWN",
            "Fetch the key anew.",
            (*_fetch(source, key, fault), "sudo apt-get update"),
            "None: nothing installed is touched.",
        )
    return Finding(
        "APT lacks the key of an NVIDIA repository",
        f"APT cannot check the signature of {source.uri} (NO_PUBKEY {key}), so its packages can be neither installed nor upgraded.",
        (
            Evidence(Where(fault.path), fault.says),
            Evidence(Where(source.path, source.line), f"signed-by {source.signed_by}" if source.signed_by else "no signed-by"),
        ),
        cure,
    )


def _fetch(source: Source, key: str, fault: _Fault) -> tuple[str, ...]:
    if key == _CUDA_KEY:
        name = "cuda-keyring_1.1-1_all.deb"
        return (f"curl -fsSLO {source.uri.rstrip('/')}/{name}", f"sudo dpkg -i {name}")
    path = fault.path if source.signed_by is not None else f"{APT}/trusted.gpg.d/nvidia-container-toolkit.gpg"
    form = "" if path.endswith(".asc") else "gpg --dearmor | "
    return (f"curl -fsSL {_TOOLKIT_URL} | {form}sudo tee {path} > /dev/null", f"sudo chmod a+r {path}")


def _fault(facts: Facts, source: Source, key: str) -> _Fault | None:
    """Return what keeps APT from checking a source's signature; None where nothing does, or where the key stands in the file itself."""
    if source.signed_by is None:
        return _untrusted(facts, key)
    paths = [path for path in source.signed_by.replace(",", " ").split() if path.startswith("/")]
    faults = [_unusable(facts, path, key) for path in paths]
    # Any one good file is enough; fingerprints and keys inside the file are not looked into.
    return faults[0] if faults and all(faults) else None


def _unusable(facts: Facts, path: str, key: str) -> _Fault | None:
    stat = facts.host.followed(path)
    if stat is None:
        return _Fault(path, "absent")
    folder = path.rpartition("/")[0]
    above = facts.host.followed(folder)
    if above is not None and above.mode & _ENTER != _ENTER:
        return _Fault(path, f"its folder has mode {above.mode:04o}, so the user _apt cannot reach it", folder)
    if not stat.mode & 0o004:
        return _Fault(path, f"mode {stat.mode:04o}: the user _apt cannot read it", path)
    data = facts.host.read(path)
    if not data:
        return _Fault(path, "empty")
    if data.lstrip()[:1] == b"<":
        return _Fault(path, "holds a web page, not a key")
    if _ARMOUR in data and not path.endswith(".asc"):
        return _Fault(path, "holds a key in text form, which APT reads only under a name that ends in .asc")
    return None if _has(data, key) else _Fault(path, f"does not hold the key {key}")


def _untrusted(facts: Facts, key: str) -> _Fault | None:
    """Return that no file of the keys trusted for every source has this key."""
    folder = f"{APT}/trusted.gpg.d"
    paths = [f"{folder}/{name}" for name in facts.host.names(folder) if name.endswith((".gpg", ".asc"))]
    for path in (f"{APT}/trusted.gpg", *paths):
        data = facts.host.bytes(path)
        if data is not None and _has(data, key):
            return None
    return _Fault(folder, f"no file here, nor {APT}/trusted.gpg, holds the key {key}")


def _has(data: bytes, key: str) -> bool:
    """Say whether a keyring holds a key: each key is signed by itself, and the signature names the 8 bytes of its id."""
    if _ARMOUR in data:
        data = _unarmoured(data)
    return bytes.fromhex(key) in data


def _unarmoured(data: bytes) -> bytes:
    """Return the bytes of the keys in a text file of keys (RFC 9580, ASCII armor), without checking their sums."""
    import base64
    import binascii

    found = b""
    for block in data.split(_ARMOUR)[1:]:
        lines = block.replace(b"\r", b"").partition(b"-----END")[0].partition(b"\n\n")[2].split(b"\n")
        try:
            found += base64.b64decode(b"".join(line for line in lines if not line.startswith(b"=")))
        except binascii.Error:
            continue
    return found


def fix(facts: Facts, _: Wishes) -> Steps:
    """Open keys, and their folders, to everybody; a key that has to be fetched is the administrator's."""
    for _source, _key, fault in _faults(facts):
        if fault.closed is None:
            continue
        if fault.closed != fault.path:
            stat = facts.host.followed(fault.closed)
            undo = None if stat is None else ("chmod", f"{stat.mode:04o}", fault.closed)
            yield Then(
                ("chmod", "a+rx", fault.closed), "SAFE", "The user _apt, who checks signatures, can look into it then.", undo
            )
        key = facts.host.followed(fault.path)
        if key is not None and key.mode & _READ != _READ:
            yield Edit(fault.path, facts.host.read(fault.path), key.mode | _READ)


RULE = Rule(
    "packaging/apt-key-missing",
    44,
    "warning",
    "APT lacks the key of an NVIDIA repository",
    check,
    fix=fix,
    signs=(
        "no_pubkey (ddcae044f796ecb0|a4b469963bf863cc|f60f4b3d7fa2af80)",
        "(nvidia.github.io|developer.download.nvidia.com)*no_pubkey",
        "the repository https://(nvidia.github.io|developer.download.nvidia.com)*is not signed",
        "(nvidia.github.io|developer.download.nvidia.com)*signatures couldn't be verified",
        "public key for nvidia-container-toolkit*is not installed",
        "(nvidia.github.io|developer.download.nvidia.com)*missing key",
        "(nvidia.github.io|developer.download.nvidia.com)*public key is not available",
    ),
)
