"""modprobe's configuration."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.formats import modprobe
from gpudoctor.formats.modprobe import Directive

CONF = """\
# blacklist nvidia
blacklist nouveau
options nvidia-drm modeset=1 fbdev=1
options nvidia NVreg_DeviceFileMode=0660 \\
    NVreg_RegistryDwords="PowerMizerEnable=0x1; PerfLevelSrc=0x2222"\r
install nvidia-uvm /sbin/modprobe --ignore-install nvidia-uvm; true
alias nouveau off
softdep nvidia post: nvidia-uvm
remove nvidia /sbin/rmmod nvidia
config nothing
blacklist

options nvidia NVreg-DeviceFileMode=0666 flag
"""


def test_directives_keep_their_lines() -> None:
    """Module names get underscores, comments and unknown lines are skipped."""
    assert modprobe.parse(CONF) == (
        Directive("blacklist", "nouveau", "", 2),
        Directive("options", "nvidia_drm", "modeset=1 fbdev=1", 3),
        Directive(
            "options",
            "nvidia",
            'NVreg_DeviceFileMode=0660     NVreg_RegistryDwords="PowerMizerEnable=0x1; PerfLevelSrc=0x2222"',
            4,
        ),
        Directive("install", "nvidia_uvm", "/sbin/modprobe --ignore-install nvidia-uvm; true", 6),
        Directive("alias", "nouveau", "off", 7),
        Directive("softdep", "nvidia", "post: nvidia-uvm", 8),
        Directive("remove", "nvidia", "/sbin/rmmod nvidia", 9),
        Directive("options", "nvidia", "NVreg-DeviceFileMode=0666 flag", 13),
    )


def test_options_of_a_module_are_given_in_order() -> None:
    """Either spelling of the module finds them, quotes are taken away, and a flag has an empty value."""
    directives = modprobe.parse(CONF)
    assert modprobe.options(directives, "nvidia") == (
        ("NVreg_DeviceFileMode", "0660", 4),
        ("NVreg_RegistryDwords", "PowerMizerEnable=0x1; PerfLevelSrc=0x2222", 4),
        ("NVreg_DeviceFileMode", "0666", 13),
        ("flag", "", 13),
    )
    assert modprobe.options(directives, "nvidia-drm") == (("modeset", "1", 3), ("fbdev", "1", 3))


@given(st.one_of(st.text(), st.text(alphabet='a\\\n "=').map(lambda t: f"options a {t}")))
def test_any_text_is_parsed(text: str) -> None:
    """No text raises."""
    modprobe.options(modprobe.parse(text), "a")


def test_a_carriage_return_is_part_of_a_word() -> None:
    """A file from Windows blacklists `nouveau` and a carriage return, which is no module, and its backslash joins nothing."""
    (first, second, third) = modprobe.parse("blacklist nouveau\r\noptions nvidia a=1 \\\r\noptions nvidia b=2\n")
    assert first.module == "nouveau\r"
    assert (second.module, third.line) == ("nvidia", 3)
