"""What the tests of a bundle's call share: a host with a GPU, one call as the program makes it, and a stand-in for BentoML.

The stand-in is a package of the same name on PYTHONPATH that does what a test writes into it: hang, crash, lie, look around. So these
tests need no framework, and take a tenth of a second each; what the real ones do is in ``test_real.py`` and ``test_frameworks.py``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from gpudoctor.bundle import Api, Bundle, call
from gpudoctor.bundle.files import Files
from gpudoctor.facts import Facts
from gpudoctor.host.hostfile import load
from gpudoctor.smoke import run

ROOT = Path(__file__).parent.parent.parent
HOST = ROOT / "fixtures" / "hosts" / "ubuntu-22.04-a10g-hook.host"
"""One A10G (8.6), driver 535: CUDA 12.2."""
NO_GPU = """A machine without a GPU.
-- /proc/bus/pci/devices --
-- /sys/bus/pci/devices -- dir
-- /dev -- dir
"""
ECHO = "    return json.loads(body)"
"""The body of an API that answers with what it is asked."""
TYPES = """
class HTTPRequest:
    def __init__(self, headers, body):
        self.headers, self.body = headers, body
class Response:
    def __init__(self, body, status=200):
        self.body, self.status = body, status
"""
SERVICE = """
import json, os, subprocess, sys, time
from bentoml.types import Response

class Api:
    name = "predict"
    def handle_request(self, request):
        made = predict(request.body.decode())
        return made if isinstance(made, Response) else Response(json.dumps(made).encode())

class Service:
    inference_apis = [Api()]
    def get_inference_api(self, name):
        return Api() if name == "predict" else None

"""


SERVER = """
import http.server, json, os, subprocess, sys, time
port = int(sys.argv[sys.argv.index("--port") + 1])
{before}

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        {get}

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        {post}

    def log_message(self, *words):
        pass

http.server.HTTPServer(("0.0.0.0" if "serve-gunicorn" in sys.argv else "127.0.0.1", port), Handler).serve_forever()
"""
WELL, ECHOES = 'self.answer(200, b"ok")', "self.answer(200, body)"


def facts(host: Path = HOST) -> Facts:
    """Return the facts of a host that has a GPU, or of another one."""
    return Facts(load(str(host)))


def bundle(folder: Path, layout: str = "bentoml-0.13", example: str = '{"text": "a"}') -> Bundle:
    """Return a bundle with one API, in a folder that has a file."""
    folder.mkdir(exist_ok=True)
    (folder / "bentoml.yml").write_text("kind: BentoService\n")
    return Bundle(layout, str(folder), str(folder), name="Standing", apis=(Api("predict", "predict", "JsonInput", (), example),))


def stand_in(folder: Path, predict: str, load_: str = "    return Service()\n", main: str = "") -> str:
    """Write the stand-in for BentoML; ``predict`` is the body of the API, ``load_`` that of ``load(path)``; return its PYTHONPATH."""
    package = folder / "path" / "bentoml"
    package.mkdir(parents=True)
    (package / "types.py").write_text(TYPES)
    (package / "__init__.py").write_text(f"{SERVICE}def predict(body):\n{predict}\n\ndef load(path):\n{load_}")
    (package / "__main__.py").write_text(main)
    return str(package.parent)


def called(made: Bundle, **want: Any) -> call.Called:
    """Call a bundle with the Python of these tests, on the CPU unless another device is asked for."""
    asked = {"python": sys.executable, "device": "cpu", "timeout": 20.0, **want}
    return call.call(facts(), made, Files(made.root), asked.pop("checks", ()), call.Wanted(**asked), lambda *_: None)


def gone(pid: int) -> bool:
    """Say whether a process has ended, waiting a moment for it."""
    for _ in range(40):
        stat = run._stat(pid)
        if stat is None or stat[0] == b"Z":
            return True
        time.sleep(0.05)
    return False


def server(get: str = WELL, post: str = ECHOES, before: str = "") -> str:
    """Return the program of a server."""
    return SERVER.format(get=get, post=post, before=before)
