"""What the bundle's code cannot reach while it is called, and that it is said truly."""

from __future__ import annotations

import json
import os
import socket

import pytest

from gpudoctor.bundle import Check, Place, isolate
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
    """Where namespaces can be made, there is loopback alone, the bundle cannot be written, and the sentences say just that."""
    file = tmp_path / "bundle" / "bentoml.yml"
    done = tried(LOOK.format(file=str(file), session=os.getsid(0)))
    answer = json.loads(str(done.calls[0].evidence["answer"]))
    said = " ".join(done.isolation)
    assert answer["loopback"]
    assert (answer["core"], answer["privileges"], answer["session"], answer["user"]) == (0, ["1"], True, os.getuid())
    assert (answer["interfaces"] == ["lo"]) == ("It had no network" in said)
    assert answer["wrote"] == ("It could write into the bundle" in said)
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
    words = isolate.words(container, "name", "/tmp/top", "/srv/bundle", {"HOME": "/tmp/h"})
    text = " ".join(words)
    assert text.startswith("docker run --rm --interactive --name name --network none ")
    assert "/srv/bundle:/gpudoctor-bundle:ro" in words
    assert "/tmp/top/code:/gpudoctor-code:ro" in words
    assert "--cap-drop ALL" in text
    assert "no-new-privileges" in words
    assert "--pids-limit" in words
    assert "--memory" in words
    assert "HOME=/tmp/h" in words
    assert words[-3:] == ("--entrypoint=/opt/python", "the/image:1", "-")
    assert "--publish" not in text


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
