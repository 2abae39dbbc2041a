"""A bundle of BentoML 0.x, loaded and called in this process as its server does it: no port is opened."""

import sys

from gpudoctor_evidence import Failed, Wanting, parsed, png, work  # type: ignore[import-not-found]

# Behind this program's own folder the bundle's files must not be shadowed by its neighbours.
sys.path.pop(0)


def load(settings):
    """Return the service."""
    import bentoml

    return bentoml.load(settings["bundle"])


def call(service, each, settings):  # noqa: ARG001 - as those of the other formats
    """Give an API a request as its HTTP layer does, and return the answer."""
    from bentoml.types import HTTPRequest

    api = service.get_inference_api(each["api"])
    if api is None:
        raise Failed(404, "the loaded service has no API {}; it has {}".format(each["api"], names(service)))
    headers = (("Content-Type", each.get("content_type") or "application/json"),)
    raised = watched(api)
    body = png(each["image"]) if each.get("image") else each["body"].encode("utf-8", "surrogateescape")
    answer = api.handle_request(HTTPRequest(headers, body))
    text = answer.body.decode("utf-8", "replace") if isinstance(answer.body, bytes) else str(answer.body or "")
    if answer.status in (400, 415, 422) and each.get("source") != "example":
        raise Wanting(f"the API refused this input (HTTP {answer.status}: {text.strip()[:500]}): give another with --input")
    if raised:
        # The answer has its words alone.
        raise raised[-1]
    if answer.status >= 400:
        raise Failed(answer.status, f"HTTP {answer.status}: {text.strip()[:1500]}")
    return {"text": text, "values": parsed(text)}


def watched(api):
    """Have the exceptions of an API's function kept in the list that is returned: the layer above answers them with a page."""
    import functools

    kept: list[Exception] = []
    function = getattr(api, "_user_func", None)
    if function is None:
        return kept

    @functools.wraps(function)
    def called(*arguments, **named):
        try:
            return function(*arguments, **named)
        except Exception as error:
            kept.append(error)
            raise

    api._user_func = called  # noqa: SLF001 - 0.13 has no other way
    return kept


def names(service):
    """Return the names of a service's APIs."""
    return ", ".join(each.name for each in service.inference_apis) or "none"


if __name__ == "__main__":
    work(load, call)
