"""Redaction: nothing of whose machine it is stays, and everything that is wrong with it does."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import pytest

from gpudoctor.engine import all_rules, diagnose
from gpudoctor.facts import Facts
from gpudoctor.formats import kernel_log, ldcache
from gpudoctor.host import Absent, Denied, Ran, Stat
from gpudoctor.host.book import Answers, Book, Recorder, Replay
from gpudoctor.host.hostfile import parse
from gpudoctor.host.redact import _GENERIC, redact
from gpudoctor.host.snapshot import load, save

if TYPE_CHECKING:
    from pathlib import Path

UUID = "fef8089b-2222-3333-4444-0123456789ab"
OTHER = "0a1b2c3d-5555-6666-7777-0123456789ab"
ONE = "00000001-0000-0000-0000-000000000001"
TWO = "00000002-0000-0000-0000-000000000002"

HOST = rb"""
-- /proc/sys/kernel/hostname --
zeppelin
-- /etc/hostname --
zeppelin.corp.example
-- /proc/sys/kernel/osrelease --
6.8.0-45-generic
-- /etc/os-release --
ID=ubuntu
VERSION_ID="22.04"
-- /etc/passwd --
root:x:0:0:root:/root:/bin/bash
alice:x:1000:1000:Alice Liddell,Room 7,555-1234:/home/alice:/bin/zsh
bob:!:1001:1001::/data/people/bob:/bin/sh
ubuntu:x:1002:1002:Ubuntu:/home/ubuntu:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
-- env HOME -- /home/alice
-- env SUDO_USER -- alice
-- env DOCKER_HOST -- ssh://alice@buildbox.corp.example:2222
-- /home/alice/.docker/config.json --
{
  "auths": {
    "registry.corp.example:5000": {"auth": "YWxpY2U6aHVudGVyMg==", "identitytoken": "eyJhbGciOi"},
    "https://index.docker.io/v1/": {"auth": "c2VjcmV0"}
  },
  "credHelpers": {"nvcr.io": "alices-helper"},
  "HttpHeaders": {"X-Meta": "alice-laptop"},
  "proxies": {"default": {"httpProxy": "http://alice:pw@proxy.corp.example:3128", "noProxy": "10.0.0.0/8,.corp.example"}},
  "currentContext": "default"
}
-- /etc/docker/daemon.json --
{
  "labels": ["owner=alice", "rack=7"],
  "hosts": ["unix:///var/run/docker.sock", "tcp://10.11.12.13:2376", "tcp://127.0.0.1:2375", "tcp://0.0.0.0:1"],
  "registry-mirrors": ["https://user:p@ss/word@mirror.corp.example:443/x", "https://mirror.gcr.io"],
  "log-opts": {"splunk-token": "176FCEBF-4CF5", "max-size": "10m"},
  "api-key": 123456,
  "runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}
}
-- /etc/nvidia-container-runtime/config.toml --
# password: correct horse battery staple
disable-require = false
# ask alice on zeppelin, token = "abc.def"
[nvidia-container-cli]
no-cgroups = true
-- /proc/driver/nvidia/version --
NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.163.01  Fri Mar  7 01:00:00 UTC 2026
-- /proc/driver/nvidia/gpus/0000:01:00.0/information --
Model: 		 NVIDIA A100-SXM4-80GB
GPU UUID: 	 GPU-fef8089b-2222-3333-4444-0123456789ab
Device Minor: 	 0
-- /sys/class/dmi/id/board_serial --
PF2ABCDE
-- /sys/class/dmi/id/chassis_serial --
To be filled by O.E.M.
-- /sys/class/dmi/id/product_name --
PowerEdge R740
-- /etc/machine-id --
d41d8cd98f00b204e9800998ecf8427e
-- /proc/cmdline --
BOOT_IMAGE=/vmlinuz root=UUID=aaaa ro ip=10.11.12.13::10.11.12.1:255.255.255.0:zeppelin:eth0:off rd.luks.key=/k/disk.key password=hunter2 nvidia-drm.modeset=1 keymap=us
-- /proc/1/environ --
"""
HOST = (
    HOST.removeprefix(b"\n")
    + b'container=lxc\0HOME=/home/alice\0AWS_SECRET=abc\0NVIDIA_VISIBLE_DEVICES=GPU-fef8089b\0DOCKER_AUTH_CONFIG={"x":1}\0EDITOR=vi\0\n'
    + rb"""-- /proc/10/comm --
dockerd
-- /proc/10/status --
Name:	dockerd
Uid:	0	0	0	0
-- /proc/11/comm --
alices-miner
-- /proc/11/stat --
11 (alices-miner) S 1 2 3
-- /proc/11/status --
Name:	alices-miner
Uid:	1000	1000	1000	1000
-- /proc/12/comm --
nvidia-persiste
-- /proc/11/exe -- link /home/alice/bin/alices-miner
-- $ docker info --format '{{json .}}' --
{"ID":"7TRN:IPZB:QYBB","Name":"zeppelin.corp.example","ServerVersion":"27.3.1","Labels":["owner=alice"],"HttpProxy":"http://proxyuser:pw@10.9.9.9:3128","Swarm":{"NodeID":"n0de","NodeAddr":"10.11.12.13"},"Plugins":{"Authorization":null},"Runtimes":{"nvidia":{"path":"nvidia-container-runtime"},"runc":{"path":"runc"}},"ClientInfo":{"Plugins":[{"Name":"compose","Path":"/home/alice/.docker/cli-plugins/docker-compose"}]}}
-- $ nvidia-smi -L --
GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-fef8089b-2222-3333-4444-0123456789ab)
  MIG 1g.10gb Device 0: (UUID: MIG-0a1b2c3d-5555-6666-7777-0123456789ab)
-- $ dmesg --
[    1.0] ata1.00: SAMSUNG MZ7, serial S3X9NX0
[    2.0] NVRM: loading NVIDIA UNIX x86_64 Kernel Module  550.163.01  Fri
[    3.0] NVRM: Xid (PCI:0000:01:00): 79, pid=11, name=alices-miner, GPU has fallen off the bus
[    4.0] nvidia: firmware version 1.2.3.4 talked to 10.11.12.13 port 7
[    5.0] audit: apparmor="DENIED" name="/home/alice/x" hwaddr aa:bb:cc:dd:ee:01 fe80::1234
-- /var/lib/docker/containers/c1/config.v2.json --
{"Name":"/train","Config":{"Hostname":"train7","Env":["NVIDIA_VISIBLE_DEVICES=GPU-fef8089b-2222-3333-4444-0123456789ab","WANDB=xyz","PATH=/bin"],"Cmd":["python","--name","alice"],"Labels":{"owner":"alice"},"Image":"registry.corp.example:5000/ml/train:1"},"Args":["--name","alice"]}
-- /var/lib/docker/containers/c1/hostconfig.json --
{"Binds":["/data/people/bob/set:/set","/etc/passwd:/etc/passwd:ro"],"Runtime":"nvidia","DeviceRequests":[{"Driver":"nvidia","DeviceIDs":["GPU-fef8089b-2222-3333-4444-0123456789ab"]}]}
-- /etc/apt/sources.list.d/x.list --
deb [signed-by=/k.gpg] https://alice:t0ps3cret@apt.example/ubuntu jammy main
-- /etc/apt/auth.conf --
machine apt.example login alice password t0ps3cret
-- /etc/pve/lxc/100.conf --
#Contact: alice, password=hunter2
hostname: guest-of-alice
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:AA:BB:CC,ip=10.11.12.99/24
lxc.environment: API=xyz
lxc.cgroup2.devices.allow: c 195:* rwm
-- /proc/self/mountinfo --
22 1 0:20 / / rw - ext4 /dev/sda1 rw
23 22 0:21 / /data rw - nfs4 nas.corp.example:/export/secret rw,addr=10.11.12.50,username=alice
24 22 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
-- /var/lib/dpkg/status --
Package: alice
Status: install ok installed
Maintainer: Alice Liddell <alice@zeppelin.corp.example>
Version: 1.2.3.4-5
-- /etc/systemd/system/docker.service.d/alice.conf --
[Service]
Environment="HTTPS_PROXY=http://alice:pw@proxy.corp.example:3128" "NO_PROXY=.corp.example" NVIDIA_X=1
-- /etc/shadow -- denied
"""
)

PRIVATE = (
    *(
        UUID,
        "fef8089b",
        OTHER,
        "alice",
        "Liddell",
        "555-1234",
        "bob",
        "zeppelin",
        "corp.example",
        "buildbox",
        "PF2ABCDE",
        "d41d8cd9",
    ),
    *("hunter2", "t0ps3cret", "horse", "YWxpY2U6", "eyJhbGciOi", "c2VjcmV0", "p@ss", "176FCEBF", "123456", "abc.def", "rack=7"),
    *("10.11.12", "10.9.9.9", "aa:bb:cc", "fe80::1234", "BC:24:11", "7TRN", "n0de", "S3X9NX0", "disk.key", "train7", "WANDB=xyz"),
    *("miner", "API=xyz", "export/secret", "proxyuser", "AWS_SECRET=abc", '{"x":1}', "Room 7", "python"),
)


def _asked(host: Book) -> Answers:
    """Ask a recorded host about everything in it, once through the rules and once through all it holds."""
    recorder = Recorder(host)
    diagnose(Facts(recorder), all_rules())
    for path, node in host.nodes.items():
        recorder.lstat(path)
        if node.kind == "file" and node.miss is None:
            recorder.read(path)
    for path in host.folders:
        recorder.names(path)
    for argv in host.commands:
        recorder.run(*argv)
    for name in host.variables:
        recorder.env(name)
    return recorder.answers


@pytest.fixture(scope="module")
def answers() -> Answers:
    """Return what was asked of a machine full of private things."""
    return _asked(parse(HOST))


@pytest.fixture(scope="module")
def redacted(answers: Answers) -> Answers:
    """Return the same answers, redacted."""
    return redact(answers)[0]


def _text(answers: Answers, path: str) -> str:
    body = answers.reads[path]
    assert isinstance(body, bytes)
    return body.decode()


def _all(answers: Answers) -> str:
    """Return everything that a snapshot of these answers holds, as one text."""
    import gzip

    return gzip.decompress(save(answers, {})).decode("utf-8", "replace")


def test_nothing_private_is_left(answers: Answers, redacted: Answers) -> None:
    """No name, address, serial number or secret of the machine is anywhere in the redacted snapshot."""
    before = _all(answers)
    assert [word for word in PRIVATE if word not in before] == []
    # A package's name is not taken for a person's, or a user called `python` would uninstall Python.
    after = _all(redacted).replace("Package: alice\n", "").lower()
    assert [word for word in PRIVATE if word.lower() in after] == []


def test_same_findings(answers: Answers, redacted: Answers, tmp_path: Path) -> None:
    """The rules say the same of the redacted snapshot, after a round through a file too."""
    before = diagnose(Facts(Replay(answers)), all_rules())
    path = tmp_path / "host.tar.gz"
    path.write_bytes(save(redacted, {}))
    after = diagnose(Facts(load(str(path))), all_rules())
    assert [(each.rule, each.where.line, len(each.evidence)) for each in after.findings] == [
        (each.rule, each.where.line, len(each.evidence)) for each in before.findings
    ]
    assert before.findings
    assert [(each.rule, each.reason) for each in after.untold] == [(each.rule, each.reason) for each in before.untold]
    assert (after.passed, after.crashed) == (before.passed, before.crashed)
    assert [note.rule for note in after.not_applicable] == [note.rule for note in before.not_applicable]


def test_same_facts(redacted: Answers) -> None:
    """What the facts compare across files still agrees: UUIDs, homes, the model, the versions."""
    facts = Facts(Replay(redacted))
    assert facts.gpus.taken[0].uuid == f"GPU-{ONE}"
    assert facts.gpus.taken[0].model == "NVIDIA A100-SXM4-80GB"
    assert facts.docker.homes == ("/home/user-001",)
    assert facts.docker.address.startswith("ssh://redacted@remote-0")
    assert facts.docker.address.endswith(".invalid:2222")
    assert facts.docker.remote
    container = facts.docker.containers[0]
    assert container.device_ids == (f"GPU-{ONE}",)
    assert container.env == {"NVIDIA_VISIBLE_DEVICES": f"GPU-{ONE}", "WANDB": "redacted", "PATH": "/bin"}
    assert container.name == "train"
    assert "550.163.01" in _text(redacted, "/proc/driver/nvidia/version")


def test_answers_given_are_not_changed(answers: Answers) -> None:
    """Redaction makes new answers and leaves the old."""
    before = [dict(part) for part in answers]
    redact(answers)
    assert [dict(part) for part in answers] == before


def test_redacting_twice_changes_nothing_more(redacted: Answers) -> None:
    """Pseudonyms stay what they are, and the same answers always get the same."""
    assert save(redact(redacted)[0], {}) == save(redacted, {})


def test_what_was_taken_out_is_said(answers: Answers) -> None:
    """Each kind is one phrase with its number; of a machine without anything private there is none."""
    sentences = redact(answers)[1]
    assert "1 GPU UUID" in sentences
    assert "1 MIG UUID" in sentences
    assert "the host name" in sentences
    assert "2 user names" in sentences
    assert any(each.endswith("values that may be secrets") for each in sentences)
    assert redact(Answers.none()._replace(reads={"/etc/os-release": b"ID=ubuntu\n"}))[1] == ()


def test_json_and_lines_stay_whole(answers: Answers, redacted: Answers) -> None:
    """JSON stays JSON with the same keys but those that name registries, and no file gains or loses a line."""
    for path, body in answers.reads.items():
        if not isinstance(body, bytes):
            continue
        renamed = next(new for old, new in zip(answers.reads, redacted.reads, strict=True) if old == path)
        after = redacted.reads[renamed]
        assert isinstance(after, bytes)
        if not path.startswith("/var/log/"):
            assert after.count(b"\n") == body.count(b"\n"), path
        if path.endswith(".json"):
            assert list(json.loads(after)) == list(json.loads(body))
    daemon = json.loads(_text(redacted, "/etc/docker/daemon.json"))
    assert daemon["api-key"] == 0
    assert daemon["labels"] == ["redacted", "redacted"]
    assert daemon["log-opts"] == {"splunk-token": "redacted", "max-size": "redacted"}
    assert daemon["hosts"][0] == "unix:///var/run/docker.sock"
    assert daemon["hosts"][2:] == ["tcp://127.0.0.1:2375", "tcp://0.0.0.0:1"]
    assert daemon["registry-mirrors"][1] == "https://mirror.gcr.io"
    assert daemon["runtimes"] == {"nvidia": {"path": "nvidia-container-runtime"}}
    client = json.loads(_text(redacted, "/home/user-001/.docker/config.json"))
    assert client["auths"]["https://index.docker.io/v1/"] == {"auth": "redacted"}
    assert client["credHelpers"] == {"nvcr.io": "redacted"}
    assert client["currentContext"] == "default"


def test_known_files(redacted: Answers) -> None:
    """Files that have a treatment of their own come out as they should, to the letter."""
    assert _text(redacted, "/etc/passwd").split("\n") == [
        "root:x:0:::/root:",
        "user-001:x:1000:::/home/user-001:",
        "user-002:x:1001:::/data/people/user-002:",
        "ubuntu:x:1002:::/home/ubuntu:",
        "nobody:x:65534:::/nonexistent:",
        "",
    ]
    assert _text(redacted, "/etc/hostname") == "host-001.domain.invalid\n"
    assert _text(redacted, "/proc/sys/kernel/hostname") == "host-001\n"
    assert _text(redacted, "/proc/1/environ") == (
        "container=lxc\0HOME=/home/user-001\0AWS_SECRET=redacted\0NVIDIA_VISIBLE_DEVICES=GPU-00000001\0"
        "DOCKER_AUTH_CONFIG=redacted\0EDITOR=redacted\0\n"
    )
    assert _text(redacted, "/proc/cmdline") == (
        "BOOT_IMAGE=/vmlinuz root=UUID=aaaa ro ip=192.0.2.{}::192.0.2.{}:255.255.255.0:host-001:eth0:off "
        "rd.luks.key=redacted password=redacted nvidia-drm.modeset=1 keymap=us\n"
    ).format(*_numbers(_text(redacted, "/proc/cmdline")))
    assert _text(redacted, "/etc/nvidia-container-runtime/config.toml") == (
        "# password: redacted\ndisable-require = false\n"
        '# ask user-001 on host-001, token = "redacted"\n[nvidia-container-cli]\nno-cgroups = true\n'
    )
    assert _text(redacted, "/sys/class/dmi/id/board_serial") == "SERIAL-000001\n"
    assert _text(redacted, "/sys/class/dmi/id/chassis_serial") == "To be filled by O.E.M.\n"
    assert _text(redacted, "/sys/class/dmi/id/product_name") == "PowerEdge R740\n"
    assert _text(redacted, "/etc/apt/sources.list.d/x.list").startswith("deb [signed-by=/k.gpg] https://redacted@apt.example/")
    assert _text(redacted, "/etc/apt/auth.conf") == "machine apt.example login redacted password redacted\n"
    assert "lxc.cgroup2.devices.allow: c 195:* rwm\n" in _text(redacted, "/etc/pve/lxc/100.conf")
    assert "lxc.environment: API=redacted\n" in _text(redacted, "/etc/pve/lxc/100.conf")
    assert "/etc/passwd:/etc/passwd:ro" in _text(redacted, "/var/lib/docker/containers/c1/hostconfig.json")
    assert "/data/people/user-002/set:/set" in _text(redacted, "/var/lib/docker/containers/c1/hostconfig.json")
    assert "24 22 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n" in _text(redacted, "/proc/self/mountinfo")
    assert "Version: 1.2.3.4-5\n" in _text(redacted, "/var/lib/dpkg/status")


def _numbers(text: str) -> list[str]:
    import re

    return re.findall(r"192\.0\.2\.(\d+)", text)


def test_processes(redacted: Answers) -> None:
    """Programs that rules ask about keep their names, the rest are `other`."""
    assert _text(redacted, "/proc/10/comm") == "dockerd\n"
    assert _text(redacted, "/proc/12/comm") == "nvidia-persiste\n"
    assert _text(redacted, "/proc/11/comm") == "other\n"
    assert _text(redacted, "/proc/11/stat") == "11 (other) S 1 2 3\n"
    assert _text(redacted, "/proc/11/status").startswith("Name:\tother\nUid:")
    link = redacted.stats["/proc/11/exe"]
    assert isinstance(link, Stat)
    assert link.target == "/other"


def test_questions_are_renamed_like_answers(redacted: Answers) -> None:
    """A folder lists what is asked below it, and misses name the renamed path."""
    assert redacted.lists["/home"] == ("user-001",)
    assert redacted.lists["/etc/systemd/system/docker.service.d"] == ("user-001.conf",)
    assert "/etc/systemd/system/docker.service.d/user-001.conf" in redacted.reads
    missed = redact(Answers.none()._replace(reads={"/home/eve/x": Denied("/home/eve/x", "is on eve's disk")}))[0].reads
    assert list(missed) == ["/home/user-001/x"]
    assert isinstance(missed["/home/user-001/x"], Denied)
    assert missed["/home/user-001/x"].args == ("/home/user-001/x", "is on user-001's disk")


def test_kernel_log_keeps_what_is_looked_at() -> None:
    """Of the kernel's log just the lines about GPUs stay, every kind of them, with versions as they were."""
    lines = [f"[ {at}.0] about {needle.decode()} 550.163.01.1" for at, needle in enumerate(kernel_log._NEEDLES)]
    log = "\n".join(["[ 0.1] usb: eve's phone", *lines, "[ 9.9] eth0: 10.1.2.3"]).encode() + b"\n"
    answers = Answers.none()._replace(runs={("dmesg",): Ran(0, log, b"")}, reads={"/var/log/kern.log": log})
    redacted, sentences = redact(answers)
    ran = redacted.runs["dmesg",]
    assert isinstance(ran, Ran)
    assert kernel_log.lines(ran.out) == kernel_log.lines(log)
    assert b"eve" not in ran.out
    assert redacted.reads["/var/log/kern.log"] == ran.out
    assert "4 lines of the kernel's log that are not about GPUs" in sentences


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("NVRM: SRC=10.1.2.3 DST=8.8.8.8", "NVRM: SRC=192.0.2.1 DST=192.0.2.2"),
        ("NVRM: version 1.2.3.4 of x", "NVRM: version 1.2.3.4 of x"),
        ("NVRM: firmware version: 10.20.30.40", "NVRM: firmware version: 10.20.30.40"),
        ("NVRM: nvidia-driver-1.2.3.4 and v1.2.3.4", "NVRM: nvidia-driver-1.2.3.4 and v1.2.3.4"),
        ("NVRM: 550.163.01.1 and 1.2.3.4.5 and 1.2.3.04", "NVRM: 550.163.01.1 and 1.2.3.4.5 and 1.2.3.04"),
        ("NVRM: 127.0.0.1 0.0.0.0 ::1 255.255.255.0", "NVRM: 127.0.0.1 0.0.0.0 ::1 255.255.255.0"),
        ("NVRM: peer 2a02:8109::17 at 10:11:12", "NVRM: peer 2001:db8::1 at 10:11:12"),
        ("NVRM: GPU 0000:01:00.0 Xid (PCI:0000:01:00)", "NVRM: GPU 0000:01:00.0 Xid (PCI:0000:01:00)"),
        ("NVRM: MAC=aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:08:00 x", "NVRM: MAC=02:00:00:00:00:01 x"),
    ],
)
def test_addresses_and_versions_in_a_log(line: str, after: str) -> None:
    """Addresses go, versions of four numbers, PCI addresses and times stay."""
    answers = Answers.none()._replace(runs={("dmesg",): Ran(0, line.encode(), b"")})
    assert redact(answers)[0].runs["dmesg",] == Ran(0, after.encode(), b"")


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("api_key=abc", "api_key=redacted"),
        ("API-KEY: 'a b'", "API-KEY: 'redacted'"),
        ('DB_PASSWORD="a\\"b" next', 'DB_PASSWORD="redacted" next'),
        ("secret=", "secret="),
        ("token=true", "token=true"),
        ("token = 0", "token = 0"),
        ("token: 77", "token: 0"),
        ("password=a;b", "password=redacted;b"),
        ("// passwd: one two\nthree", "// passwd: redacted\nthree"),
        ('{"e":"{\\"token\\":\\"abc\\"}"}', '{"e":"{\\"token\\":\\"redacted\\"}"}'),
        ("Authorization: Bearer abcdefghijk", "Authorization: redacted redacted"),
        ("x-auth: Basic QWxhZGRpbjpvcGVu", "x-auth: Basic redacted"),
        ("/run/passwd:/run/passwd", "/run/passwd:/run/passwd"),
        ("http://u:p@h/x http://u@h unix:///run/x@y", "http://redacted@h/x http://redacted@h unix:///run/x@y"),
        ("Serial Number: ABC12345\n", "Serial Number: SERIAL-000001\n"),
        ("Serial: 8250/16550 driver", "Serial: 8250/16550 driver"),
        ("tokenizers and passwords", "tokenizers and passwords"),
    ],
)
def test_secrets_in_any_text(text: str, after: str) -> None:
    """Values of words that mean a secret go, the text around them stays."""
    body = redact(Answers.none()._replace(reads={"/etc/anything": text.encode()}))[0].reads["/etc/anything"]
    assert body == after.encode()


def test_parts_of_uuids() -> None:
    """A UUID may stand shortened, bare or in the old MIG form; each finds its whole, and a stranger stays one."""
    text = f"GPU-{UUID} GPU-{OTHER} GPU-fef8089b GPU-fef8 GPU-f {UUID} MIG-GPU-{OTHER}/1/0 GPU-99999999-1 GPU-accelerated GPU-based RTX-GPU-4090 MIG-1g.5gb"
    body = redact(Answers.none()._replace(reads={"/etc/x": text.encode()}))[0].reads["/etc/x"]
    assert (
        body
        == (
            f"GPU-{ONE} GPU-{TWO} GPU-00000001 GPU-00000001 GPU-f {ONE} MIG-GPU-{TWO}/1/0 GPU-00000003-0 GPU-accelerated GPU-based "
            "RTX-GPU-4090 MIG-1g.5gb"
        ).encode()
    )


@pytest.mark.parametrize(
    "name", ["docker", "ubuntu", "localhost", "pve", "tesla", "nvidia", "lib", "a100", "generic", "550", "x"]
)
def test_a_machine_of_an_ordinary_name_is_not_harmed(name: str) -> None:
    """A host called like something that rules look for, like its GPU or kernel, renames nothing of these."""
    body = f"NVIDIA A100 Tesla nvidia docker ubuntu lib 6.8.0-45-generic 550.163.01 1-pve x localhost\n".encode()  # noqa: F541
    answers = Answers.none()._replace(
        reads={
            "/proc/sys/kernel/hostname": name.encode() + b"\n",
            "/proc/sys/kernel/osrelease": b"6.8.0-45-generic\n",
            "/proc/driver/nvidia/gpus/0/information": b"Model: \t NVIDIA A100-SXM4\n",
            "/etc/docker/x": body,
        },
    )
    redacted = redact(answers)[0].reads
    assert list(redacted) == list(answers.reads)
    assert redacted["/etc/docker/x"] == body
    assert redacted["/proc/driver/nvidia/gpus/0/information"] == answers.reads["/proc/driver/nvidia/gpus/0/information"]


def test_a_machine_named_like_a_path_of_the_doctor() -> None:
    """A word of a question that is not from the machine is kept; one that a folder, a link or a text brought up is renamed."""
    answers = Answers.none()._replace(
        reads={
            "/proc/sys/kernel/hostname": b"modprobe\n",
            "/etc/modprobe.d/modprobe.conf": b"on modprobe",
        },
        lists={"/etc/modprobe.d": ("modprobe.conf",)},
    )
    assert {"modprobe", "kernel", "proc"} <= _GENERIC
    redacted = redact(answers)[0]
    assert redacted.lists == answers.lists
    for word in ("gazebo", "fabricated"):
        own = Answers.none()._replace(reads={"/proc/sys/kernel/hostname": word.encode(), f"/etc/{word}.d/x": b"x"})
        assert list(redact(own)[0].reads) == list(own.reads)
        listed = own._replace(lists={"/etc": (f"{word}.d",)})
        assert list(redact(listed)[0].reads)[1] == "/etc/host-001.d/x"
        assert redact(listed)[0].lists == {"/etc": ("host-001.d",)}
        told = own._replace(runs={("nvml",): Ran(0, f"see /etc/{word}.d/x".encode(), b"")})
        assert list(redact(told)[0].reads)[1] == "/etc/host-001.d/x"


def test_an_instance_of_lxd_keeps_its_keys() -> None:
    """Of a backup.yaml the lines and keys stay and what NVIDIA's are set to; users' files for cloud-init do not."""
    text = (
        'container:\n  config:\n    nvidia.runtime: "true"\n    image.os: Ubuntu\n    user.user-data: |\n      #cloud-config\n'
        "      chpasswd: {list: eve}\n\n      - eve:s3cret\n  devices:\n    gpu:\n      type: gpu\nsnapshots: []\n"
    )
    path = "/var/lib/incus/containers/c/backup.yaml"
    body = redact(Answers.none()._replace(reads={path: text.encode()}))[0].reads[path]
    assert body == (
        b'container:\n  config:\n    nvidia.runtime: "true"\n    image.os: redacted\n    user.user-data: redacted\n      redacted\n'
        b"      chpasswd: redacted\n\n      - redacted\n  devices:\n    gpu:\n      type: redacted\nsnapshots: redacted\n"
    )


def test_many_users_keep_their_order() -> None:
    """Folders of homes stay in order with a dozen users, because rules take the first of several."""
    names = tuple(sorted(f"person{at:c}" for at in range(ord("a"), ord("a") + 15)))
    redacted = redact(Answers.none()._replace(lists={"/home": names}))[0]
    assert redacted.lists["/home"] == tuple(f"user-{at:03d}" for at in range(1, 16))


def test_bytes_that_are_not_text_come_through() -> None:
    """Firmware variables and programs stay as they are, Latin-1 keeps its bytes, UTF-16 is treated as text."""
    reads: dict[str, bytes] = {
        "/sys/firmware/efi/efivars/SecureBoot-x": b"\6\0\0\0\1",
        "/usr/bin/runc": b"\x7fELF\0password=abc\0",
        "/etc/a": b"caf\xe9 password=abc\n",
        "/etc/docker/daemon.json": '\ufeff{"token": "abc"}'.encode("utf-16-le"),
    }
    redacted = redact(Answers.none()._replace(reads=dict(reads)))[0].reads
    assert redacted["/sys/firmware/efi/efivars/SecureBoot-x"] == reads["/sys/firmware/efi/efivars/SecureBoot-x"]
    assert redacted["/usr/bin/runc"] == reads["/usr/bin/runc"]
    assert redacted["/etc/a"] == b"caf\xe9 password=redacted\n"
    assert redacted["/etc/docker/daemon.json"] == '\ufeff{"token": "redacted"}'.encode("utf-16-le")


def test_malformed_json_is_still_treated() -> None:
    """A daemon.json that dockerd would refuse loses its secrets, keeps its mistake and its lines."""
    text = '{\n "labels": ["a=b",],\n "token": "abc",\n "hosts": ["tcp://10.1.1.1:1"\n'
    body = redact(Answers.none()._replace(reads={"/etc/docker/daemon.json": text.encode()}))[0].reads["/etc/docker/daemon.json"]
    assert body == b'{\n "labels": ["redacted",],\n "token": "redacted",\n "hosts": ["tcp://192.0.2.1:1"\n'


def test_the_loader_cache_keeps_its_form() -> None:
    """Paths in /etc/ld.so.cache are renamed and still found, the others stay, and no old name is left."""
    entries = [("libcuda.so.1", "/home/alice/lib/libcuda.so.1"), ("libm.so.6", "/lib/libm.so.6")]
    strings = b""
    table = b""
    start = 48 + 24 * len(entries)
    for name, path in entries:
        # Names share the tail of their path, as ldconfig writes them.
        offset = start + len(strings)
        table += struct.pack("<iIIIQ", 0x0303, offset + len(path) - len(name), offset, 0, 0)
        strings += path.encode() + b"\0"
    cache = b"glibc-ld.so.cache1.1" + struct.pack("<II", len(entries), len(strings)) + bytes(20) + table + strings
    assert ldcache.from_cache(cache)["libcuda.so.1"] == ("/home/alice/lib/libcuda.so.1",)
    answers = Answers.none()._replace(reads={"/etc/ld.so.cache": cache}, envs={"HOME": "/home/alice"})
    redacted = redact(answers)[0].reads["/etc/ld.so.cache"]
    assert isinstance(redacted, bytes)
    assert b"alice" not in redacted
    assert ldcache.from_cache(redacted) == {
        "libcuda.so.1": ("/home/user-001/lib/libcuda.so.1",),
        "libm.so.6": ("/lib/libm.so.6",),
    }
    untouched = redact(Answers.none()._replace(reads={"/etc/ld.so.cache": cache.replace(b"/home/alice", b"/opt/driver")}))[0]
    assert untouched.reads["/etc/ld.so.cache"] == cache.replace(b"/home/alice", b"/opt/driver")


def test_misses_keep_their_kind() -> None:
    """An absent file stays absent, and an unset variable unset."""
    answers = Answers.none()._replace(reads={"/etc/x": Absent("/etc/x")}, envs={"HOME": Absent("$HOME")})
    redacted = redact(answers)[0]
    assert type(redacted.reads["/etc/x"]) is Absent
    assert type(redacted.envs["HOME"]) is Absent
