"""A bento of BentoML 1.x, loaded and called in this process by its own ASGI application: no port is opened.

Runners of 1.0 and 1.1 are started in this process too, as `bentoml serve` without workers of their own does.
"""

import sys

from gpudoctor_evidence import Failed, Wanting, parsed, work

# The bundle's files must not be shadowed by this program's neighbours.
sys.path.pop(0)


def load(settings):
    """Return a client of the service's application, which has started."""
    import bentoml

    service = bentoml.load(settings["bundle"])
    if hasattr(service, "runners"):
        for runner in service.runners:
            runner.init_local(quiet=True)
    make = getattr(service, "to_asgi", None)
    app = make() if make is not None else service.asgi_app
    try:
        from starlette.testclient import TestClient

        client = TestClient(app, raise_server_exceptions=True)
    except Exception as error:
        raise RuntimeError(
            "the environment lacks what an in-process call needs ({}); --serve calls it over HTTP".format(error)
        ) from error
    # What the application does at its start is done here: the service is made, the weights are loaded.
    client.__enter__()
    return client


def call(client, each, settings):
    """Post a request to an API and return its answer."""
    route = "/" + each["route"].lstrip("/")
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
        raise Wanting(
            "the API refused this input (HTTP {}: {}): give another with --input".format(answer.status_code, text.strip()[:500])
        )
    if answer.status_code >= 400:
        raise Failed(answer.status_code, "HTTP {}: {}".format(answer.status_code, text.strip()[:1500]))
    return {"text": text, "values": parsed(text)}


if __name__ == "__main__":
    work(load, call)
