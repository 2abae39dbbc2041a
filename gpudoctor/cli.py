"""The command line: one thin function a command, each importing what it needs when it runs."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

# Start-up makes only what stays: a collection finds nothing and costs a tenth of it. `doctor` collects between many hosts.
gc.disable()

import typer  # noqa: E402 - after the line above, which is about importing it

from gpudoctor import __version__  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack
    from typing import Any, BinaryIO, NoReturn

    from gpudoctor.facts import Facts
    from gpudoctor.host import Host
    from gpudoctor.model import Diagnosis, Rule
    from gpudoctor.report.text import Line

# Exit codes, one table for all commands (docs/design.md).
FINE, WRONG, USAGE, CANNOT_TELL, UNWRITTEN = range(5)

app = typer.Typer(
    name="gpudoctor",
    help="Say why a container on this host does not get its NVIDIA GPU, with the evidence and the cure.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Hosts = Annotated[
    list[str] | None,
    typer.Option("--host", metavar="FILE", help="A recorded host: a .host text or a snapshot; may be given several times."),
]
Root = Annotated[
    str | None,
    typer.Option("--root", metavar="DIR", help="A host's root file system mounted here: read, never run."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a host, one a line.")]


def main() -> None:
    """Run the command line; a closed pipe ends quietly and a full disk with exit code 4."""
    # Typer works out the options of every command at each start; where one is named, only its own are needed.
    commands = app.registered_commands
    app.registered_commands = [
        each for each in commands if [each.name or getattr(each.callback, "__name__", "")] == sys.argv[1:2]
    ] or commands
    try:
        app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        app.registered_commands = commands


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        _write(f"gpudoctor {__version__}\n")
        raise typer.Exit


@app.command()
def doctor(
    host: Hosts = None,
    root: Root = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="RULE,AREA", help="Only these rules: area/slug, slug or a whole area; comma-separated."),
    ] = None,
    as_json: AsJson = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Hints count as warnings, and what could not be examined as not told."),
    ] = False,
    image: Annotated[
        str | None, typer.Option("--image", metavar="IMAGE", help="Judge this image on this host, and say only what concerns it.")
    ] = None,
    dockerfile: Annotated[
        str | None, typer.Option("--dockerfile", metavar="FILE", help="Judge the image that this Dockerfile makes on this host.")
    ] = None,
    container: Annotated[
        list[str] | None,
        typer.Option("--container", metavar="NAME", help="Examine this container, and say only what concerns it; several times."),
    ] = None,
    all_containers: Annotated[bool, typer.Option("--all-containers", help="Examine every running container.")] = False,
    compose: Annotated[
        list[str] | None,
        typer.Option(
            "--compose",
            metavar="FILE",
            help="Judge this Compose file on this host; several are merged as `docker compose -f` does it.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="With --image, --dockerfile, --container or --compose: the whole host as well.")
    ] = False,
) -> None:
    """Diagnose this machine (or a recorded or mounted one). Changes nothing."""
    from gpudoctor import engine
    from gpudoctor.facts import NOTHING, Facts

    given = NOTHING
    if image is not None or dockerfile is not None or container or all_containers or compose:
        from gpudoctor.commands import given as command

        try:
            given = command.read(image, dockerfile, container or (), compose or (), all_containers=all_containers)
        except ValueError as wrong:
            _complain(str(wrong))
            raise typer.Exit(USAGE) from None
    rules = _rules(only) if only is not None or given is NOTHING or everything else ()
    if given is not NOTHING and only is None:
        rules += engine.rules_for(given)
    if len(host or ()) > 1:
        gc.enable()
    codes = []
    for source, each in _hosts(host, root):
        if each is None:
            codes.append(USAGE)
            continue
        facts = Facts(each, given)
        diagnosis = engine.diagnose(facts, rules)
        codes.append(_code(diagnosis, strict=strict))
        _report(source, facts, diagnosis, as_json=as_json, many=len(host or ()) > 1)
        if given is not NOTHING:
            for remark in command.remarks(facts):
                _complain(remark)
            if command.unknown(facts):
                codes.append(USAGE)
    raise typer.Exit(next((code for code in (USAGE, WRONG, CANNOT_TELL) if code in codes), FINE))


@app.command()
def ps(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    host: Annotated[
        str | None, typer.Option("--host", metavar="FILE", help="A recorded host: a .host text or a snapshot.")
    ] = None,
) -> None:
    """List the processes on each GPU, with their containers by name and the memory they hold."""
    from gpudoctor.commands import ps as command
    from gpudoctor.facts import Facts

    source, each = next(_hosts(None if host is None else [host], None))
    if each is None:
        raise typer.Exit(USAGE)
    facts = Facts(each)
    with _sentences():
        text = command.as_json(facts, source) if as_json else command.table(facts)
    _write(text)


@app.command()
def rules(
    as_json: AsJson = False,
) -> None:
    """List the rules: name, severity, title."""
    from gpudoctor import engine

    known = engine.every_rule()
    if as_json:
        import json

        rows = [{"rule": rule.name, "severity": rule.severity, "title": rule.title, "rank": rule.rank} for rule in known]
        _write(json.dumps({"schema": 1, "rules": rows}) + "\n")
    else:
        width = max(len(rule.name) for rule in known)
        _write("".join(f"{rule.name:<{width}}  {rule.severity:<7}  {rule.title}\n" for rule in known))


@app.command(context_settings={"ignore_unknown_options": True})
def explain(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RULE | TEXT... | -",
            help="A rule's name or slug; or an error text, whose words may look like options (after -- all are text); "
            "- reads the text from standard input.",
        ),
    ] = None,
    log: Annotated[str | None, typer.Option("--log", metavar="FILE", help="A log file of any size in place of a text.")] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="FILE", help="A recorded host that decides: a .host text or a snapshot."),
    ] = None,
    root: Root = None,
    no_host: Annotated[bool, typer.Option("--no-host", help="Ask no host, not even this one: a ranked list.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say what an error text or a log means on this host, with the cure; or print a rule's page."""
    from contextlib import ExitStack

    from gpudoctor import engine
    from gpudoctor.commands import explain as command

    if bool(words) == (log is not None):
        _complain("give an error text, - or --log FILE, and only one of them")
        raise typer.Exit(USAGE)
    if no_host and (host is not None or root is not None):
        _complain("--no-host excludes --host and --root")
        raise typer.Exit(USAGE)
    text = words or []
    rule = engine.named(text[0]) if len(text) == 1 else None
    if rule is not None:
        _write(command.page_as_json(rule, text[0]) if as_json else command.page(rule))
        return

    def reopen() -> Host:
        each = next(_hosts(None if host is None else [host], root))[1]
        if each is None:
            raise typer.Exit(USAGE)
        return each

    with ExitStack() as opened:
        answers, numbered = command.answers(_text(text, log, opened), None if no_host else reopen)
    known = bool(answers) or any(each.known for each in numbered)
    if as_json:
        from gpudoctor.report import explain as report

        _write(report.as_json(answers, numbered) + "\n")
    elif answers or numbered:
        from gpudoctor.report import explain as report

        if answers:
            _write(_rendered(report.lines(answers, _marks(), asked=not no_host)))
        _write(_rendered(report.numbers(numbered)))
    else:
        _complain("nothing known is in this text; `gpudoctor doctor` examines a host, `gpudoctor rules` lists what is known")
    raise typer.Exit(FINE if known else WRONG)


@app.command()
def snapshot(
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write; - is standard output."),
    ] = "gpudoctor-snapshot.tar.gz",
    root: Root = None,
    image: Annotated[
        list[str] | None, typer.Option("--image", metavar="IMAGE", help="What doctor --image asks as well; several times.")
    ] = None,
    dockerfile: Annotated[
        str | None, typer.Option("--dockerfile", metavar="FILE", help="What doctor --dockerfile asks as well.")
    ] = None,
    container: Annotated[
        list[str] | None, typer.Option("--container", metavar="NAME", help="What doctor --container asks as well; several times.")
    ] = None,
    all_containers: Annotated[
        bool, typer.Option("--all-containers", help="What doctor --all-containers and ps ask as well.")
    ] = False,
) -> None:
    """Ask what the doctor and device-args ask, redact it, and save the answers as a tar that their `--host` reads."""
    from gpudoctor.commands import snapshot as command

    try:
        judged = command.wanted(image or (), dockerfile, container or (), all_containers=all_containers)
    except ValueError as wrong:
        _complain(str(wrong))
        raise typer.Exit(USAGE) from None
    _, live = next(_hosts(None, root))
    if live is None:
        raise typer.Exit(USAGE)
    try:
        taken = command.take(live, judged)
    except ValueError as reason:
        _complain(f"no snapshot: {reason}")
        raise typer.Exit(UNWRITTEN) from None
    _save(output, taken.packed)
    for sentence in taken.redacted:
        typer.echo(f"redacted: {sentence}", err=True)
    for name, instead in taken.renamed:
        typer.echo(f"renamed: the image {name} is called {instead} in it", err=True)
    for remark in taken.remarks:
        _complain(remark)
    if output != "-":
        typer.echo(f"saved: {output}", err=True)


@app.command()
def fix(
    rules: Annotated[
        list[str] | None,
        typer.Argument(metavar="RULE", help="Only these findings: area/slug, slug or area. All errors and warnings otherwise."),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without this nothing is changed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --apply: do not ask.")] = False,
    allow_restart: Annotated[
        bool, typer.Option("--allow-restart", help="With --apply: also run what restarts Docker or reloads a module.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Insist on a cure that is refused because it is known to harm.")] = False,
    grub_style: Annotated[
        str,
        typer.Option("--grub-style", metavar="STYLE", help="Kernel arguments go into a drop-in of our own or the main file."),
    ] = "drop-in",
    compose: Annotated[
        str | None,
        typer.Option("--compose", metavar="FILE", help="Give services of a Compose file their GPU, as this host serves it."),
    ] = None,
    service: Annotated[list[str] | None, typer.Option("--service", metavar="NAME", help="With --compose: this service.")] = None,
    style: Annotated[
        str, typer.Option("--style", metavar="STYLE", help="With --compose: auto, devices, reservation, gpus or cdi.")
    ] = "auto",
    as_json: AsJson = False,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="FILE", help="Plan for a recorded host: a .host text or a snapshot."),
    ] = None,
    root: Root = None,
) -> None:
    """Plan what mends this host, as diffs; with --apply do it, check that it helped, and take it back where it did not."""
    from gpudoctor import engine
    from gpudoctor.commands import fix as command
    from gpudoctor.model import Wishes

    if grub_style not in {"drop-in", "main"}:
        _complain(f"--grub-style {grub_style}: drop-in or main")
        raise typer.Exit(USAGE)
    if apply and host is not None:
        _complain("--apply changes this machine or a mounted root (--root DIR), not a recorded host")
        raise typer.Exit(USAGE)
    if compose is None and (service or style != "auto"):
        _complain("--service and --style belong to --compose FILE")
        raise typer.Exit(USAGE)
    if compose is not None and (rules or root is not None or style not in command.COMPOSE_STYLES):
        _complain(f"--compose FILE: without rules and --root; --style is one of {', '.join(command.COMPOSE_STYLES)}")
        raise typer.Exit(USAGE)
    chosen = _rules(rules or None)
    wishes = Wishes(force=force, grub_main=grub_style == "main")
    # An area's name asks for all of its rules, not for each one of them.
    named = bool(rules) and not set(rules or ()) & set(engine.areas())
    asked = command.Asked(chosen, wishes, named, allow_restart, _again(rules, root, allow_restart=allow_restart, apply=apply))

    def reopen() -> Host:
        each = next(_hosts(None if host is None else [host], root))[1]
        if each is None:
            raise typer.Exit(USAGE)
        return each

    if compose is not None:
        import shlex

        again = shlex.join(
            ["gpudoctor", "fix", "--compose", compose, *(word for name in service or () for word in ("--service", name))]
            + (["--style", style] if style != "auto" else [])
            + ["--apply"]
        )
        screen = command.Screen(_write, _complain, _rendered, _ask_first(yes=yes), as_json)
        wanted = command.Composed(compose, tuple(service or ()), style, again)
        raise typer.Exit(command.compose(reopen, wanted, screen, do_it=apply, source=host or "live"))
    if not apply:
        plan = command.planned(reopen(), asked)
        _write(command.shown(plan, asked, host or root or "live", as_json=as_json, render=_rendered))
        raise typer.Exit(command.code(plan))
    screen = command.Screen(_write, _complain, _rendered, _ask_first(yes=yes), as_json)
    raise typer.Exit(command.apply(reopen, root, asked, screen))


@app.command()
def undo(
    entry: Annotated[
        str | None, typer.Argument(metavar="ID", help="As `gpudoctor history` lists it; the last fix otherwise.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    allow_restart: Annotated[
        bool, typer.Option("--allow-restart", help="Also run what restarts Docker or reloads a module.")
    ] = False,
    root: Root = None,
) -> None:
    """Take a fix back, byte for byte, where its files are still what it left."""
    from gpudoctor.commands import fix as command

    screen = command.Screen(_write, _complain, _rendered, _ask_first(yes=yes), as_json=False)
    raise typer.Exit(command.undo(entry, root, screen, allow_restart=allow_restart))


@app.command()
def history(as_json: AsJson = False, root: Root = None) -> None:
    """List what `gpudoctor fix` changed on this host, the newest first. Changes nothing."""
    from gpudoctor.commands import fix as command

    screen = command.Screen(_write, _complain, _rendered, None, as_json)
    raise typer.Exit(command.history(root, screen))


@app.command("device-args")
def device_args(
    gpus: Annotated[
        str,
        typer.Option(
            "--gpus",
            metavar="GPUS",
            help="all, or a comma-separated list of index (0), PCI address (0000:17:00.0), UUID (GPU-…), MIG device (0:1, MIG-…). "
            "A number is an index here; with Docker's own --gpus 2 it is a count. An index is not the number in /dev/nvidia0 either.",
        ),
    ] = "all",
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="args, make, make-args, compose, cdi, cdi-spec, env, json, podman, systemd, nomad or kubernetes.",
        ),
    ] = "args",
    style: Annotated[
        str | None,
        typer.Option(
            "--style", metavar="STYLE", help="Of compose: devices, reservation, gpus, cdi; of systemd: service, quadlet."
        ),
    ] = None,
    purposes: Annotated[
        str,
        typer.Option(
            "--with", metavar="PURPOSES", help="What the container does with the GPU: compute, graphics, video, display."
        ),
    ] = "compute",
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Print the rest where something needed is missing; the exit code stays 1."),
    ] = False,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="FILE", help="A recorded host: a .host text or a snapshot."),
    ] = None,
    root: Root = None,
) -> None:
    """Print the device nodes that a container needs for its GPUs, as docker run, make, Compose, CDI and others take them.

    Standard output has the arguments and nothing else: docker run $(gpudoctor device-args) IMAGE. Changes nothing.
    """
    from gpudoctor import device_args as asked
    from gpudoctor.facts import Facts

    with _sentences():
        wanted = asked.request(gpus, purposes, form, style)
        source, each = next(_hosts(None if host is None else [host], root))
        if each is None:
            raise typer.Exit(USAGE)
        try:
            found = asked.answer(Facts(each), wanted, source)
        except asked.Refused as refused:
            raise ValueError(str(refused)) from None
    for missing in found.missing:
        _complain(f"missing: {missing.what}: {missing.why}; run: {missing.command}")
    for remark in found.remarks:
        _complain(remark)
    if not found.missing or allow_missing or form == "json":
        _write(found.text)
    raise typer.Exit(WRONG if found.missing else FINE)


@app.command()
def smoke(
    frameworks: Annotated[
        list[str] | None,
        typer.Argument(metavar="FRAMEWORK", help="torch, onnxruntime, tensorflow, jax, cupy, or all; none tries CUDA alone."),
    ] = None,
    python: Annotated[
        str,
        typer.Option(
            "--python", metavar="EXE", help="The Python that has them, such as a venv's; python3 of the PATH otherwise."
        ),
    ] = "",
    image: Annotated[
        str, typer.Option("--image", metavar="IMAGE", help="Climb the same ladder in a container of this image, beside the host.")
    ] = "",
    docker_arg: Annotated[
        list[str] | None,
        typer.Option(
            "--docker-arg", metavar="ARG", help="With --image: one more word for docker run; may be given several times."
        ),
    ] = None,
    gpus: Annotated[
        str | None,
        typer.Option("--gpus", metavar="GPUS", help="Which GPUs, one by one, as device-args names them; all otherwise."),
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="DEVICE", help="cuda, or cpu to try the machinery.")] = "cuda",
    timeout: Annotated[float, typer.Option("--timeout", metavar="S", help="Seconds that each phase may take.")] = 120.0,
    daemon_reload: Annotated[
        bool,
        typer.Option(
            "--daemon-reload", help="With --image: run systemctl daemon-reload and see whether a container keeps its GPU."
        ),
    ] = False,
    bundle: Annotated[
        str | None,
        typer.Option(
            "--bundle", metavar="PATH", help="Examine a packed model bundle, and call it with --python, --venv or --image."
        ),
    ] = None,
    api: Annotated[
        list[str] | None, typer.Option("--api", metavar="NAME", help="With --bundle: call this API alone; several times.")
    ] = None,
    body: Annotated[
        str | None, typer.Option("--input", metavar="JSON|@FILE", help="With --bundle: what to send to the API.")
    ] = None,
    venv: Annotated[
        bool,
        typer.Option("--venv", help="With --bundle: build an environment from its requirements (uses the network), and keep it."),
    ] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="With --bundle: start its real server on loopback, and call it over HTTP.")
    ] = False,
    trust: Annotated[bool, typer.Option("--trust", help="With --bundle: load it although it holds dangerous pickles.")] = False,
    isolate: Annotated[
        str,
        typer.Option(
            "--isolate", metavar="WHERE", help="With --bundle: auto, host or container. Loading runs the bundle's code."
        ),
    ] = "auto",
    static: Annotated[bool, typer.Option("--static", help="With --bundle: look at the files alone, and call nothing.")] = False,
    recorded: Annotated[
        str | None,
        typer.Option("--host", metavar="FILE", help="With --static: hold the bundle against this recorded host."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Prove that inference runs on the GPU: from the device nodes up to where each framework's tensors were."""
    if bundle is not None:
        if frameworks or daemon_reload:
            _complain("--bundle excludes frameworks and --daemon-reload")
            raise typer.Exit(USAGE)
        _smoke_bundle(
            lambda command: command.asked(
                bundle,
                apis=api or [],
                body=body,
                python=python,
                image=image,
                venv=venv,
                docker_args=docker_arg or [],
                gpus=gpus,
                device=device,
                serve=serve,
                trust=trust,
                isolate=isolate,
                timeout=timeout,
                static=static,
                recorded=recorded is not None,
            ),
            recorded,
            as_json=as_json,
        )
    if api or body is not None or venv or serve or trust or static or recorded is not None or isolate != "auto":
        _complain("--api, --input, --venv, --serve, --trust, --isolate, --static and --host need --bundle PATH")
        raise typer.Exit(USAGE)
    from gpudoctor.commands import smoke as command

    with _sentences():
        asked = command.asked(
            frameworks or [], gpus, device, timeout, python, image, docker_arg or [], daemon_reload=daemon_reload
        )
        done = command.run(next(_hosts(None, None))[1], asked, _marks(), as_json=as_json)
    _write(command.shown(done, _marks(), _rendered, as_json=as_json))
    raise typer.Exit(done.code)


def _smoke_bundle(ask: Callable[[Any], Any], recorded: str | None, *, as_json: bool) -> NoReturn:
    from gpudoctor.commands import bundle as command
    from gpudoctor.facts import Facts

    with _sentences():
        asked = ask(command)
        _, each = next(_hosts(None if recorded is None else [recorded], None))
        if each is None:
            raise typer.Exit(USAGE)
        done = command.run(
            Facts(each), asked, lambda _, line: None if as_json or not line.get("says") else _complain(str(line["says"]))
        )
    _write(command.shown(done, _marks(), _rendered, as_json=as_json))
    raise typer.Exit(done.code)


@app.command("run-args")
def run_args(
    what: Annotated[str, typer.Argument(metavar="BUNDLE|IMAGE", help="A bundle's path, or the name of an image made of one.")],
    gpus: Annotated[str, typer.Option("--gpus", metavar="GPUS", help="Which GPUs, as device-args names them.")] = "all",
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="docker (the line) or compose (a service).")] = "docker",
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", help="How many workers; each loads its own model onto the GPU.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="PORT", help="The host's port; the container's own otherwise.")
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="FILE", help="A recorded host: a .host text or a snapshot.")
    ] = None,
    root: Root = None,
) -> None:
    """Print the whole docker run line, or the Compose service, that serves a bundle on this host's GPUs. Changes nothing."""
    from gpudoctor.commands import run_args as command

    _, each = next(_hosts(None if host is None else [host], root))
    if each is None:
        raise typer.Exit(USAGE)
    with _sentences():
        line = command.line(each, command.asked(what, gpus, form, workers, port))
    for remark in line.remarks:
        _complain(remark)
    if line.text:
        _write(line.text)
    raise typer.Exit(WRONG if line.missing else FINE)


@contextmanager
def _sentences() -> Iterator[None]:
    """Turn a request that is wrong, and a host that does not say enough, into a sentence and its exit code."""
    from gpudoctor.host import NoAnswer

    try:
        yield
    except ValueError as wrong:
        _complain(str(wrong))
        raise typer.Exit(USAGE) from None
    except (LookupError, NoAnswer) as missed:
        _complain(f"cannot tell: {missed}")
        raise typer.Exit(CANNOT_TELL) from None


def _rules(only: list[str] | None) -> tuple[Rule, ...]:
    from gpudoctor import engine

    if only is None:
        return engine.all_rules()
    try:
        return engine.chosen(name.strip() for each in only for name in each.split(",") if name.strip())
    except LookupError as unknown:
        _complain(f"--only {unknown}: no such rule or area; `gpudoctor rules` lists them")
        raise typer.Exit(USAGE) from None


def _hosts(files: list[str] | None, root: str | None) -> Iterator[tuple[str, Host | None]]:
    """Yield (source, host) for each host asked for; None where one cannot be read, which has been said on standard error."""
    if files and root is not None:
        _complain("--host and --root exclude each other")
        raise typer.Exit(USAGE)
    if root is not None:
        from gpudoctor.host import Miss
        from gpudoctor.host.tree import Tree

        try:
            yield root, Tree(root)
        except Miss as missed:
            _complain(f"--root {missed}")
            yield root, None
    elif files:
        from gpudoctor.host.hostfile import BadHost
        from gpudoctor.host.snapshot import open_host

        for path in files:
            try:
                yield path, open_host(path)
            except BadHost as bad:
                _complain(str(bad))
                yield path, None
            except OSError as error:
                _complain(f"{path}: {(error.strerror or str(error)).lower()}")
                yield path, None
    else:
        from gpudoctor.host.book import Recorder
        from gpudoctor.host.live import Live

        # Asked through a Recorder, so that a slow command is asked once and not by every rule.
        yield "live", Recorder(Live())


def _text(words: list[str], log: str | None, opened: ExitStack) -> BinaryIO:
    """Return the text to explain as a stream: what the words say, standard input, or a log file."""
    if log is not None:
        try:
            return opened.enter_context(open(log, "rb"))
        except OSError as error:
            _complain(f"--log {log}: {(error.strerror or str(error)).lower()}")
            raise typer.Exit(USAGE) from None
    if words == ["-"]:
        return sys.stdin.buffer
    import io

    return io.BytesIO(" ".join(words).encode("utf-8", "surrogateescape"))


def _code(diagnosis: Diagnosis, *, strict: bool) -> int:
    severities = {finding.severity for finding in diagnosis.findings}
    if severities & ({"error", "warning", "hint"} if strict else {"error", "warning"}):
        return WRONG
    silent = [each for each in diagnosis.untold if strict or (each.severity == "error" and each.reason != "unseen")]
    return CANNOT_TELL if silent or diagnosis.crashed or diagnosis.saw_little else FINE


def _report(source: str, facts: Facts, diagnosis: Diagnosis, *, as_json: bool, many: bool) -> None:
    from gpudoctor.report.summary import summarize

    host = summarize(facts)
    if as_json:
        from gpudoctor.report import json as report

        _write(report.doctor(source, host, diagnosis) + "\n")
        return
    from gpudoctor.report import text

    lines = text.lines(host, diagnosis, _marks())
    if many:
        _write(f"== {source}\n")
    _write(_rendered(lines))
    if many:
        _write("\n")


def _marks() -> dict[str, str]:
    from gpudoctor.report import text

    try:
        "✗✓".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return text.ASCII_MARKS
    return text.MARKS


def _rendered(lines: Iterator[Line]) -> str:
    """Return a report as this standard output can show it: coloured on a terminal, plain otherwise."""
    import os

    from gpudoctor.report import text

    if sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        import shutil

        return text.styled(lines, shutil.get_terminal_size().columns)
    return text.plain(lines)


def _ask_first(*, yes: bool) -> Callable[[str], bool] | None:
    """Return what asks for consent: nothing to ask with --yes; None where nobody is there to be asked."""
    if yes:
        return lambda _: True
    if not sys.stdin.isatty():
        return None
    return lambda question: typer.confirm(question, default=False, err=True)


def _again(rules: list[str] | None, root: str | None, *, allow_restart: bool, apply: bool) -> str:
    """Return the command that carries out what was planned; "" where it is about to be."""
    if apply:
        return ""
    import shlex

    words = ["gpudoctor", "fix", *(rules or ()), "--apply", *(["--allow-restart"] if allow_restart else [])]
    return "sudo " + shlex.join([*words, *(["--root", root] if root is not None else [])])


def _write(text: str) -> None:
    """Write to standard output: a closed pipe is nobody's error, a full disk is exit code 4."""
    import os

    if sys.stdout is None:
        _complain("standard output: is closed")
        raise typer.Exit(UNWRITTEN)
    try:
        sys.stdout.buffer.write(text.encode(sys.stdout.encoding or "utf-8", "replace"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Whoever read has seen enough; Python must not complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        _complain(f"standard output: {(error.strerror or str(error)).lower()}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(UNWRITTEN) from None


def _save(path: str, data: bytes) -> None:
    import os

    if path == "-":
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OSError as error:
            _complain(f"standard output: {(error.strerror or str(error)).lower()}")
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(UNWRITTEN) from None
        return
    try:
        # For its owner only, and never over something that is there: a snapshot tells a lot about a host.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        _complain(f"{path} is there already; name another file with -o")
        raise typer.Exit(USAGE) from None
    except OSError as error:
        _complain(f"{path}: {(error.strerror or str(error)).lower()}")
        raise typer.Exit(UNWRITTEN) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
    except OSError as error:
        os.unlink(path)
        _complain(f"{path}: {(error.strerror or str(error)).lower()}")
        raise typer.Exit(UNWRITTEN) from None


def _complain(sentence: str) -> None:
    typer.echo(f"gpudoctor: {sentence}", err=True)
