"""A stand-in for ``nvidia-ctk cdi generate``: writes a spec of the GPU's nodes and of the driver's libraries that are there now.

As the real one does it names each node without its numbers, which the engine then looks up when a container starts.
"""

from __future__ import annotations

import sys
from pathlib import Path

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
COMMON = ("nvidiactl", "nvidia-modeset", "nvidia-uvm", "nvidia-uvm-tools")


def main() -> None:
    """Write the spec to the file that ``--output`` names."""
    words = sys.argv[1:]
    if words == ["--version"]:
        print("NVIDIA Container Toolkit CLI version 1.17.8")
        return
    if words[:2] != ["cdi", "generate"] or not words[2].startswith("--output="):
        raise SystemExit(f"nvidia-ctk: {words}")
    gpus = sorted(path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
    lines = ["---", "cdiVersion: 0.5.0", "kind: nvidia.com/gpu", "devices:"]
    for name in [*gpus, "all"]:
        lines += [f'    - name: "{name}"', "      containerEdits:", "        deviceNodes:"]
        lines += [f"            - path: /dev/nvidia{each}" for each in (gpus if name == "all" else [name])]
    lines += ["containerEdits:", "    env:", "        - NVIDIA_VISIBLE_DEVICES=void", "    deviceNodes:"]
    lines += [f"        - path: /dev/{name}" for name in COMMON if Path(f"/dev/{name}").exists()]
    lines += ["    mounts:"]
    for path in sorted(each for name in ("libcuda", "libnvidia-ml") for each in LIBRARIES.glob(f"{name}.so.*.*")):
        lines += [
            f"        - hostPath: {path}",
            f"          containerPath: {path}",
            "          options: [ro, nosuid, nodev, bind]",
        ]
    output = Path(words[2].removeprefix("--output="))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
