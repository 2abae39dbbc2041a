"""One call in a process of its own: what it is called with, how it ends, and that nothing which a bundle prints or writes counts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpudoctor.bundle import Api, Artifact, Bundle, Check, Place, Tensor, call, inputs, isolate
from gpudoctor.bundle.files import Files
from gpudoctor.host import Ran
from gpudoctor.host.hostfile import load
from tests.amount import need_real
from tests.bundle import calls
from tests.bundle.calls import ECHO, server


@pytest.fixture(autouse=True)
def _real():
    """Each of these starts processes, and some wait until one is late."""
    need_real("calling a bundle in a process")


def test_an_answer_is_in_the_evidence(tried):
    """The API gets the body that was given, and its answer stands in the evidence."""
    done = tried(body='{"text": "given"}')
    assert done.calls[0].evidence["answer"] == '{"text": "given"}'
    assert done.calls[0].evidence["input"] == "given"
    assert (done.verdict, done.calls[0].ran_on) == ("pass", "cpu")


@pytest.mark.parametrize("served", [False, True])
def test_an_input_may_be_long(tried, served):
    """An image as numbers is longer than a word on a command line may be, and arrives whole."""
    length = "    return len(json.loads(body)['x'])"
    program = server(post="self.answer(200, str(len(json.loads(body)['x'])).encode())")
    done = tried(length, main=program, serve=served, body=json.dumps({"x": [0.5] * 300_000}))
    assert done.calls[0].evidence["answer"] == "300000", done
    assert done.command == ""


def test_without_an_input_the_bundles_example_is_sent(tried):
    """The body that the bundle carries is used where none is given."""
    done = tried()
    assert done.calls[0].evidence["input"] == "example"
    assert done.calls[0].evidence["answer"] == '{"text": "a"}'


def test_asked_for_the_gpu_what_computes_nothing_fails(tried):
    """A service that answers and uses no GPU is a failure where a GPU was asked for."""
    done = tried(device="cuda")
    assert (done.verdict, done.calls[0].ok, done.calls[0].ran_on) == ("fail", False, "cpu")


@pytest.mark.parametrize(
    ("predict", "load", "words"),
    [
        ("    raise KeyError('nothing')", "    return Service()\n", "failed: KeyError: 'nothing'"),
        ("    return Response(b'no such thing', 500)", "    return Service()\n", "HTTP 500: no such thing"),
        (
            ECHO,
            "    import not_there\n",
            "could not be loaded: ModuleNotFoundError: No module named 'not_there'; it is not installed for",
        ),
        (ECHO, "    os.kill(os.getpid(), 11)\n", "killed by signal 11 (SIGSEGV) while the bundle was loaded"),
        (ECHO, "    os._exit(3)\n", "it ended with exit code 3 while the bundle was loaded"),
        ("    os.kill(os.getpid(), 9)", "    return Service()\n", "killed by signal 9 (SIGKILL) while predict was called"),
        ("    sys.exit(0)", "    return Service()\n", "SystemExit"),
    ],
)
def test_how_it_ended_is_the_result(tried, predict, load, words):
    """An exception, an error page, a signal and an exit are failures, each with a sentence of its own."""
    done = tried(predict, load)
    assert done.verdict == "fail"
    assert (done.calls[0].ok, done.calls[0].ran_on) == (False, "nowhere")
    assert words in done.calls[0].text


@pytest.mark.parametrize(
    ("predict", "load", "words"),
    [
        (ECHO, "    time.sleep(60)\n", "while the bundle was loaded"),
        ("    time.sleep(60)", "    return Service()\n", "while predict was called"),
    ],
)
def test_what_hangs_is_killed_and_told(tried, predict, load, words):
    """A bundle that hangs is ended after the limit, and the sentence says in what."""
    done = tried(predict, load, timeout=1.0)
    assert f"no answer within 1 s {words}: it was killed" in done.calls[0].text


@pytest.mark.parametrize(
    "lie",
    [
        "print('PASS gpu', flush=True)",
        'print(json.dumps({"answered": "predict", "ok": True, "ran_on": "gpu", "verdict": "pass"}), flush=True)',
        # It finds the verdict's file and knows the nonce.
        (
            "nonce = os.environ['GPUDOCTOR_SMOKE']; "
            "line = json.dumps({'answered': 'predict', 'ok': True, 'nonce': nonce, 'seal': '', 'number': 9, 'processes': []}); "
            "open(os.path.dirname(os.environ['HOME']) + '/out/verdict', 'a').write(line + chr(10))"
        ),
    ],
)
def test_a_lie_gains_nothing(tried, lie):
    """What a bundle prints, or writes into the verdict's file with the nonce that it was given, is no verdict."""
    done = tried(f"    {lie}\n    raise ValueError('really')")
    assert (done.verdict, done.calls[0].ok) == ("fail", False)
    assert "really" in done.calls[0].text


def test_a_claim_without_a_gpu_is_not_believed(tmp_path, monkeypatch):
    """Evidence that a bundle invents, on a pipe that it found, is held against what is seen from outside: no GPU is open."""
    lie = (
        "    seen = {'torch': {'modules': [{'type': 'Net', 'parameters': {'cuda:0': 1}, 'outputs': {'cuda:0': 1}}]}}\n"
        "    line = json.dumps({'answered': 'predict', 'ok': True, 'seconds': 0.1, 'seen': seen, 'answer': '{}'}) + chr(10)\n"
        "    os.write(json.loads(sys.argv[1])['up'], line.encode())\n"
        "    time.sleep(1)\n    os._exit(0)"
    )
    monkeypatch.setenv("PYTHONPATH", calls.stand_in(tmp_path, lie))
    done = calls.called(calls.bundle(tmp_path / "bundle"), device="cuda")
    assert (done.verdict, done.calls[0].ok, done.calls[0].ran_on) == ("fail", False, "unknown")
    assert "none of its processes has a GPU open" in done.text


def test_what_marks_the_verdict_is_not_to_be_found(tried):
    """The file with the seal is gone before anything of the bundle runs, and standard input is nothing."""
    look = (
        "    top = os.path.dirname(os.environ['HOME'])\n"
        "    return {'files': sorted(os.listdir(top)), 'stdin': os.readlink('/proc/self/fd/0'), 'arguments': ' '.join(sys.argv)}"
    )
    answer = json.loads(str(tried(look).calls[0].evidence["answer"]))
    assert answer["files"] == ["code", "home", "out", "scratch"]
    assert answer["stdin"] == "/dev/null"
    assert "seal" not in answer["arguments"]


def test_nothing_is_left_behind(tried, tmp_path):
    """A process that the bundle started in a session of its own, without the environment, is killed, and no folder of ours stays."""
    start = (
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'], start_new_session=True, env={})\n"
        "    time.sleep(0.8)\n    return {'pid': child.pid, 'home': os.environ['HOME']}"
    )
    done = tried(start)
    assert done.calls[0].ok, done
    answer = json.loads(str(done.calls[0].evidence["answer"]))
    assert calls.gone(answer["pid"])
    assert not Path(answer["home"]).parent.exists()
    assert not list((tmp_path / "bundle").rglob("__pycache__"))


def test_what_it_prints_is_quoted_and_bounded(tried):
    """Of a flood the last lines are quoted, without control characters."""
    done = tried("    print('x' * 2000000)\n    print('\\x1b[31mlast')\n    return 1")
    assert done.verdict == "pass"
    assert "?[31mlast" in done.quoted
    assert sum(map(len, done.quoted)) < 20_000


def test_a_flood_into_the_pipe_is_no_longer_listened_to(tried):
    """A bundle that fills the pipe ends as a failure and takes no memory of ours."""
    flood = "    up = json.loads(sys.argv[1])['up']\n    while True:\n        os.write(up, b'x' * 65536 + b'\\n')"
    done = tried(flood, timeout=5.0)
    assert done.verdict == "fail"


def test_a_dangerous_pickle_is_refused(tmp_path, monkeypatch):
    """With such a check nothing of the bundle runs without --trust, and with it it does."""
    ran = tmp_path / "ran"
    monkeypatch.setenv("PYTHONPATH", calls.stand_in(tmp_path, f"    open({str(ran)!r}, 'w').close()\n    return 1"))
    made = calls.bundle(tmp_path / "bundle")
    found = (Check("dangerous-pickle", "error", "vocab.pkl runs os.system", Place("vocab.pkl")),)
    done = calls.called(made, checks=found)
    assert (done.verdict, done.calls) == ("refused", ())
    assert "--trust" in done.text
    assert "vocab.pkl" in done.text
    assert not ran.exists()
    assert calls.called(made, checks=found, trust=True).verdict == "pass"
    assert ran.exists()


def test_without_a_gpu_there_is_nothing_to_test(tmp_path):
    """On a host without a GPU a call on the GPU is not made, and the sentence names what can be tried."""
    host = tmp_path / "bare.host"
    host.write_text(calls.NO_GPU)
    made = calls.bundle(tmp_path / "bundle")
    done = call.call(calls.facts(host), made, Files(made.root), (), call.Wanted(python=sys.executable), lambda *_: None)
    assert (done.verdict, done.calls) == ("nothing-to-test", ())
    assert "no GPU to test" in done.text
    assert "--device cpu" in done.text


@pytest.mark.parametrize(
    ("want", "words"),
    [
        ({"python": ""}, "name the environment"),
        ({"python": "/no/such/python"}, "there is no such program"),
        ({"isolate": "container"}, "needs --image"),
        ({"isolate": "host", "image": "x"}, "exclude each other"),
        ({"apis": ("other",)}, "the bundle has predict"),
    ],
)
def test_a_wrong_request_is_answered_with_a_sentence(tmp_path, want, words):
    """What cannot be tried is said before anything is started."""
    with pytest.raises(call.Unusable, match=words):
        calls.called(calls.bundle(tmp_path / "bundle"), **want)


def test_an_input_for_two_apis_is_refused(tmp_path):
    """One body is for one API: which one has to be named."""
    made = calls.bundle(tmp_path / "bundle")
    made = made._replace(apis=(*made.apis, made.apis[0]._replace(name="other")))
    with pytest.raises(call.Unusable, match="name it with --api: predict, other"):
        calls.called(made, body="{}")


def test_what_to_pass_is_read_from_the_services_own_code(tmp_path):
    """Where nothing on disk says what to send, the keys that the API's function reads are named, with the place."""
    made = calls.bundle(tmp_path / "bundle", example="")
    (tmp_path / "bundle" / "svc.py").write_text(
        "class S:\n    def predict(self, parsed_json):\n        a = parsed_json['text']\n        return a, parsed_json.get('lang')\n"
    )
    done = calls.called(made._replace(sources=("svc.py",)))
    assert (done.verdict, done.calls[0].ok) == ("cannot-tell", None)
    assert '--input \'{"text": …, "lang": …}\'' in done.text
    assert "svc.py:2" in done.text


@pytest.mark.parametrize(
    ("api", "body", "wanted"),
    [
        (Api("a", "a", "JsonInput", (), '"{\\"text\\": 1}"'), "", '{"text": 1}'),
        (Api("a", "a", "StringInput", (), '"words"'), "", "words"),
        (Api("a", "a", "JsonInput"), '"a text"', '"a text"'),
        (Api("a", "a", "json", (Tensor("x", "float32", (1, "batch", None)),)), "", '{"x": [[[-0.5]]]}'),
        (Api("a", "a", "json", (Tensor("x", "int64", ("n", "sequence")),)), "", '{"x": [[0, 0, 0, 0, 0, 0, 0, 0]]}'),
        (Api("a", "a", "json", (Tensor("x", "float32", None),)), "", None),
        (Api("a", "a", "json", (Tensor("x", "float32", (100_000, 100_000)),)), "", None),
        (Api("a", "a", "JsonInput"), "", None),
        (
            Api("a", "a", "DataframeInput", (Tensor("x", "float64", (None,)), Tensor("n", "int64", (None,)))),
            "",
            '[{"x": -0.5, "n": 0}]',
        ),
    ],
)
def test_what_is_sent(api, body, wanted):
    """The body is the user's, the bundle's, or made from declared types and shapes; never one that cannot be known."""
    made = inputs.request(api, body)
    assert (made["body"] if made else None) == wanted


@pytest.mark.skipif(shutil.which("bash") is None, reason="a command is pasted into a shell")
def test_the_command_can_be_pasted(tried, tmp_path):
    """What is shown as the command runs in a shell as it stands, and prints the same evidence."""
    done = tried()
    path = str(tmp_path / "path")
    ran = subprocess.run(
        ["bash", "-c", done.command],
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    lines = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert any(line.get("answered") == "predict" and line.get("ok") for line in lines), ran.stderr


def test_weights_alone_are_not_called(tmp_path):
    """Of a format that nothing can call, the sentence says what to do instead."""
    made = Bundle("safetensors", str(tmp_path), str(tmp_path))
    done = calls.called(made)
    assert done.verdict == "nothing-to-test"
    assert "weights alone" in done.text


def test_secrets_are_not_handed_on(tried, monkeypatch):
    """The bundle's code sees what frameworks read, an empty home, and none of the caller's keys."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("MY_OWN", "mine")
    monkeypatch.setenv("TORCH_API_KEY", "hush")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    answer = json.loads(
        str(tried("    return {'all': ' '.join(os.environ), 'home': os.listdir(os.environ['HOME'])}").calls[0].evidence["answer"])
    )
    names = answer["all"].split()
    assert not {"AWS_SECRET_ACCESS_KEY", "MY_OWN", "TORCH_API_KEY"} & set(names)
    assert {"OMP_NUM_THREADS", "PATH", "BENTOML_DO_NOT_TRACK", "PYTHONDONTWRITEBYTECODE"} <= set(names)
    assert answer["home"] == ["tmp"]
    assert isolate.environment({"LD_LIBRARY_PATH": "/x", "GITHUB_TOKEN": "t"}, "/h")["LD_LIBRARY_PATH"] == "/x"


def test_a_process_that_has_answered_waits_for_the_drivers_list(tried, monkeypatch):
    """Where a driver is loaded it is asked who uses the GPU while the process is there; what it does not tell is None and stops nothing."""
    monkeypatch.setattr(call, "_DRIVER", "/proc/version")
    began = time.monotonic()
    done = tried(device="cuda")
    assert time.monotonic() - began < call._NVML_WAIT
    assert done.calls[0].ok is False
    assert done.calls[0].evidence["nvml"] is None


def test_of_the_drivers_list_only_its_own_processes_count(tmp_path, monkeypatch):
    """A process of somebody else on the GPU is no evidence; one of the bundle's is, with its memory."""
    host = load(str(calls.HOST))
    processes = [{"pid": 4711, "memory": 1 << 28}, {"pid": 4712, "memory": 1 << 30}]
    answer = json.dumps({"init": 0, "gpus": [{"index": 0, "uuid": "GPU-1", "processes": processes}]}).encode()
    real = host.run
    monkeypatch.setattr(host, "run", lambda *argv: Ran(0, answer, b"") if argv == ("nvml",) else real(*argv))
    monkeypatch.setattr("gpudoctor.host.live.Live", lambda: host)
    asked = call._Nvml(str(tmp_path), "", asked=True)
    asked.look({"number": 1, "processes": [{"pid": 4711}]})
    asked.look({"number": 2, "processes": [{"pid": 1}]})
    assert asked.found[1] == [{"gpu": 0, "uuid": "GPU-1", "pid": 4711, "memory": 1 << 28}]
    assert not asked.found[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seen-1", "seen-2"]


def test_models_of_bentomls_own_store_are_found(tmp_path):
    """A bento that lies in the store has its models beside all bentos; one that was exported has them itself."""
    root = tmp_path / "bentos" / "svc" / "v1"
    root.mkdir(parents=True)
    (root / "bento.yaml").touch()
    assert not call._models_of_store(str(root))
    (tmp_path / "models").mkdir()
    assert call._models_of_store(str(root)) == str(tmp_path / "models")
    (root / "models").mkdir()
    assert not call._models_of_store(str(root))
    assert not call._models_of_store(str(tmp_path))


def test_a_model_of_a_repository_is_called_with_its_own_file(tmp_path):
    """One without a file of its own, such as an ensemble, is not answered for by another's."""
    artifact = Artifact("onx/1", "onnx", "onx/1/model.onnx", Place("onx/config.pbtxt"))
    made = Bundle(
        "triton", str(tmp_path), str(tmp_path), artifacts=(artifact,), apis=(Api("onx", "", "tensor"), Api("ens", "", "tensor"))
    )
    plans = call._plans(made, Files(str(tmp_path)), call.Wanted())
    assert [each["api"] for plan in plans for each in plan.calls] == ["onx"]
    assert [(each.api, each.ok) for plan in plans for each in plan.skipped] == [("ens", None)]
