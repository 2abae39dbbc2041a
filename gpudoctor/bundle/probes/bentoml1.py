"""A bento of BentoML 1.x, loaded and called in this process by its own ASGI application: no port is opened.

Runners of 1.0 and 1.1 are started in this process too: the application does so at its start where no server has told it otherwise.
"""

import logging
import os
import sys
import warnings

from gpudoctor_evidence import Failed, Wanting, has_null, parsed, work  # type: ignore[import-not-found]

# The bundle's files must not be shadowed by this program's neighbours.
sys.path.pop(0)


class Kept(logging.Handler):
    """Keeps the last exception that is logged: to its client the server tells only that there was one."""

    error = None

    def emit(self, record):
        """Keep it."""
        if record.exc_info and record.exc_info[1] is not None:
            self.error = record.exc_info[1]


KEPT = Kept()


def load(settings):
    """Return a client of the service's application, which has started."""
    import bentoml

    # A server makes it before it starts the application, whose counters are files in there.
    os.makedirs(os.path.join(os.environ["BENTOML_HOME"], "prometheus_multiproc_dir"), exist_ok=True)
    service = bentoml.load(settings["bundle"])
    sources = os.path.join(settings["bundle"], "src")
    if os.path.isdir(sources):
        # A server's workers are there, and services name their files from there.
        os.chdir(sources)
    make = getattr(service, "to_asgi", None)
    app = make() if make is not None else service.asgi_app
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from starlette.testclient import TestClient

        client = TestClient(app, raise_server_exceptions=True)
    except Exception as error:
        raise RuntimeError(
            f"the environment lacks what an in-process call needs ({error}); --serve calls it over HTTP"
        ) from error
    # What the application does at its start is done here: the service is made, the weights are loaded.
    client.__enter__()
    for name in ("", "bentoml", "bentoml.serve", "bentoml_service"):
        logging.getLogger(name).addHandler(KEPT)
    return client, arrays(service)


def arrays(service):
    """Return the names of the APIs that answer with an array of numbers."""
    try:
        routes = service.schema()["routes"]
        return {each["name"] for each in routes if each["output"].get("type") == "tensor"}
    except Exception:  # noqa: BLE001 - 1.1 has no schema
        return set()


def call(loaded, each, settings):  # noqa: ARG001 - as those of the other formats
    """Post a request to an API and return its answer."""
    client, of_arrays = loaded
    route = "/" + each["route"].lstrip("/")
    KEPT.error = None
    try:
        answer = client.post(
            route, content=each["body"].encode("utf-8", "surrogateescape"), headers={"Content-Type": each["content_type"]}
        )
    except TypeError:
        # An older test client has the words of requests.
        answer = client.post(
            route, data=each["body"].encode("utf-8", "surrogateescape"), headers={"Content-Type": each["content_type"]}
        )
    text = answer.content.decode("utf-8", "replace")
    if answer.status_code in (400, 415, 422) and each.get("source") != "example":
        raise Wanting(f"the API refused this input (HTTP {answer.status_code}: {text.strip()[:500]}): give another with --input")
    if answer.status_code >= 500 and KEPT.error is not None:
        raise KEPT.error
    if answer.status_code >= 400:
        raise Failed(answer.status_code, f"HTTP {answer.status_code}: {text.strip()[:1500]}")
    values = parsed(text)
    # Of an array, a NaN is written as null.
    return {"text": text, "values": float("nan") if each["api"] in of_arrays and has_null(values) else values}


if __name__ == "__main__":
    work(load, call)
