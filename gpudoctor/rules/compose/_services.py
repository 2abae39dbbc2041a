"""What the rules about Compose files have in common: which services want a GPU, where something stands, and what cannot be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.composed import RESERVED
from gpudoctor.host import NoAnswer, Unseen
from gpudoctor.model import Evidence, NotApplicable, Where

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.composed import Request, Service
    from gpudoctor.formats.composed import Value

ANEW = "The container is made anew, and what runs in it stops."
ENTRY = "- {driver: nvidia, count: all, capabilities: [gpu]}"
"""A complete request, as every Compose from 1.28 on takes it."""
RESERVATIONS = "reservations: {devices: [{driver: nvidia, count: all, capabilities: [gpu]}]}"
REQUEST = f"deploy: {{resources: {{{RESERVATIONS}}}}}"
"""The same as keys of a service: what stands below one key in YAML may stand in braces on its line."""
MISPLACED = (
    ("deploy", "resources", "limits", "devices"),
    ("deploy", "resources", "devices"),
    ("deploy", "reservations", "devices"),
    ("deploy", "limits", "devices"),
    ("deploy", "devices"),
    ("resources", "reservations", "devices"),
    ("resources", "limits", "devices"),
    ("reservations", "devices"),
    ("device_requests",),
)
"""Where people ask for devices and Compose takes no such request."""


def wanting(facts: Facts) -> tuple[Service, ...]:
    """Return the services that want a GPU; raises NotApplicable where none does."""
    found = tuple(each for each in facts.composed.services if each.signs)
    if not found:
        raise NotApplicable("No service of the Compose file asks for a GPU.")
    return found


def requesting(facts: Facts) -> tuple[Service, ...]:
    """Return the services that reserve a GPU or have it in ``gpus:``; raises NotApplicable where none does."""
    found = tuple(each for each in facts.composed.services if each.gpu_requests)
    if not found:
        raise NotApplicable("No service of the Compose file reserves a GPU or has it in gpus.")
    return found


def need_this_host(facts: Facts) -> None:
    """Raise NotApplicable where the containers would not run on this host, which then says nothing of them."""
    docker = facts.docker
    if docker.remote:
        raise NotApplicable(f"docker talks to {docker.address} here: run gpudoctor on that host.")
    if docker.desktop is not None:
        raise NotApplicable("Docker Desktop runs its containers in a machine of its own.")
    if not docker.installed and facts.podman.version is not None:
        raise NotApplicable("There is podman here and no Docker: podman-compose reads these files in its own way.")


def misshapen(service: Service) -> Iterator[tuple[Value, str, str]]:
    """Yield what stands where a request belongs and has not its form: the place, its name, and why Compose refuses the file."""
    found: Value | None = service.value
    path = ""
    for name in RESERVED:
        found = found.get(name) if found is not None else None
        if found is None:
            break
        path = f"{path}.{name}".lstrip(".")
        wanted = "list" if name == "devices" else "map"
        if found.kind != wanted and not found.unset:
            names = {"map": "a mapping", "list": "a list", "text": "one value"}
            yield found, path, f"{path} is {names[found.kind]}, and Compose takes only {names[wanted]}"
            break
    for path, each in [
        *((".".join(RESERVED), each) for each in service.value.all(*RESERVED)),
        *(("gpus", each) for each in service.value.all("gpus") if service.value.pairs["gpus"].kind == "list"),
    ]:
        if each.kind != "map" and not each.unset:
            what = f"`{each.text}`" if each.kind == "text" else "a list"
            yield each, path, f"{path} has {what} in it, and Compose takes only mappings with count or device_ids there"
    gpus = service.value.get("gpus")
    if gpus is not None and gpus.kind == "map":
        yield gpus, "gpus", "gpus is a mapping, and Compose takes only the word all or a list of mappings"


def at(value: Value, says: str) -> Evidence:
    """Return the place of a value, and what stands there."""
    return Evidence(Where(value.file, value.line), says)


def of(request: Request) -> Evidence:
    """Return the place of a request, and the request."""
    return at(request.place, request.says)


def setting(service: Service, name: str) -> Evidence:
    """Return the place of an environment variable of a service, and the variable."""
    value = service.environment[name]
    return at(value, f"{name}={value.text}")


def default_runtime(facts: Facts) -> Evidence:
    """Return what says which runtime containers get that name none."""
    source = "docker info" if facts.docker.runtimes is not None else facts.docker.config_path
    return Evidence(Where(source), f"default runtime: {facts.docker.default_runtime}")


def again(facts: Facts, service: Service) -> str:
    """Return the command that makes a service's container anew from the files that were given."""
    import shlex

    try:
        program = facts.composed.program
    except NoAnswer:
        program = None
    files = [word for each in facts.given.compose for word in ("-f", each.path)]
    return f"{program.command if program is not None else 'docker compose'} {shlex.join([*files, 'up', '-d', service.name])}"


def fix(facts: Facts, service: Service, place: Value | None = None) -> tuple[str, ...]:
    """Return the command of this program that gives a service its GPU in the file where ``place`` is, or where the service stands last.

    None where that is a file that was not given, in which the service may have another name.
    """
    import shlex

    path = (place or service.value).file
    if not any(each.path == path for each in facts.given.compose):
        return ()
    return (shlex.join(["gpudoctor", "fix", "--compose", path, "--service", service.name, "--apply"]),)


def unset(*values: Value | None) -> Unseen | None:
    """Return why values cannot be judged: a variable that is not set here and has no default; None where they can."""
    for value in values:
        if value is not None and value.unset:
            return Unseen(
                f"{value.file}:{value.line}", f"it depends on ${value.unset[0]}, which is not set here and has no default"
            )
    return None


def lacking(service: Service) -> Unseen | None:
    """Return why it cannot be told what a service does not say, None where all of it is known."""
    if not service.lacking:
        return None
    return Unseen(
        f"{service.value.file}:{service.value.line}", f"the service {service.name} is not wholly known: {service.lacking}"
    )


def unread(value: Value) -> Unseen:
    """Return why variables cannot be told: an env_file that could not be read."""
    return Unseen(f"{value.file}:{value.line}", "an env_file of the service is not there or cannot be read")


def settle(doubts: Iterable[Unseen | None]) -> None:
    """Raise the first doubt that a rule met on its way, if there is one."""
    for doubt in doubts:
        if doubt is not None:
            raise doubt
