"""dockerd's flags beside the keys of daemon.json."""

from __future__ import annotations

import pytest

from gpudoctor.formats import dockerd


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("/usr/bin/dockerd", "-H", "fd://"), [("hosts", "-H")]),
        (("dockerd", "-Hfd://", "--host=tcp://0.0.0.0:2375"), [("hosts", "-H"), ("hosts", "--host")]),
        (("dockerd", "--add-runtime", "nvidia=/usr/bin/nvidia-container-runtime"), [("runtimes", "--add-runtime")]),
        (("dockerd", "--exec-opt=native.cgroupdriver=cgroupfs", "-D"), [("exec-opts", "--exec-opt"), ("debug", "-D")]),
        (("dockerd", "--containerd=/run/containerd/containerd.sock"), [("containerd", "--containerd")]),
        (("dockerd", "unix:///run/docker.sock", "--"), []),
        ((), []),
    ],
)
def test_flags_have_the_key_of_the_file(argv: tuple[str, ...], expected: list[tuple[str, str]]) -> None:
    """A flag in any spelling is named with the key that daemon.json has for it; values and the program are none."""
    assert [tuple(flag) for flag in dockerd.flags(argv)] == expected


@pytest.mark.parametrize(
    ("argv", "key", "expected"),
    [
        (("dockerd", "-H", "fd://", "--host=tcp://0.0.0.0:2375"), "hosts", ("fd://", "tcp://0.0.0.0:2375")),
        (("dockerd", "-Hfd://"), "hosts", ("fd://",)),
        (("dockerd", "-H=fd://"), "hosts", ("fd://",)),
        (("dockerd", "--live-restore", "--debug=false"), "live-restore", ("true",)),
        (("dockerd", "--debug", "false", "-D"), "debug", ("false", "true")),
        (("dockerd", "--exec-opt", "native.cgroupdriver=systemd"), "exec-opts", ("native.cgroupdriver=systemd",)),
        (("dockerd", "--exec-opt=native.cgroupdriver=systemd"), "exec-opts", ("native.cgroupdriver=systemd",)),
        (("dockerd", "-H", "fd://"), "debug", ()),
        (("--debug",), "debug", ()),
    ],
)
def test_values_are_given_in_any_spelling(argv: tuple[str, ...], key: str, expected: tuple[str, ...]) -> None:
    """A key's values stand behind a space, behind an equals sign or at once; the program is none, and a switch alone means true."""
    assert dockerd.given(argv, key) == expected


def test_an_object_is_looked_into_unless_it_is_one_option() -> None:
    """The keys of `proxies` count by themselves, the runtimes' names do not."""
    value = {"proxies": {"http-proxy": "http://proxy:3128"}, "runtimes": {"nvidia": {"path": "x"}}, "debug": True}
    assert dockerd.keys(value) == {"http-proxy": "proxies.http-proxy", "runtimes": "runtimes", "debug": "debug"}


def test_unknown_keys_are_those_that_dockerd_refuses() -> None:
    """A misspelt key and a runtime at the top level are unknown, an unknown key with an empty object is not looked at."""
    value = {"default_runtime": "nvidia", "nvidia": {"path": "nvidia-container-runtime"}, "later": {}, "default-runtime": "runc"}
    assert dockerd.unknown(value) == ("default_runtime", "nvidia.path")


def test_what_guides_tell_people_to_write_is_known() -> None:
    """Ordinary settings are not taken for unknown ones."""
    value = {
        "default-runtime": "nvidia",
        "runtimes": {"nvidia": {"path": "nvidia-container-runtime", "runtimeArgs": []}},
        "features": {"cdi": True},
        "cdi-spec-dirs": ["/etc/cdi"],
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "log-opts": {"max-size": "10m"},
        "builder": {"gc": {"enabled": True}},
        "node-generic-resources": ["NVIDIA-GPU=GPU-1"],
        "proxies": {"no-proxy": "localhost"},
    }
    assert dockerd.unknown(value) == ()
