"""dockerd's command line beside its daemon.json: which flag sets which key, and which keys there are.

dockerd does not start where a key of the file is given as a flag too (a map of runtimes is merged from 18.09
on), nor where the file has a key that no flag or option has. An object is looked into for both checks
(`proxies`), except those of `_WHOLE`. Source: moby, daemon/config and cmd/dockerd at the tags up to 29.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHORT = {
    "-b": "bridge",
    "-D": "debug",
    "-G": "group",
    "-g": "data-root",
    "-H": "hosts",
    "-l": "log-level",
    "-p": "pidfile",
    "-s": "storage-driver",
}
_RENAMED = {
    "add-runtime": "runtimes",
    "authorization-plugin": "authorization-plugins",
    "cdi-spec-dir": "cdi-spec-dirs",
    "default-address-pool": "default-address-pools",
    "default-network-opt": "default-network-opts",
    "default-ulimit": "default-ulimits",
    "dns-opt": "dns-opts",
    "exec-opt": "exec-opts",
    "feature": "features",
    "host": "hosts",
    "insecure-registry": "insecure-registries",
    "label": "labels",
    "log-opt": "log-opts",
    "node-generic-resource": "node-generic-resources",
    "registry-mirror": "registry-mirrors",
    "storage-opt": "storage-opts",
}
_WHOLE = frozenset(
    {"builder", "cluster-store-opts", "default-network-opts", "default-ulimits", "features", "log-opts", "runtimes"}
)
_KEYS = frozenset(
    """
    allow-direct-routing allow-nondistributable-artifacts api-cors-header authorization-plugins bip
    bip6 bridge bridge-accept-fwmark builder cdi-spec-dirs cgroup-parent cluster-advertise
    cluster-store cluster-store-opts containerd containerd-namespace containerd-plugin-namespace
    containerd-plugins-namespace cpu-rt-period cpu-rt-runtime cri-containerd data-root debug
    default-address-pools default-cgroupns-mode default-gateway default-gateway-v6 default-ipc-mode
    default-network-opts default-runtime default-shm-size default-ulimits deprecated-key-path
    disable-legacy-registry dns dns-opts dns-search exec-opts exec-root experimental features
    firewall-backend fixed-cidr fixed-cidr-v6 graph group host-gateway-ip host-gateway-ips hosts
    http-proxy https-proxy icc init init-path insecure-registries ip ip-forward ip-forward-no-drop
    ip-masq ip6tables iptables ipv6 labels live-restore log-driver log-format log-level log-opts
    max-concurrent-downloads max-concurrent-uploads max-download-attempts metrics-addr
    min-api-version mtu network-control-plane-mtu network-diagnostic-port no-new-privileges no-proxy
    node-generic-resources nri-opts oom-score-adjust pidfile proxies raw-logs registry-mirrors
    restart rootless runtimes seccomp-profile selinux-enabled shutdown-timeout storage-driver
    storage-opts swarm-default-advertise-addr swarm-raft-election-tick swarm-raft-heartbeat-tick tls
    tlscacert tlscert tlskey tlsverify userland-proxy userland-proxy-path userns-remap
    """.split(),  # noqa: SIM905 - as a list of strings it would be three times as long
)


class Flag(NamedTuple):
    """One flag of a command line: the key of daemon.json that it sets, and the flag as it stands there."""

    key: str
    word: str


def flags(argv: Sequence[str]) -> tuple[Flag, ...]:
    """Give the flags of dockerd's command line in order, each with the key of daemon.json that means the same."""
    found = []
    for word in argv[1:]:
        name = word.partition("=")[0]
        if name.startswith("--") and len(name) > len("--"):
            name = name.removeprefix("--")
            found.append(Flag(_RENAMED.get(name, name), f"--{name}"))
        elif word[:2] in _SHORT:
            # -H fd://, -Hfd:// and -H=fd:// are one and the same.
            found.append(Flag(_SHORT[word[:2]], word[:2]))
    return tuple(found)


def given(argv: Sequence[str], key: str) -> tuple[str, ...]:
    """Give the values that a command line has for one key of daemon.json, in order; a switch without a value gives "true"."""
    found = []
    for at, word in enumerate(argv):
        if at == 0 or not any(flag.key == key for flag in flags(("", word))):
            continue
        name, sign, value = word.partition("=")
        if not sign and not name.startswith("--") and len(name) > len("-H"):
            value, sign = name[len("-H") :], "="
        if not sign:
            behind = argv[at + 1] if at + 1 < len(argv) else "-"
            value = "true" if behind.startswith("-") else behind
        found.append(value)
    return tuple(found)


def keys(value: dict[str, Any]) -> dict[str, str]:
    """Give the options that a daemon.json sets, each with its dotted path in the file: `http-proxy` of `proxies.http-proxy`."""
    found: dict[str, str] = {}
    for key, each in value.items():
        if isinstance(each, dict) and key not in _WHOLE:
            found.update((inner, f"{key}.{inner}") for inner in each)
        else:
            found[key] = key
    return found


def unknown(value: dict[str, Any]) -> tuple[str, ...]:
    """Give the dotted paths of a daemon.json that no dockerd up to 29 knows, in the order of the file."""
    return tuple(path for key, path in keys(value).items() if key not in _KEYS)
