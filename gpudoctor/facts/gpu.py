"""The NVIDIA functions on the PCI bus (what is there), and what the driver says of each GPU (what it took)."""

from __future__ import annotations

from gpudoctor import tables
from gpudoctor.facts import Area, fact
from gpudoctor.formats import procfs
from gpudoctor.values import NamedTuple

PCI = "/sys/bus/pci/devices"
PROC_GPUS = "/proc/driver/nvidia/gpus"
NVIDIA = "0x10de"


class Function(NamedTuple):
    """One display function of NVIDIA's on the PCI bus; ``chip`` by device id from the table, ``probable`` where only a neighbour is known."""

    address: str
    device_id: str
    driver: str | None
    chip: tables.Gpu | None
    probable: bool

    @property
    def path(self) -> str:
        """The function's folder in sysfs."""
        return f"{PCI}/{self.address}"

    @property
    def capability(self) -> tuple[int, int] | None:
        """The compute capability, such as ``(8, 6)``."""
        return self.chip.capability if self.chip is not None else None

    @property
    def architecture(self) -> str:
        """The architecture, such as ``Ampere``; empty where it is not known."""
        return self.chip.architecture if self.chip is not None else ""

    @property
    def name(self) -> str:
        """What to call it: the product names of this id, else the id."""
        named = self.chip.name if self.chip is not None else ""
        return named or f"NVIDIA device {self.device_id}"


class ProcGpu(NamedTuple):
    """One GPU that the driver took, from its ``information`` file; empty or None where a line is missing."""

    address: str
    path: str
    model: str
    uuid: str
    minor: int | None
    firmware: str


class Gpus(Area):
    """What is on the bus, and what the driver took of it."""

    @fact
    def _bus(self) -> tuple[tuple[str, str, str], ...]:
        found = []
        for address in self.host.names(PCI):
            folder = f"{PCI}/{address}"
            vendor = (self.host.text(f"{folder}/vendor") or "").strip()
            if vendor == NVIDIA:
                kind = (self.host.text(f"{folder}/class") or "").strip()
                found.append((address, kind, (self.host.text(f"{folder}/device") or "").strip().removeprefix("0x")))
        return tuple(found)

    @fact
    def functions(self) -> tuple[Function, ...]:
        """Return the display functions (VGA and 3D controllers) in bus order; audio and USB functions are not GPUs."""
        found = []
        for address, kind, device_id in self._bus:
            if not kind.startswith(("0x0300", "0x0302")):
                continue
            link = self.host.lstat(f"{PCI}/{address}/driver")
            driver = link.target.rpartition("/")[2] if link is not None and link.target else None
            known = tables.gpu(device_id)
            chip = known or tables.probable_gpu(device_id)
            found.append(Function(address, device_id, driver, chip, known is None and chip is not None))
        return tuple(found)

    @fact
    def nvswitches(self) -> tuple[str, ...]:
        """Return the PCI addresses of NVSwitches (class 0x0680)."""
        return tuple(address for address, kind, _ in self._bus if kind.startswith("0x0680"))

    @fact
    def others(self) -> tuple[tuple[str, str], ...]:
        """Return (address, vendor) of display and accelerator functions of other vendors."""
        found = []
        for address in self.host.names(PCI):
            kind = (self.host.text(f"{PCI}/{address}/class") or "").strip()
            vendor = (self.host.text(f"{PCI}/{address}/vendor") or "").strip()
            if vendor != NVIDIA and kind.startswith(("0x03", "0x12")):
                found.append((address, vendor))
        return tuple(found)

    @fact
    def taken(self) -> tuple[ProcGpu, ...]:
        """Return the GPUs that the loaded driver took, in bus order (which is NVML's order of indices)."""
        found = []
        for address in self.host.names(PROC_GPUS):
            path = f"{PROC_GPUS}/{address}/information"
            text = self.host.text(path)
            if text is None:
                continue
            labels = procfs.information(text)
            minor = labels.get("Device Minor", "")
            found.append(
                ProcGpu(
                    address,
                    path,
                    labels.get("Model", ""),
                    labels.get("GPU UUID", ""),
                    int(minor) if minor.isdigit() else None,
                    labels.get("GPU Firmware", ""),
                ),
            )
        return tuple(found)

    @fact
    def count(self) -> int:
        """Return how many GPUs this machine has: on the bus, else as the driver says (a container may not see the bus)."""
        return len(self.functions) or len(self.taken)

    @fact
    def present(self) -> bool:
        """Say whether this machine has an NVIDIA GPU of any kind: on PCI, of WSL's virtual bus, or a Tegra's own."""
        return self.count > 0 or self.facts.platform.jetson or (self.facts.platform.wsl and self.host.exists("/dev/dxg"))

    @fact
    def mig_instances(self) -> tuple[str, ...]:
        """Return the MIG GPU instances as ``gpu0/gi3``, from /proc/driver/nvidia/capabilities."""
        root = "/proc/driver/nvidia/capabilities"
        return tuple(
            f"{gpu}/{instance}"
            for gpu in self.host.names(root)
            if gpu.startswith("gpu")
            for instance in self.host.names(f"{root}/{gpu}/mig")
            if instance.startswith("gi")
        )

    @fact
    def mig_minors(self) -> dict[int, str]:
        """Return the nodes in /dev/nvidia-caps that MIG instances have today: minor to ``gpu0/gi3`` or ``gpu0/gi3/ci0``."""
        root = "/proc/driver/nvidia/capabilities"
        found = {}
        for name in self.mig_instances:
            gpu, _, instance = name.partition("/")
            folder = f"{root}/{gpu}/mig/{instance}"
            for part in ("", *(each for each in self.host.names(folder) if each.startswith("ci"))):
                text = self.host.text(f"{folder}/{part}/access" if part else f"{folder}/access") or ""
                minor = text.partition("DeviceFileMinor:")[2].split("\n")[0].strip()
                if minor.isdigit():
                    found[int(minor)] = f"{name}/{part}" if part else name
        return found
