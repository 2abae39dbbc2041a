"""What the bundle's code cannot reach while it is called, and that it is said truly."""

from __future__ import annotations

import csv
import json
import os
import socket
from pathlib import Path

import pytest

from gpudoctor.bundle import Check, Place, call, isolate
from gpudoctor.smoke.image import Container
from tests.bundle import calls

LOOK = """
    import socket
    found = {{}}
    try:
        open({file!r}, "a").close()
        found["wrote"] = True
    except OSError as error:
        found["wrote"] = False
    found["interfaces"] = [name for _, name in socket.if_nameindex()]
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    socket.create_connection(server.getsockname(), 2).close()
    found["loopback"] = True
    found["user"] = os.getuid()
    import resource
    found["core"] = resource.getrlimit(resource.RLIMIT_CORE)[0]
    with open("/proc/self/status") as status:
        found["privileges"] = [line.split()[1] for line in status if line.startswith("NoNewPrivs")]
    found["session"] = os.getsid(0) != {session}
    return found
"""


def test_on_the_host_it_is_what_is_said(tried, tmp_path):
    """Where namespaces can be made, there is loopback alone, the bundle cannot be changed, and the sentences say just that."""
    file = tmp_path / "bundle" / "bentoml.yml"
    calls.bundle(tmp_path / "bundle")
    before = file.read_bytes()
    done = tried(LOOK.format(file=str(file), session=os.getsid(0)))
    answer = json.loads(str(done.calls[0].evidence["answer"]))
    said = " ".join(done.isolation)
    assert answer["loopback"]
    assert (answer["core"], answer["privileges"], answer["session"], answer["user"]) == (0, ["1"], True, os.getuid())
    assert (answer["interfaces"] == ["lo"]) == ("It had no network" in said)
    assert answer["wrote"] == ("thrown away" in said or "It could write into the bundle" in said)
    assert (file.read_bytes() == before) == ("It could write into the bundle" not in said)
    assert ("as root" in said) == (os.getuid() == 0)
    assert "ran on this host" in said


def test_the_callers_own_network_is_untouched(tried):
    """The namespace is the bundle's alone: this process keeps its interfaces and its loopback."""
    before = socket.if_nameindex()
    tried()
    assert socket.if_nameindex() == before


@pytest.mark.parametrize("severity", ["error", "warning", "unknown"])
def test_what_may_be_dangerous_is_refused(severity):
    """A pickle that is dangerous, or of which that could not be told, is not loaded without trust; a hint does not refuse."""
    found = [Check("dangerous-pickle", severity, "x.pkl calls os.system.", Place("x.pkl"))]
    assert "--trust" in isolate.refused(found, trust=False, container=False)
    assert "--image" in isolate.refused(found, trust=False, container=False)
    assert "--image" not in isolate.refused(found, trust=False, container=True)
    assert not isolate.refused(found, trust=True, container=False)
    assert not isolate.refused([found[0]._replace(severity="hint")], trust=False, container=False)
    assert not isolate.refused([found[0]._replace(check="saved-on-cuda")], trust=False, container=False)


def test_a_container_has_no_network_and_cannot_write_the_bundle():
    """The words of docker run: no network, read-only mounts, no capabilities to speak of, limits; the user's own words come last."""
    container = Container("the/image:1", ("--entrypoint=/opt/python",), ("--gpus", "all"))
    words = isolate.words(container, "name", "/tmp/top", isolate.mounts("/srv/bundle", ()), {"HOME": "/tmp/h"})
    text = " ".join(words)
    assert text.startswith("docker run --rm --interactive --name name --network none ")
    assert words[words.index("--mount") + 1] == "type=bind,source=/srv/bundle,target=/gpudoctor-bundle,readonly"
    assert "/tmp/top/code:/gpudoctor-code:ro" in words
    assert "--cap-drop ALL" in text
    assert "no-new-privileges" in words
    assert "--pids-limit" in words
    assert "--memory" in words
    assert "HOME=/tmp/h" in words
    assert words[-3:] == ("--entrypoint=/opt/python", "the/image:1", "-")
    assert "--publish" not in text


def test_a_path_with_a_comma_or_a_quote_is_quoted():
    """The words of a mount are a line of CSV: what has its signs is quoted as that is."""
    words = isolate.words(Container("i", (), ()), "name", "/t", isolate.mounts('/a,b/c"d:e', ()), {})
    wanted = {"type": "bind", "source": '/a,b/c"d:e', "target": "/gpudoctor-bundle"}
    read = next(csv.reader([words[words.index("--mount") + 1]]))
    assert {name: value for name, _, value in (field.partition("=") for field in read) if value} == wanted


def test_a_file_that_is_a_link_is_shown_as_itself(tmp_path):
    """In a cache of models a file and its weights are links to elsewhere: both are mounted, and nothing else of the folders."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    for name in ("model.onnx", "model.onnx_data", "tokenizer.json"):
        (tmp_path / "blobs" / f"0-{name}").write_text(name)
        (tmp_path / "snapshot" / name).symlink_to(f"../blobs/0-{name}")
    shown = isolate.mounts(str(tmp_path / "snapshot"), ("model.onnx",))
    assert shown == tuple(
        (str(tmp_path / "blobs" / f"0-{name}"), f"/gpudoctor-bundle/{name}") for name in ("model.onnx", "model.onnx_data")
    )
    (tmp_path / "plain.onnx").write_text("")
    assert isolate.mounts(str(tmp_path), ("plain.onnx",)) == ((str(tmp_path), "/gpudoctor-bundle"),)


def test_only_limits_that_were_seen_are_claimed():
    """Docker drops a limit for which the kernel has no controller, and goes on: then the sentence says that there is none."""
    said = " ".join(isolate.in_container({"memory": 3 << 30, "pids": 4096}))
    assert "It had at most 4096 processes and 3.0 GiB of memory." in said
    assert "No limit" not in said
    said = " ".join(isolate.in_container({"pids": 4096}))
    assert "It had at most 4096 processes. No limit of memory is seen in it" in said
    assert isolate.in_container(None) == ()


def test_a_containers_user_can_read_the_programs(tmp_path, monkeypatch):
    """Installed under a mask of 077 they are the installer's alone; the copies that a container is shown are everybody's."""
    source = tmp_path / "probes"
    (source / "site").mkdir(parents=True)
    for name in ("worker.py", "site/sitecustomize.py"):
        (source / name).write_text("")
        (source / name).chmod(0o600)
    (source / "site").chmod(0o700)
    monkeypatch.setattr(call, "PROBES", str(source))
    (tmp_path / "top").mkdir()
    code = Path(call._folders(str(tmp_path / "top")))
    modes = {str(path.relative_to(code)): path.stat().st_mode & 0o777 for path in (code, *code.rglob("*"))}
    assert modes == {".": 0o755, "site": 0o755, "worker.py": 0o644, "site/sitecustomize.py": 0o644}


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_what_a_bundle_puts_where_it_is_nodded_to_is_left_alone(kind, tmp_path):
    """In a container the bundle can make a link of that name: the file that it leads to on this host is not written."""
    (tmp_path / "victim").write_text("kept")
    if kind == "link":
        (tmp_path / "seen-1").symlink_to(tmp_path / "victim")
    else:
        os.mkfifo(tmp_path / "seen-1")
    nvml = call._Nvml(str(tmp_path), "some-container", asked=True)
    nvml.look({"number": 1, "processes": []})
    nvml.look({"number": 2, "processes": []})
    assert (tmp_path / "victim").read_text() == "kept"
    assert (tmp_path / "seen-2").is_file()


def test_without_namespaces_the_sentence_says_so():
    """Where no namespace could be made, it is not claimed, and the reason is the kernel's."""
    said = " ".join(
        isolate.on_host(
            {"network": "unshare: Operation not permitted", "read_only": "unshare: Operation not permitted"}, root=False
        )
    )
    assert "It could use the network: no namespace could be made (unshare: Operation not permitted)" in said
    assert "It could write into the bundle" in said
    assert "root" not in said
    assert calls.HOST.exists()


def test_a_service_may_write_beside_its_code(tried, tmp_path):
    """A file that a service writes into its own folder, and reads again, is there for it, and gone when it ends; what was there stays."""
    root = tmp_path / "bundle"
    write = (
        f"    path = {str(root / 'cache.txt')!r}\n"
        "    with open(path, 'w') as file:\n        file.write('kept')\n"
        f"    os.unlink({str(root / 'bentoml.yml')!r})\n"
        "    return open(path).read()"
    )
    done = tried(write)
    if "thrown away" not in " ".join(done.isolation):
        pytest.skip("no file system can be laid over another here")
    assert json.loads(str(done.calls[0].evidence["answer"])) == "kept"
    assert [each.name for each in root.iterdir()] == ["bentoml.yml"]


def test_a_folder_that_cannot_be_written_is_said_to_be_ours(tried, tmp_path, monkeypatch):
    """Where the bundle is mounted read-only, a service that fails on that is told from one that fails by itself."""
    monkeypatch.setattr(call, "_folders", lambda top, made=call._folders: (made(top), os.rmdir(os.path.join(top, "scratch")))[0])
    done = tried(f"    open({str(tmp_path / 'bundle' / 'cache.txt')!r}, 'w')")
    if "mounted read-only" not in " ".join(done.isolation):
        pytest.skip("no namespaces here")
    assert "gpudoctor shows it the bundle read-only" in done.text
