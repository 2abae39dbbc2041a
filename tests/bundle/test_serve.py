"""A bundle's own server: that it says it is well is no result, one that never becomes ready is told apart, and all of it is stopped."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from gpudoctor.bundle import call, serve
from tests.amount import need_real
from tests.bundle import calls
from tests.bundle.calls import server


@pytest.fixture(autouse=True)
def _real():
    """Each of these starts a server, and some wait until it is late."""
    need_real("a bundle's own server")


ORT = """
import json, tempfile
__version__ = "1.23.2"
class SessionOptions: pass
def get_available_providers(): return ["CUDAExecutionProvider", "CPUExecutionProvider"]
class InferenceSession:
    def __init__(self, model, options=None, providers=None): pass
    def get_providers(self): return ["CPUExecutionProvider"]
    def get_outputs(self): return []
    def run(self, names, feed): return []
    def end_profiling(self):
        file = tempfile.NamedTemporaryFile("w", suffix=".json", delete=False)
        node = {"cat": "Node", "name": "y_kernel_time", "args": {"provider": "CPUExecutionProvider", "op_name": "MatMul"}}
        json.dump([node], file)
        file.close()
        return file.name
"""


def test_it_is_asked_over_http(tried):
    """The server is started, asked at the API's route, and its answer is in the evidence."""
    done = tried(main=server(), serve=True)
    assert (done.verdict, done.calls[0].ok) == ("pass", True), done
    assert done.calls[0].evidence["answer"] == '{"text": "a"}'


def test_being_healthy_is_no_result(tried):
    """A server whose health check answers 200 and whose API answers 500 has failed."""
    done = tried(main=server(post='self.answer(500, b"cannot load the model")'), serve=True)
    assert (done.verdict, done.calls[0].ok) == ("fail", False)
    assert "HTTP 500: cannot load the model" in done.text


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (server(get='self.answer(503, b"")'), "the server answered 503 at /healthz for"),
        (server(get="time.sleep(60)"), "the server takes the connection and does not answer for"),
        ("import time; time.sleep(60)", "the server does not listen for"),
        (
            "import sys; print('no module'); sys.exit(3)",
            "the server ended with exit code 3 before it was ready; its last words: no module",
        ),
        (server(post="os._exit(1)"), "the server ended with exit code 1"),
        (server(post="time.sleep(60)"), "takes the connection and does not answer"),
        (server(post="self.connection.close()"), "the server breaks the connection off"),
    ],
)
def test_each_way_of_not_answering_has_its_sentence(tried, program, words):
    """503 for ever, a hang, an exit and a crash in the API are failures that are told apart, and none is waited for without end."""
    done = tried(main=program, serve=True, timeout=3.0)
    assert (done.verdict, done.calls[0].ok) == ("fail", False)
    assert words in done.text
    assert "was never ready" in done.text or "before" in done.text or "POST" in done.text


def test_a_worker_that_cannot_start_is_not_waited_for(tried):
    """A server that starts its worker again and again is told as that, long before the limit."""
    again = "print('ERROR: Application startup failed. Exiting.', flush=True)"
    done = tried(main=server(get="time.sleep(60)", before=again), serve=True, timeout=60.0)
    assert done.verdict == "fail"
    assert "its worker could not start" in done.text


@pytest.mark.parametrize("given", [True, False])
def test_a_refused_input_is_not_the_bundles_fault(tried, given):
    """An API that refuses the input that was given leaves it open; one that refuses the bundle's own example fails."""
    refusing = server(post="self.answer(400, b'no such key')")
    done = tried(main=refusing, serve=True, **({"body": "{}"} if given else {}))
    assert (done.verdict, done.calls[0].ok) == (("cannot-tell", None) if given else ("fail", False))
    assert "no such key" in done.text


def test_every_process_of_it_is_stopped(tried, tmp_path):
    """A worker in a session of its own is killed with the server."""
    start = (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'], start_new_session=True)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))"
    )
    done = tried(main=server(before=start), serve=True)
    assert done.verdict == "pass"
    assert calls.gone(int((tmp_path / "pid").read_text()))


def test_the_hooks_are_in_the_servers_processes(tried, tmp_path):
    """A stand-in for ONNX Runtime in the server's process tells its nodes, though the answer has none of it."""
    package = tmp_path / "path" / "onnxruntime"
    done_before = "import onnxruntime\nsession = onnxruntime.InferenceSession('m.onnx', providers=['CUDAExecutionProvider'])"
    program = server(post="session.run(None, {}); self.answer(200, body)", before=done_before)
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(ORT)
    done = tried(main=program, serve=True)
    frameworks = done.calls[0].evidence["frameworks"]
    assert frameworks["onnxruntime"]["sessions"][0]["nodes"] == {"CPUExecutionProvider": 1}
    assert done.calls[0].ran_on == "cpu"


def test_a_format_without_a_server_is_refused(tmp_path):
    """A plain model has no server of its own: the sentence says what is done without --serve."""
    with pytest.raises(call.Unusable, match="has no server of its own"):
        calls.called(calls.bundle(tmp_path / "bundle", "onnx"), serve=True)


def test_a_server_that_listens_everywhere_needs_a_namespace():
    """BentoML 0.13's servers cannot be told where to listen; that of 1.x is told the loopback."""
    made = calls.Bundle("bentoml-0.13", "/x", "/x")
    assert serve.needs_namespace(made)
    assert not serve.needs_namespace(made._replace(format="bentoml-1"))
    words = serve.settings(made._replace(format="bentoml-1"), call.Wanted())["argv"]
    assert words[words.index("--host") + 1] == "127.0.0.1"


def test_without_a_namespace_it_is_not_started(tmp_path):
    """The collector does not start a server that would listen on every address of this host."""
    collector = calls.ROOT / "gpudoctor" / "bundle" / "probes" / "collector.py"
    settings = {
        "program": "serve_probe.py",
        "code": str(collector.parent),
        "worker": {},
        "namespaces": False,
        "needs_network": True,
    }
    with collector.open("rb") as script:
        ran = subprocess.run(
            [sys.executable, "-", json.dumps(settings)], stdin=script, capture_output=True, cwd=tmp_path, timeout=30, check=True
        )
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    failed = next(line for line in lines if line.get("failed"))
    assert "listens on every address" in failed["text"]
    assert lines[-1]["end"]
