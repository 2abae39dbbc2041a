"""NVIDIA_REQUIRE_* as nvidia-container-cli evaluates it."""

from __future__ import annotations

import pytest

from gpudoctor.formats.requirements import Device, compare, satisfied

RTX = Device("12.2", "535.309.01", "8.6", "geforce")
OFFICIAL = "cuda>=12.4 brand=tesla,driver>=470,driver<471 brand=geforce,driver>=535,driver<536"


@pytest.mark.parametrize(
    ("demand", "wanted"),
    [
        ("", True),
        ("cuda>=12.2", True),
        ("cuda>=12.4", False),
        (OFFICIAL, True),
        (OFFICIAL.replace("535", "545").replace("536", "546"), False),
        ("cuda>=12.4  brand!=tesla", True),
        ("BRAND=GeForce", True),
        ("arch>=8.0,arch<9", True),
        ("driver=535.309.1", True),
        ("cuda>12.2", False),
        ("cuda>=12.2.0", True),
        ("cuda==12.2", False),
        ("cuda=>12.0", False),
        ("gpu>=1", False),
        ("cuda>=12.0 nonsense", True),
        ("nonsense cuda>=12.0", False),
        ("cuda>=13,nonsense cuda>=12.0", True),
        ("brand>geforce", False),
        ("cuda>=", False),
        ("cuda>=12.x", False),
    ],
)
def test_blank_is_or_and_comma_is_and(demand, wanted):
    """Alternatives, comparisons and brands in any case; a word outside the grammar fails the demand once it is reached."""
    assert satisfied(demand, RTX) is wanted


def test_what_is_not_known_decides_only_where_nothing_else_does():
    """An unknown brand makes None, unless another alternative is met, or another clause of its own is not."""
    unknown = RTX._replace(brand="")
    assert satisfied(OFFICIAL, unknown) is None
    assert satisfied("cuda>=12.0 brand=tesla", unknown) is True
    assert satisfied("brand=tesla cuda>=12.0", unknown) is True
    assert satisfied("brand=tesla,driver>=545", unknown) is False
    assert satisfied("brand=tesla nonsense", unknown) is None


def test_numbers_are_compared_part_by_part():
    """What one number has more than the other counts as zeros do."""
    assert compare("12.10", ">", "12.9")
    assert compare("12", "=", "12.0.0")
    assert compare("535.104.05", "<", "535.104.12")
    assert not compare("12.4", "!=", "12.4.0")
