"""The kernel's command line, and what it asks systemd for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.formats import cmdline

BOOTED = (
    "BOOT_IMAGE=/boot/vmlinuz-6.8.0-49-generic root=UUID=0f3c ro quiet nvidia-drm.modeset=1 "
    "rd.driver.blacklist=nouveau nvidia_drm.modeset=0\n"
)


def test_arguments_keep_their_order_and_values() -> None:
    """Only the first equals sign parts, and an argument without one has no value."""
    args = cmdline.parse(BOOTED)
    assert args[:4] == (
        ("BOOT_IMAGE", "/boot/vmlinuz-6.8.0-49-generic"),
        ("root", "UUID=0f3c"),
        ("ro", None),
        ("quiet", None),
    )


def test_absent_differs_from_present_without_a_value() -> None:
    """An absent key has no values, a bare one has None, an empty one the empty text."""
    args = cmdline.parse("ro quiet= ro")
    assert cmdline.values(args, "splash") == ()
    assert cmdline.values(args, "ro") == (None, None)
    assert cmdline.values(args, "quiet") == ("",)


def test_dashes_and_underscores_are_the_same_in_names() -> None:
    """A module's parameter is found in either spelling."""
    args = cmdline.parse(BOOTED)
    assert cmdline.values(args, "nvidia_drm.modeset") == ("1", "0")
    assert cmdline.values(args, "nvidia-drm.modeset") == ("1", "0")


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ('dyndbg="file a.c +p; file b.c +p" ro', (("dyndbg", "file a.c +p; file b.c +p"), ("ro", None))),
        ('"dyndbg=file a.c +p" ro', (("dyndbg", "file a.c +p"), ("ro", None))),
        ('"two words" ro', (("two words", None), ("ro", None))),
        ('a=b" c "d ro', (("a", 'b" c "d'), ("ro", None))),
        ('a="open to the end', (("a", "open to the end"),)),
        ('a="" b=1', (("a", ""), ("b", "1"))),
        ("=1 ro", (("=1", None), ("ro", None))),
        ("  \n", ()),
    ],
)
def test_double_quotes_protect_spaces(text: str, args: tuple[tuple[str, str | None], ...]) -> None:
    """Quotes work as in the kernel's own parser."""
    assert cmdline.parse(text) == args


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("ro quiet", None),
        ("systemd.unified_cgroup_hierarchy=0", False),
        ("systemd.unified_cgroup_hierarchy=false", False),
        ("systemd.unified_cgroup_hierarchy=off", False),
        ("systemd.unified_cgroup_hierarchy=No", False),
        ("systemd.unified_cgroup_hierarchy=1", True),
        ("systemd.unified_cgroup_hierarchy=yes", True),
        ("systemd.unified-cgroup-hierarchy=on", True),
        ("systemd.unified_cgroup_hierarchy=true", True),
        ("systemd.unified_cgroup_hierarchy=1 systemd.unified_cgroup_hierarchy=0", False),
        ("systemd.unified_cgroup_hierarchy=0 systemd.unified_cgroup_hierarchy=1", True),
        ("systemd.unified_cgroup_hierarchy", None),
        ("systemd.unified_cgroup_hierarchy=maybe", None),
        ("systemd.unified_cgroup_hierarchy=0 systemd.unified_cgroup_hierarchy=maybe", None),
        ("systemd.unified_cgroup_hierarchy=0\r\n", False),
        ("systemd.legacy_systemd_cgroup_controller=1", None),
    ],
)
def test_what_the_line_asks_of_systemd(text: str, asked: bool | None) -> None:
    """The last one decides, and what systemd does not understand asks for nothing."""
    assert cmdline.unified_cgroup(cmdline.parse(text)) is asked


@given(st.one_of(st.text(), st.text(alphabet='a=" -')))
def test_any_text_is_split(text: str) -> None:
    """No text raises."""
    cmdline.unified_cgroup(cmdline.parse(text))


@given(st.lists(st.text(alphabet="ab=-_.", min_size=1), min_size=1))
def test_quotes_elsewhere_change_nothing(words: list[str]) -> None:
    """The careful split gives the same as the plain one for the words without quotes."""
    line = " ".join(words)
    assert cmdline.parse(f'{line}  x="y z"') == (*cmdline.parse(line), ("x", "y z"))
