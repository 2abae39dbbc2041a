"""Mounts, and the cgroup hierarchy they show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.formats import mountinfo

ROOT = b"24 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw,errors=remount-ro\n"
V2 = b"35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
TMPFS = b"30 25 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,size=4096k,mode=755\n"
UNIFIED = b"31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw\n"
SYSTEMD = b"32 30 0:28 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup cgroup rw,xattr,name=systemd\n"
DEVICES = b"36 30 0:33 / /sys/fs/cgroup/devices rw,nosuid shared:14 - cgroup cgroup rw,devices\n"
OVERLAY = (
    b"610 24 0:55 / /var/lib/docker/overlay2/6f/merged rw,relatime shared:300 - overlay overlay "
    b"rw,lowerdir=/var/lib/docker/overlay2/l/QA:/var/lib/docker/overlay2/l/cgroup\n"
)


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        (ROOT + V2 + OVERLAY, "v2"),
        (ROOT + TMPFS + UNIFIED + SYSTEMD + DEVICES, "hybrid"),
        (ROOT + TMPFS + SYSTEMD + DEVICES, "v1"),
        (ROOT + OVERLAY, None),
        (ROOT + TMPFS, None),
        (TMPFS + UNIFIED + DEVICES + V2, "v2"),
        (V2.removesuffix(b"\n"), "v2"),
        (V2[:20], None),
        (b"", None),
    ],
)
def test_the_hierarchy_is_told_by_the_mounts(data: bytes, mode: str | None) -> None:
    """cgroup2 on top is v2, on `unified` hybrid, neither is v1, nothing mounted is unknown."""
    assert mountinfo.cgroup_mode(data) == mode


def test_a_mount_is_parsed_with_its_escapes() -> None:
    """Spaces and backslashes in paths are decoded, optional fields may be missing, options are joined."""
    data = rb"41 24 8:3 /sub\040dir /mnt/a\134b\011c\999 ro,noatime - fuse.x\040y src\040x rw,ro,user=1" + b"\n"
    assert mountinfo.parse(ROOT + b"garbage\n" + data)[1] == mountinfo.Mount(
        41, "/mnt/a\\b\tc\\999", "/sub dir", "fuse.x y", "src x", ("ro", "noatime", "rw", "user=1")
    )
    assert mountinfo.parse(ROOT)[0].options == ("rw", "relatime", "errors=remount-ro")


@given(st.one_of(st.binary(), st.text(alphabet="1 -\\/0\n7").map(lambda t: f"1 1 1:1 {t} - a b".encode())))
def test_random_bytes_never_raise(data: bytes) -> None:
    """What is no mount is skipped."""
    mountinfo.parse(data)
    mountinfo.cgroup_mode(data + b" /sys/fs/cgroup " + data)
