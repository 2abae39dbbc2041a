"""The bundle's own server, started on the loopback of this network namespace, asked over HTTP, and left for the collector to be ended.

This process runs nothing of the bundle: what it tells of frameworks it reads from files that the server's processes write.
That a health check answers is no result: it does so with a model that cannot be loaded.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time

from gpudoctor_evidence import Failed, Told, asked, has_null, parsed, png, said, unsound, visible  # type: ignore[import-not-found]

STARTUP_FAILED = (b"Application startup failed", b"Worker failed to boot")
"""What uvicorn and gunicorn print; these words end the waiting sooner and decide nothing else."""
GRACE = 3.0  # seconds for a server whose worker failed to start, and which may yet recover


class Server:
    """The server's process, what it printed last, and how often a worker of it could not start."""

    def __init__(self, argv, environment):
        """Start it."""
        self.failed = 0
        self.first = None
        self.last = []
        self.process = subprocess.Popen(  # noqa: S603 - the bundle's own server, because the user asked for it
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout or ():
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
            self.last = ([*self.last, line.decode("utf-8", "replace").strip()[:300]])[-60:]
            if any(words in line for words in STARTUP_FAILED):
                self.failed += 1
                self.first = self.first or time.monotonic()


def ask(port, method, path, body, headers, timeout):
    """Return a request's status and body; None and what went wrong where there is no answer in time."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(32 << 20)
    except socket.timeout:  # noqa: UP041 - they are one since Python 3.10
        return None, b"takes the connection and does not answer"
    except ConnectionRefusedError:
        return None, b"does not listen"
    except (OSError, http.client.HTTPException) as error:
        return None, f"breaks the connection off ({type(error).__name__})".encode()
    finally:
        connection.close()


def ready(server, settings):
    """Wait until the server says that it is ready; return "" or why it is not."""
    until = time.monotonic() + settings["timeout"]
    began, how = time.monotonic(), "was not asked yet"
    while time.monotonic() < until:
        code = server.process.poll()
        if code is not None:
            return f"the server ended with exit code {code} before it was ready{words(server)}"
        status, body = ask(settings["port"], "GET", settings["ready"], None, {}, 2.0)
        if status == 200:
            return ""
        how = "answered {} at {}".format(status, settings["ready"]) if status else body.decode()
        if server.failed and time.monotonic() - server.first > GRACE:
            return "its worker could not start, is started again and again, and {} {}{}".format("the server", how, words(server))
        time.sleep(0.1)
    return f"the server {how} for {time.monotonic() - began:.0f} s and was never ready{words(server)}"


def words(server):
    """Return the last error that the server printed, or its last line, as a quotation."""
    time.sleep(0.1)
    printed = [line for line in server.last if line]
    errors = [line for line in printed if line.split(" ")[0].endswith(("Error:", "Exception:", "Failure:"))]
    return f"; its last words: {(errors or printed)[-1]}" if printed else ""


def known(folder):
    """Return what each of the server's processes has told of its frameworks."""
    found = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            try:
                with open(os.path.join(folder, name)) as file:
                    found[name[:-5]] = json.load(file)
            except (OSError, ValueError):
                continue
    return found


def since(before, now):
    """Return what ran between two looks, of all processes together."""
    merged: dict[str, dict[str, list[object]]] = {}
    for pid, frameworks in now.items():
        for name, one in frameworks.items():
            earlier = before.get(pid, {}).get(name, {})
            into = merged.setdefault(name, {key: value for key, value in one.items() if key not in ("sessions", "modules")})
            for key, count in (("sessions", "ran"), ("modules", "calls")):
                if key not in one:
                    continue
                old = earlier.get(key, [])
                rose = [each for at, each in enumerate(one[key]) if at >= len(old) or each.get(count) != old[at].get(count)]
                into.setdefault(key, []).extend(dict(each, pid=int(pid)) for each in rose)
    return merged


def settled(folder, before):
    """Return what was told since a look, once nothing new has come for a moment."""
    found = since(before, known(folder))
    for _ in range(10):
        time.sleep(0.1)
        again = since(before, known(folder))
        if again == found and any(each.get("sessions") or each.get("modules") for each in again.values()):
            return again
        found = again
    return found


def one(told, server, each, settings, folder):
    """Call one API and tell how it went."""
    before = known(folder)
    began = time.monotonic()
    line = {"answered": each["api"], "visible": visible()}
    body = png(each["image"]) if each.get("image") else each["body"].encode("utf-8", "surrogateescape")
    route = "/" + each["route"].lstrip("/")
    status, answer = ask(settings["port"], "POST", route, body, {"Content-Type": each["content_type"]}, settings["timeout"])
    line["seconds"] = round(time.monotonic() - began, 4)
    text = answer.decode("utf-8", "replace")
    if status is None:
        # One that ended breaks the connection off a moment before it is known to have ended.
        time.sleep(0.3)
        code = server.process.poll()
        how = f"ended with exit code {code}" if code is not None else text
        line.update(ok=False, **said(Failed(0, f"POST {route}: the server {how}{words(server)}"), ""))
    elif status in (400, 415, 422) and each.get("source") != "example":
        line.update(ok=None, text=f"the API refused this input (HTTP {status}: {text.strip()[:500]}): give another with --input")
    elif status >= 400:
        line.update(ok=False, **said(Failed(status, f"HTTP {status}: {text.strip()[:1000]}{words(server)}"), ""))
    else:
        values = parsed(text)
        bad = "NaN" if each["api"] in settings["arrays"] and has_null(values) else unsound(values)
        line.update(ok=True, answer=text[:4000], unsound=bad)
    line["seen"] = settled(folder, before)
    told(**line)


def arrays(port):
    """Return the names of the APIs that answer with an array of numbers, by the schema that servers of BentoML 1.2 and later show."""
    status, body = ask(port, "GET", "/schema.json", None, {}, 5.0)
    try:
        routes = json.loads(body.decode())["routes"] if status == 200 else []
        return {each["name"] for each in routes if each["output"].get("type") == "tensor"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()


def main():
    """Start the server, wait for it, call its APIs."""
    settings = asked()
    told = Told(settings.get("up", -1), settings.get("down", -1))
    told(phase="serve", rung="serve")
    folder = os.path.join(os.environ.get("HOME") or "/tmp", "evidence")  # noqa: S108 - HOME is a folder of this run
    os.makedirs(folder, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        settings["port"] = free.getsockname()[1]
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "site")
    paths = [here, os.environ.get("PYTHONPATH", "")]
    environment = dict(os.environ, GPUDOCTOR_EVIDENCE=folder, PYTHONPATH=os.pathsep.join(each for each in paths if each))
    argv = [sys.executable] + [each.format(port=settings["port"], bundle=settings["bundle"]) for each in settings["argv"]]
    server = Server(argv, environment)
    why = ready(server, settings)
    if why:
        told(failed="serve", seen={}, **said(Failed(0, why), ""))
    else:
        told(loaded=True)
        settings["arrays"] = arrays(settings["port"])
        for each in settings["calls"]:
            told(phase="call", rung=each["api"])
            one(told, server, each, settings, folder)
    told(end=True)
    sys.stderr.flush()
    # The server and all that it started are killed by whoever started us.
    os._exit(0)


if __name__ == "__main__":
    main()
