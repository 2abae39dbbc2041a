"""The listing of nvidia-smi."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.formats import smi
from gpudoctor.formats.smi import SmiGpu, SmiMig

LISTING = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-b1c2d3e4-0001)
  MIG 3g.40gb     Device  0: (UUID: MIG-7c1a)
  MIG 1g.10gb+me  Device  1: (UUID: MIG-8d2b)
GPU 10: NVIDIA A100-SXM4-40GB (UUID: GPU-f00d)
  MIG 1g.5gb Device 0: (UUID: MIG-GPU-f00d/7/0)
Unable to determine the device handle for GPU0000:41:00.0: Unknown Error
"""


def test_gpus_with_their_mig_devices() -> None:
    """Each MIG device belongs to the GPU above it, in the old and in the new form."""
    assert smi.list_gpus(LISTING) == (
        SmiGpu(
            0,
            "NVIDIA H100 80GB HBM3",
            "GPU-b1c2d3e4-0001",
            (SmiMig("3g.40gb", "MIG-7c1a"), SmiMig("1g.10gb+me", "MIG-8d2b")),
        ),
        SmiGpu(10, "NVIDIA A100-SXM4-40GB", "GPU-f00d", (SmiMig("1g.5gb", "MIG-GPU-f00d/7/0"),)),
    )


def test_messages_are_no_gpus() -> None:
    """A driver that does not answer lists nothing."""
    assert smi.list_gpus("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n\n") == ()
    assert smi.list_gpus("No devices found.\n  MIG 1g.5gb Device 0: (UUID: MIG-1)\n") == ()


@given(st.one_of(st.text(), st.text(alphabet="0²: ()").map(lambda t: f"GPU {t}(UUID: {t})\nMIG {t}(UUID: {t}")))
def test_any_text_is_read(text: str) -> None:
    """No text raises."""
    smi.list_gpus(text)
