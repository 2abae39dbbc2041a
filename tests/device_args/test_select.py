"""Which nodes are chosen: by index, address, UUID, MIG device; what is missing; which hosts are refused."""

from __future__ import annotations

import pytest

from gpudoctor import device_args
from gpudoctor.device_args import Refused, select
from gpudoctor.facts import Facts
from gpudoctor.host import NoAnswer, Unseen
from gpudoctor.host.book import Recorder
from tests.device_args.hosts import HOSTS, facts, nodes, selected

CUDA = ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools"]
UUID = "GPU-5c1e4b7a-0000-4d20-8f3b-6a1c4c0000"
MIG = "MIG-7e0c5a1{}-0000-5b3f-9a11-00000000000{}"


def test_one_gpu_gets_what_cuda_opens_and_no_more():
    """A single GPU: its node, the control node and nvidia-uvm's two, in this order, and not nvidia-modeset."""
    chosen = selected("one-gpu")
    assert nodes(chosen) == ["nvidia0", *CUDA]
    assert [(node.path, node.why) for node in chosen.nodes if not node.chosen] == [
        ("/dev/nvidia-modeset", "only for display and graphics"),
    ]
    assert not chosen.missing


@pytest.mark.parametrize(
    ("asked", "minors"),
    [
        ("all", [3, 2, 1, 0, 7, 6, 5, 4]),
        ("0", [3]),
        ("2,0", [3, 1]),
        ("0,0,2", [3, 1]),
        ("0000:3d:00.0", [1]),
        ("3D:00.0", [1]),
        ("00000000:3D:00.0", [1]),
        (f"{UUID}02", [1]),
        (f"{UUID.lower()}02".replace("gpu-", "GPU-"), [1]),
        (f"7,{UUID}00,0000:2a:00.0", [3, 2, 4]),
    ],
)
def test_shuffled_minors(asked: str, minors: list[int]):
    """An index is the place in PCI order and not the minor; however a GPU is named, its own node is chosen, in order of index."""
    assert nodes(selected("eight-gpus-shuffled-minors", asked)) == [*(f"nvidia{minor}" for minor in minors), *CUDA]


def test_sixteen_gpus_are_in_numeric_order():
    """nvidia10 comes after nvidia9, and all sixteen are given."""
    assert nodes(selected("sixteen-gpus-nvswitch"))[:16] == [f"nvidia{minor}" for minor in range(16)]
    assert nodes(selected("sixteen-gpus-nvswitch", "15,10,9")) == ["nvidia9", "nvidia10", "nvidia15", *CUDA]


def test_the_fabric_goes_with_every_gpu_of_the_board():
    """NVSwitch and NVLink nodes are given with all GPUs, and left out, with a reason, where only some were asked for."""
    fabric = ["nvidia-nvswitchctl", "nvidia-nvswitch0", "nvidia-nvswitch1", "nvidia-nvswitch2", "nvidia-nvlink"]
    assert nodes(selected("sixteen-gpus-nvswitch"))[-5:] == fabric
    some = selected("sixteen-gpus-nvswitch", "3")
    assert nodes(some) == ["nvidia3", *CUDA]
    assert {node.why for node in some.nodes if "nvswitch" in node.path} == {
        "the fabric serves every GPU of the board, and only some were asked for",
    }


def test_imex_channels_that_are_there_are_given():
    """Multi-node NVLink's channels come with compute, by number, and not with graphics."""
    chosen = nodes(selected("imex-channels", "1"))
    assert chosen == ["nvidia1", *CUDA, "nvidia-caps-imex-channels/channel0", "nvidia-caps-imex-channels/channel10"]
    assert not [path for path in nodes(selected("imex-channels", "1", "graphics")) if "imex" in path]


def test_mig_device_gets_the_nodes_of_its_own_instance():
    """0:3 is GPU instance 10 of the first GPU, whose minor is 1 and whose folder is therefore gpu1: 228 and 229, and no other's."""
    chosen = selected("mig-7-instances", "0:3")
    assert nodes(chosen) == ["nvidia1", *CUDA, "nvidia-caps/nvidia-cap228", "nvidia-caps/nvidia-cap229"]
    left = {node.path.rpartition("/")[2]: node.why for node in chosen.nodes if not node.chosen}
    assert left["nvidia-cap219"] == "MIG device 0:2 was not asked for"
    assert left["nvidia-cap1"] == "for administering MIG, not for using it"
    assert left["nvidia0"] == "GPU 1 (0000:0f:00.0) was not asked for"
    assert chosen.remarks == (
        "0:3 is GPU instance 10, compute instance 0 of 0000:07:00.0: MIG devices are counted in that order.",
    )


@pytest.mark.parametrize("gpu", [0, 1])
@pytest.mark.parametrize("place", range(7))
def test_each_of_seven_mig_devices_by_index_and_by_uuid(gpu: int, place: int):
    """Every MIG device of both GPUs is the same by index, by NVML's UUID, and by the older UUID that has the instances in it."""
    minor = 1 - gpu
    first = 3 + minor * 135 + (7 + place) * 9
    wanted = [f"nvidia{minor}", *CUDA, f"nvidia-caps/nvidia-cap{first}", f"nvidia-caps/nvidia-cap{first + 1}"]
    for name in (f"{gpu}:{place}", MIG.format(gpu, place), f"MIG-{UUID}{gpu:02x}/{7 + place}/0"):
        assert nodes(selected("mig-7-instances", name)) == wanted


def test_a_whole_gpu_with_mig_devices_means_all_of_these():
    """A GPU that is divided can only be used by its MIG devices, so its index means all seven."""
    chosen = selected("mig-7-instances", "1")
    assert chosen.names == tuple(f"1:{place}" for place in range(7))
    assert len(nodes(chosen)) == 1 + len(CUDA) + 14
    assert len(nodes(selected("mig-7-instances"))) == 2 + len(CUDA) + 28


def test_nvml_is_asked_for_a_mig_uuid_and_for_nothing_else():
    """No other way to name a GPU loads NVML, on a host where it could be asked."""
    for asked in ("all", "0", "0:1", "0000:07:00.0", f"{UUID}01", f"MIG-{UUID}01/7/0"):
        recorder = Recorder(facts("mig-7-instances").host)
        select.select(Facts(recorder), device_args.request(asked, "compute", "args", None))
        assert not recorder.answers.runs, asked
    recorder = Recorder(facts("mig-7-instances").host)
    select.select(Facts(recorder), device_args.request(MIG.format(0, 0), "compute", "args", None))
    assert list(recorder.answers.runs) == [("nvml",)]


def test_nvml_is_not_asked_where_it_would_make_nodes():
    """With a GPU's node missing on a live host, a MIG UUID cannot be told, and NVML is not run."""
    host = facts("mig-missing-gpu-node").host
    host.closed = False  # as a live machine
    recorder = Recorder(host)
    with pytest.raises(Unseen, match="it is not asked while nodes are missing"):
        select.select(Facts(recorder), device_args.request(MIG.format(0, 0), "compute", "args", None))
    assert not recorder.answers.runs


def test_a_uuid_that_nvml_cannot_tell():
    """Where NVML does not answer, a MIG UUID cannot be told; an unknown one that it does not list is refused."""
    with pytest.raises(NoAnswer, match="Driver/library version mismatch"):
        selected("mig-nvml-refused", MIG.format(0, 0))
    with pytest.raises(Refused, match="no MIG device MIG-0"):
        selected("mig-7-instances", "MIG-00000000-0000-0000-0000-000000000000")


def test_a_gpu_uuid_that_the_driver_has_not_read_yet_is_asked_of_nvml():
    """The driver's file has question marks until the GPU was first opened; NVML then knows the UUID."""
    chosen = selected("mig-uuid-not-read-yet", f"{UUID}00")
    assert "nvidia1" in nodes(chosen)
    assert "nvidia0" not in nodes(chosen)


@pytest.mark.parametrize("asked", ["8", "-1", "GPU-0", "0000:00:00.0", "0:0", "all-of-them", "MIG-GPU-0/1/0"])
def test_a_gpu_that_is_not_here_is_refused_with_those_that_are(asked: str):
    """A wrong name ends in one sentence that lists what could be named."""
    with pytest.raises(Refused, match=r"here; there are: 0 \(0000:17:00.0, GPU-"):
        selected("eight-gpus-shuffled-minors", asked)


def test_excluded_gpu_has_no_index():
    """NVML does not count a GPU that the administrator excluded, so index 0 is the other one."""
    assert nodes(selected("excluded-gpu", "0")) == ["nvidia1", *CUDA]
    with pytest.raises(Refused):
        selected("excluded-gpu", "1")


@pytest.mark.parametrize(
    ("host", "what", "command"),
    [
        ("one-gpu-missing-uvm", "/dev/nvidia-uvm", "sudo nvidia-modprobe -u -c 0"),
        (
            "no-nvidia-modprobe",
            "/dev/nvidia-uvm",
            "sudo nvidia-ctk system create-device-nodes --control-devices --load-kernel-modules",
        ),
        ("stale-uvm-major", "/dev/nvidia-uvm", "sudo rm /dev/nvidia-uvm && sudo nvidia-modprobe -u -c 0"),
        (
            "mig-missing-cap",
            "/dev/nvidia-caps/nvidia-cap202",
            "sudo nvidia-modprobe -f /proc/driver/nvidia/capabilities/gpu1/mig/gi7/ci0/access",
        ),
        (
            "lxc-guest-missing-uvm",
            "/dev/nvidia-uvm",
            "sudo nvidia-modprobe -u -c 0  # on the host; then there: `sudo pct set GUEST --devN /dev/nvidia-uvm`",
        ),
        (
            "docker-container",
            "/dev/nvidia-uvm",
            "sudo nvidia-modprobe -u -c 0  # on the host; then there: start this container with --device /dev/nvidia-uvm",
        ),
        ("no-driver", "the NVIDIA driver", "sudo modprobe nvidia  # `gpudoctor doctor` says what keeps it from its GPUs"),
        ("wsl2-no-dxg", "/dev/dxg", "wsl --update && wsl --shutdown  # on Windows, whose NVIDIA driver makes it"),
    ],
)
def test_what_is_missing_and_the_command_that_makes_it(host: str, what: str, command: str):
    """Each missing node is named with the command that makes it there, for the place where it has to be made."""
    assert [(each.what, each.command) for each in selected(host).missing] == [(what, command)]


def test_every_kind_of_node_has_its_own_command():
    """A GPU's node goes by its minor, the control node by 255, nvidia-modeset by -m."""
    chosen = selected("one-gpu-no-nodes", "all", "compute,display")
    assert [(each.what, each.command) for each in chosen.missing] == [
        ("/dev/nvidia0", "sudo nvidia-modprobe -c 0"),
        ("/dev/nvidiactl", "sudo nvidia-modprobe -c 255"),
        ("/dev/nvidia-modeset", "sudo nvidia-modprobe -m"),
    ]


def test_a_stale_node_is_not_given():
    """A node with a major that is no longer nvidia-uvm's leads nowhere; the tools' node goes the same way without being needed."""
    chosen = selected("stale-uvm-major")
    assert nodes(chosen) == ["nvidia0", "nvidiactl"]
    assert [each.what for each in chosen.missing] == ["/dev/nvidia-uvm"]
    assert "the kernel's nvidia-uvm is 507 now" in chosen.missing[0].why


@pytest.mark.parametrize(
    ("purposes", "wanted"),
    [
        ("compute", ["nvidia1", *CUDA]),
        ("graphics", ["nvidia1", "nvidiactl", "nvidia-modeset", "dri/card1", "dri/renderD129"]),
        ("video", ["nvidia1", *CUDA, "dri/card1", "dri/renderD129"]),
        ("display", ["nvidia1", "nvidiactl", "nvidia-modeset"]),
        ("compute,graphics,video,display", ["nvidia1", *CUDA, "nvidia-modeset", "dri/card1", "dri/renderD129"]),
    ],
)
def test_what_each_purpose_adds(purposes: str, wanted: list[str]):
    """nvidia-uvm for CUDA, nvidia-modeset for display, and the DRM nodes of the same card alone for graphics and video."""
    assert nodes(selected("graphics-three-cards", "1", purposes)) == wanted


def test_drm_nodes_are_those_of_the_chosen_cards():
    """The nodes of Intel's card and of the other NVIDIA card are left out, each with the reason."""
    why = {node.path.removeprefix("/dev/dri/"): node.why for node in selected("graphics-three-cards", "0", "graphics").nodes}
    assert why["card0"] == why["renderD128"] == "of no NVIDIA GPU"
    assert why["card2"] == why["renderD130"] == "graphics on GPU 0"
    assert why["card1"] == why["renderD129"] == "of GPU 1, which was not asked for"


def test_a_drm_node_that_sysfs_has_and_dev_has_not_is_missing():
    """A render node that the kernel has and udev has not made is needed for graphics and not for compute."""
    assert [each.what for each in selected("graphics-missing-render", "1", "graphics").missing] == ["/dev/dri/renderD129"]
    assert not selected("graphics-missing-render", "0", "graphics").missing
    assert not selected("graphics-missing-render", "1").missing


def test_a_guest_counts_the_gpus_that_it_was_given():
    """An LXC guest sees both GPUs in /proc and has the node of one: that one is its index 0, and `all` is it."""
    chosen = selected("lxc-guest-second-gpu-only")
    assert (chosen.kind, nodes(chosen)) == ("guest", ["nvidia1", *CUDA])
    assert nodes(selected("lxc-guest-second-gpu-only", "0")) == nodes(chosen)
    assert not chosen.missing


def test_wsl_has_one_node_for_all():
    """WSL2 gives /dev/dxg and the folder of the libraries; one GPU of several cannot be given."""
    chosen = selected("wsl2")
    assert (nodes(chosen), chosen.mounts) == (["dxg"], ("/usr/lib/wsl:/usr/lib/wsl:ro",))
    with pytest.raises(Refused, match="one node for every GPU of Windows"):
        selected("wsl2", "1")


def test_jetson_gives_what_its_lists_name():
    """A Jetson's nodes are those of the toolkit's lists that are there; without lists it is refused, as is a second GPU."""
    chosen = nodes(selected("jetson"))
    assert {"nvmap", "nvhost-gpu", "nvgpu/igpu0/as"} <= set(chosen)
    assert not [path for path in chosen if path.startswith("dri/")]
    assert {"dri/card0", "dri/renderD128"} <= set(nodes(selected("jetson", "0", "graphics")))
    with pytest.raises(Refused, match="stand in lists"):
        selected("jetson-no-lists")
    with pytest.raises(Refused, match="has one GPU"):
        selected("jetson", "1")


def test_no_gpu_is_refused_and_a_silent_host_is_not_told():
    """A host without a GPU is refused; one whose driver files cannot be read raises NoAnswer, never an empty selection."""
    with pytest.raises(Refused, match="no NVIDIA GPU"):
        selected("no-gpu")
    with pytest.raises(NoAnswer):
        selected("proc-unreadable")


@pytest.mark.parametrize("path", sorted(HOSTS.glob("*.host")), ids=lambda path: path.stem)
def test_every_decision_has_a_reason_and_no_chosen_node_is_absent(path):
    """On every fixture host each node says why it is in or out, once, and only nodes that are there are chosen."""
    try:
        chosen = selected(path.stem, "all", "compute,graphics,video,display")
    except (Refused, NoAnswer):
        return
    there = facts(path.stem).host
    assert len({node.path for node in chosen.nodes}) == len(chosen.nodes)
    for node in chosen.nodes:
        assert node.why
        assert there.stat(node.path).rdev == (node.major, node.minor)
