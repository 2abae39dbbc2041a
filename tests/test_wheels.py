"""Which wheel pip takes, and which GPUs it has code for."""

from __future__ import annotations

import pytest

from gpudoctor.tables import wheels


@pytest.mark.parametrize(
    ("spec", "python", "wanted"),
    [
        ("", (), "2.15.0"),
        ("", (3, 10), "2.14.1"),
        ("", (3, 9), "2.8.0"),
        ("", (3, 8), "2.4.1"),
        ("==2.4.0", (), "2.4.1"),
        ("==2.4.*", (), "2.4.1"),
        ("<2.6", (), "2.5.1"),
        (">=2.0,<3", (3, 8), "2.4.1"),
        ("~=2.3.0", (), "2.3.1"),
        ("~=2.3", (3, 9), "2.8.0"),
        ("<=2.3.1", (), "2.3.1"),
        ("!=2.15.0", (), "2.15.0"),
    ],
)
def test_newest_torch_within_bounds(spec, python, wanted):
    """Bounds and Python choose the newest release that pip would take."""
    found = wheels.torch(spec, python)
    assert found is not None
    assert found.release == wanted


def test_releases_outside_the_tables_are_not_known():
    """A release that is older than the tables is no guess."""
    assert wheels.torch("==1.4.0", ()) is None
    assert wheels.onnxruntime("==1.4.0", ()) is None
    assert wheels.tensorflow("==1.15.0", ()) is None
    assert wheels.torch_targets("2.4", "cu999", "x86_64") is None


@pytest.mark.parametrize(
    ("spec", "python", "cuda", "cudnn"),
    [
        ("==1.16.3", (), "11.8", 8),
        ("==1.18.1", (), "11.8", 8),
        ("==1.19.0", (), "12", 9),
        ("", (3, 10), "12.8", 9),
        ("", (3, 12), "13.0", 9),
        ("<1.19", (), "11.8", 8),
    ],
)
def test_onnxruntime_by_release(spec, python, cuda, cudnn):
    """The CUDA and the cuDNN major that each release opens."""
    found = wheels.onnxruntime(spec, python)
    assert found is not None
    assert (found.cuda, found.cudnn) == (cuda, cudnn)


def test_a_wheel_serves_newer_minors_of_a_major_and_what_compiles_its_ptx():
    """Code for 8.6 runs on 8.9 and not on 9.0; PTX of 9.0 runs on 12.0."""
    torch = wheels.torch_targets("2.4", "cu121", "x86_64")
    assert torch is not None
    assert [torch.serve(each) for each in ((3, 5), (6, 1), (8, 9), (9, 0), (10, 0), (12, 0))] == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]
    tensorflow = wheels.tensorflow("==2.18.0", ())
    assert tensorflow is not None
    assert tensorflow.targets is not None
    assert tensorflow.targets.serve((12, 0))
    assert not tensorflow.targets.serve((5, 2))
