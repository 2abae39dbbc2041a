"""A Dockerfile, read as BuildKit reads it: stages, ARG and ENV with their defaults, and what RUN lines install.

Only what is written counts: a variable without a default stays as it stands (``${TORCH}``), and build arguments are not known.
The final stage is the image; where it begins with the name of an earlier stage, that one's steps come first. A command in an ``if``,
a loop, or behind ``||`` may not have run: it is not ``sure``.

The history of an image (``docker history``) is made of the same commands, so `commands` and `packages` serve both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.formats import Malformed, text
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_BLANKS = " \t"
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_MOST_STAGES = 1000
_OPENING = frozenset({"if", "case", "for", "while", "until", "elif", "else"})
_CLOSING = frozenset({"fi", "esac", "done"})
_PREFIXES = frozenset(
    {"sudo", "exec", "time", "env", "nice", "command", "then", "do", "else", "elif", "if", "!", "{", "while", "-E"}
)
_WITH_VALUE = frozenset(
    [
        "-i",
        "--index-url",
        "--extra-index-url",
        "-f",
        "--find-links",
        "-r",
        "--requirement",
        "-c",
        "--constraint",
        "-t",
        "--target",
        "-e",
        "--editable",
        "--prefix",
        "--root",
        "--platform",
        "--python-version",
        "--no-binary",
        "--only-binary",
        "--upgrade-strategy",
        "--cache-dir",
        "--trusted-host",
        "--timeout",
        "--retries",
        "--proxy",
        "--progress-bar",
        "-C",
        "--config-settings",
        "--global-option",
        "--python",
        "-p",
        "--torch-backend",
        "--channel",
        "-n",
        "--name",
        "--implementation",
        "--abi",
        "--src",
        "--report",
        "--index",
        "--default-index",
        "--log",
        "--exists-action",
        "--override",
        "--build-constraint",
        "-o",
        "--option",
        "--repository",
        "-t",
        "--target-release",
    ]
)


_FROM_PROJECT = frozenset({("poetry", "install"), ("pipenv", "install"), ("uv", "sync"), ("pdm", "install"), ("pixi", "install")})
"""Commands that install what a project's own files say."""


class Instruction(NamedTuple):
    """One instruction: its first line, its name in capitals, the rest with continued lines joined, and where each line begins in it."""

    line: int
    name: str
    words: str
    lines: tuple[tuple[int, int], ...]
    heredocs: tuple[tuple[int, str], ...]

    def at(self, offset: int) -> int:
        """Return the line of an offset in ``words``."""
        return max((each for each in self.lines if each[0] <= offset), default=(0, self.line))[1]


class Copy(NamedTuple):
    """One COPY or ADD: the stage or image it takes from ("" is the build context), its sources, its destination.

    ``folder`` is the WORKDIR that a relative destination counts from, as in `Command`.
    """

    line: int
    origin: str
    sources: tuple[str, ...]
    target: str
    folder: str = "."


class Command(NamedTuple):
    """One simple command of a shell: its words, its line (1-based; 0 in a history), whether it surely runs, what it is redirected to.

    ``folder`` is where it runs: absolute, or relative to the folder that the base image begins in; "" where that is not known.
    ``mounts`` is what RUN --mount=type=bind lends it.
    """

    argv: tuple[str, ...]
    line: int
    sure: bool
    files: tuple[str, ...] = ()
    folder: str = "."
    mounts: tuple[Copy, ...] = ()


class Value(NamedTuple):
    """A variable's value, and the line that set it."""

    value: str
    line: int


class Base(NamedTuple):
    """An image that a stage is made from, the line of its FROM, and the platform that it asks for."""

    image: str
    line: int
    platform: str


class Dockerfile(NamedTuple):
    """The final image: what it is made from, its variables, its commands and copies; ``bases`` are those of all stages it needs."""

    base: Base
    bases: tuple[Base, ...]
    env: dict[str, Value]
    commands: tuple[Command, ...]
    copies: tuple[Copy, ...]


class Package(NamedTuple):
    """A package that a command installs or removes.

    ``name`` is lower-case with dashes, ``spec`` what stands behind it (``==2.4.0``; empty: the newest), ``indexes`` are those
    (or the channels) that replace the default, ``others`` those beside it. A requirements file is a package of the manager ``file``.
    """

    manager: str
    name: str
    extras: tuple[str, ...]
    spec: str
    indexes: tuple[str, ...]
    others: tuple[str, ...]
    words: str
    line: int
    sure: bool
    removed: bool = False
    python: str = ""
    fresh: bool = False
    """Whether it is installed anew where some release of it is there already."""
    option: str = ""
    """Of a requirements file: ``-r``, or ``-c`` where it only bounds what others ask for."""
    file: str = ""
    """The requirements file that asks for it, from the build context; ``line`` is then a line of that file, ``step`` the command's."""
    marker: str = ""
    """The environment marker behind it, such as ``python_version < "3.9"``."""
    step: int = 0


class _Stage(NamedTuple):
    base: Base
    name: str
    instructions: list[Instruction]


def parse(data: bytes) -> Dockerfile:
    """Read a Dockerfile; raises Malformed where it has no FROM."""
    instructions = list(_instructions(text(data).removeprefix("\ufeff")))
    arguments: dict[str, Value] = {}
    stages: list[_Stage] = []
    for each in instructions:
        if each.name == "FROM":
            stages.append(_stage(each, arguments))
        elif stages:
            stages[-1].instructions.append(each)
        elif each.name == "ARG":
            _set_arguments(each, arguments, {})
        else:
            raise Malformed(f"{each.name[:20]} stands before the first FROM, so this is no Dockerfile", each.line)
    if not stages or len(stages) > _MOST_STAGES:
        raise Malformed("there is no FROM in it, so this is no Dockerfile")
    chain = _chain(stages)
    env: dict[str, Value] = {}
    commands: list[Command] = []
    copies: list[Copy] = []
    folder = "."
    for stage in chain:
        known = dict(env)
        for each in stage.instructions:
            if each.name == "ARG":
                _set_arguments(each, known, arguments, env)
            elif each.name == "ENV":
                for name, value in _pairs(each.words):
                    env[name] = known[name] = Value(substitute(value, _lookup(known)), each.line)
            elif each.name == "WORKDIR":
                folder = within(folder, substitute(each.words.strip().strip("\"'"), _lookup(known)))
            elif each.name == "RUN":
                mounts = _mounts(each, known, folder)
                commands += [step._replace(mounts=mounts) for step in _run(each, known, folder)]
            elif each.name in {"COPY", "ADD"}:
                copies += [copy._replace(folder=folder) for copy in _copy(each, known)]
    return Dockerfile(chain[0].base, _needed(stages, chain), env, tuple(commands), tuple(copies))


def within(folder: str, path: str) -> str:
    """Return a path as it is from a folder, without ``.`` and ``..``; "" where the folder is not known or a variable is left in it."""
    import posixpath

    if "$" in path or not (folder or path.startswith("/")):
        return ""
    # posixpath keeps two slashes at the beginning, which mean one here.
    joined = posixpath.normpath(posixpath.join(folder, path))
    return joined[1:] if joined.startswith("//") else joined


def _instructions(content: str) -> Iterator[Instruction]:
    """Yield the instructions: comments and blank lines inside a continued one are left out, here-documents belong to theirs."""
    lines = content.replace("\r\n", "\n").split("\n")
    escape = "\\"
    for line in lines:
        word, sign, value = line.strip().removeprefix("#").partition("=")
        if not line.strip().startswith("#") or not sign:
            break
        if word.strip().lower() == "escape" and value.strip() == "`":
            escape = "`"
    at = 0
    while at < len(lines):
        first = at
        joined = ""
        places: list[tuple[int, int]] = []
        while at < len(lines):
            line = lines[at].strip(_BLANKS) if not joined else lines[at].rstrip(_BLANKS)
            at += 1
            if not line.strip() or line.lstrip().startswith("#"):
                if joined:
                    continue
                break
            places.append((len(joined), at))
            joined += line.removesuffix(escape)
            if not line.endswith(escape):
                break
        name, words = _first_word(joined)
        if not name:
            continue
        # What `lines` says counts from where the words begin.
        shift = len(joined) - len(words)
        heredocs = []
        for end, strip in _heredoc_ends(words) if name.upper() in {"RUN", "COPY", "ADD"} else ():
            begin = at
            while at < len(lines) and (lines[at].lstrip("\t") if strip else lines[at]) != end:
                at += 1
            heredocs.append((begin + 1, "\n".join(lines[begin:at])))
            at += 1
        yield Instruction(
            first + 1, name.upper(), words, tuple((max(offset - shift, 0), line) for offset, line in places), tuple(heredocs)
        )


def _first_word(line: str) -> tuple[str, str]:
    name = line.replace("\t", " ").partition(" ")[0]
    return name, line[len(name) :].lstrip(_BLANKS)


def _heredoc_ends(words: str) -> list[tuple[str, bool]]:
    """Return what ends each here-document that the words open, and whether tabs before it are taken off."""
    found = []
    for word in words.split():
        _, sign, end = word.partition("<<")
        strip = end.startswith("-")
        end = end.removeprefix("-").strip("'\"")
        if sign and end and set(end) <= _NAME:
            found.append((end, strip))
    return found


def _stage(each: Instruction, arguments: dict[str, Value]) -> _Stage:
    words = [substitute(word, _lookup(arguments)) for word in each.words.split()]
    platform = ""
    while words and words[0].startswith("--"):
        platform = words[0].partition("=")[2] if words[0].startswith("--platform=") else platform
        del words[0]
    name = words[2] if len(words) > 2 and words[1].lower() == "as" else ""
    return _Stage(Base(words[0] if words else "", each.line, platform), name.lower(), [])


def _chain(stages: list[_Stage]) -> list[_Stage]:
    """Return the stages that the final one is made from, the lowest first."""
    chain = [stages[-1]]
    at = len(stages) - 1
    while True:
        wanted = chain[0].base.image.lower()
        below = [index for index in range(at) if stages[index].name == wanted and wanted]
        if not below:
            return chain
        at = below[-1]
        chain.insert(0, stages[at])


def _needed(stages: list[_Stage], chain: list[_Stage]) -> tuple[Base, ...]:
    """Return the images that a build of the final stage pulls: its own, and those of the stages that it copies from."""
    names = {stage.name for stage in stages if stage.name}
    wanted = list(chain)
    done: list[_Stage] = []
    while wanted:
        stage = wanted.pop(0)
        if stage in done:
            continue
        done.append(stage)
        for each in stage.instructions:
            origin = _flag(each.words, "--from").lower()
            wanted += [other for at, other in enumerate(stages) if origin and origin in {other.name, str(at)}]
        wanted += [other for other in stages if other.name and other.name == stage.base.image.lower() and other is not stage]
    return tuple(stage.base for stage in stages if stage in done and stage.base.image.lower() not in names)


def _flag(words: str, flag: str) -> str:
    for word in words.split():
        if not word.startswith("--"):
            return ""
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return ""


def _set_arguments(each: Instruction, known: dict[str, Value], *outer: dict[str, Value]) -> None:
    """Take an ARG: its default, else what the same name has before the first FROM; a variable set by ENV wins."""
    for word in _words(each.words):
        name, sign, default = word.partition("=")
        above = outer[0].get(name) if outer else None
        if len(outer) > 1 and name in outer[1]:
            continue
        if sign:
            known[name] = Value(substitute(default, _lookup(known)), each.line)
        elif above is not None:
            known[name] = above


def _pairs(words: str) -> list[tuple[str, str]]:
    """Return an ENV's names and values; the old form ``ENV NAME all the rest`` too."""
    name = words.split(maxsplit=1)[0] if words.split() else ""
    if name and "=" not in name:
        return [(name, words[len(name) :].strip().strip("\"'"))]
    return [(each.partition("=")[0], each.partition("=")[2]) for each in _words(words) if "=" in each]


def _words(words: str) -> list[str]:
    """Split at blanks outside quotes, and take the quotes off."""
    return [word for command in _split(words, operators=False) for word in command.words]


def _lookup(known: dict[str, Value]) -> Callable[[str], str | None]:
    return lambda name: known[name].value if name in known else None


def substitute(word: str, value: Callable[[str], str | None]) -> str:
    """Return a word with its variables put in, ``${A:-default}`` and ``${A:+other}`` too; one that is not known stays."""
    found = ""
    while True:
        before, sign, rest = word.partition("$")
        found += before
        if not sign:
            return found
        if rest.startswith("{") and "}" in rest:
            inner, _, word = rest[1:].partition("}")
            name, operator, other = inner.partition(":")
            known = value(name)
            if operator and other[:1] == "-":
                found += known or other[1:]
            elif operator and other[:1] == "+":
                found += other[1:] if known else ""
            else:
                found += f"${{{inner}}}" if known is None or operator else known
            continue
        length = next((at for at, sign_ in enumerate(rest) if sign_ not in _NAME), len(rest))
        name, word = rest[:length], rest[length:]
        known = value(name) if name else None
        found += f"${name}" if known is None else known


def _mounts(each: Instruction, known: dict[str, Value], folder: str) -> tuple[Copy, ...]:
    """Return what RUN --mount=type=bind lends to the commands of one RUN."""
    found = []
    for word in each.words.split():
        if not word.startswith("--"):
            break
        options = dict(part.partition("=")[::2] for part in substitute(word, _lookup(known)).removeprefix("--mount=").split(","))
        target = next((options[name] for name in ("target", "dst", "destination") if options.get(name)), "")
        if word.startswith("--mount=") and options.get("type", "bind") == "bind" and target:
            source = options.get("source") or options.get("src") or "."
            found.append(Copy(each.line, options.get("from", ""), (source,), target, folder))
    return tuple(found)


def _run(each: Instruction, known: dict[str, Value], folder: str) -> list[Command]:
    words = each.words
    offset = 0
    while words[offset:].startswith("--"):
        rest = words[offset:]
        flag = rest.split(maxsplit=1)[0]
        offset += len(flag) + len(rest[len(flag) :]) - len(rest[len(flag) :].lstrip())
    body = words[offset:]
    if body.startswith("["):
        import json

        try:
            argv = json.loads(body)
        except (ValueError, RecursionError):
            argv = None
        if isinstance(argv, list) and all(isinstance(word, str) for word in argv):
            if len(argv) > 2 and argv[1].startswith("-") and argv[1].endswith("c"):
                return list(commands(argv[2], _lookup(known), lambda _: each.line, folder))
            return [Command(tuple(argv), each.line, sure=True, folder=folder)]
    if each.heredocs and body.startswith("<<"):
        found: list[Command] = []
        for line, script in each.heredocs:
            place = lambda at, line=line, script=script: line + script.count("\n", 0, at)  # noqa: E731
            found += commands(script, _lookup(known), place, folder)
        return found
    return list(commands(body, _lookup(known), lambda at: each.at(at + offset), folder))


def _copy(each: Instruction, known: dict[str, Value]) -> list[Copy]:
    words = [substitute(word, _lookup(known)) for word in _words(each.words)]
    origin = ""
    while words and words[0].startswith("--"):
        origin = words[0].partition("=")[2] if words[0].startswith("--from=") else origin
        del words[0]
    words = [word.strip('[]",') for word in words if word.strip('[]",')]
    return [Copy(each.line, origin, tuple(words[:-1]), words[-1])] if len(words) > 1 else []


class _Simple(NamedTuple):
    offset: int
    words: list[str]
    operator: str
    """What stands before it: empty, ``&&``, ``||``, ``;``, ``|``, a line's end."""
    files: tuple[str, ...] = ()


def _split(script: str, *, operators: bool = True) -> Iterator[_Simple]:
    """Yield the simple commands of a shell script; quotes and backslashes are taken off, ``$(...)`` stays one word."""
    current: list[str] = []
    files: list[str] = []
    word: str | None = None
    start = 0
    before = ""
    at = 0
    while at < len(script):
        sign = script[at]
        if sign == "\\" and at + 1 < len(script):
            if script[at + 1] != "\n":
                word = (word or "") + script[at + 1]
            at += 2
            continue
        if sign in "'\"":
            end = _closing_quote(script, at)
            part = script[at + 1 : end]
            word = (word or "") + (part if sign == "'" else part.replace('\\"', '"').replace("\\\n", ""))
            at = end + 1
            continue
        if sign == "$" and script.startswith("$(", at):
            end = _closing_parenthesis(script, at + 1)
            word = (word or "") + script[at:end]
            at = end
            continue
        if operators and sign in "<>":
            # A shell sends the output of `pip install torch>=2` to a file named =2: what is asked for is torch.
            if word is not None and not word.isdigit() and word != "&":
                current.append(word)
            word = None
            end = _after_redirection(script, at)
            files.append(script[at:end].lstrip("<>&| \t"))
            at = end
            continue
        breaks = operators and sign in ";|&\n()"
        if sign in " \t\n" or breaks:
            if word is not None:
                current.append(word)
                word = None
            if breaks:
                operator = script[at : at + 2] if script[at : at + 2] in {"&&", "||", ";;"} else sign
                if current:
                    yield _Simple(start, current, before, tuple(files))
                    current, files = [], []
                    before = operator
                elif operator != "\n":
                    before = operator
                at += len(operator)
                continue
            at += 1
            continue
        if sign == "#" and word is None and operators:
            at = script.find("\n", at)
            at = len(script) if at < 0 else at
            continue
        if word is None and not current:
            start = at
        word = (word or "") + sign
        at += 1
    if word is not None:
        current.append(word)
    if current:
        yield _Simple(start, current, before, tuple(files))


def _after_redirection(script: str, at: int) -> int:
    """Return where a redirection ends: its sign, blanks, and the file or descriptor that it names."""
    while at < len(script) and script[at] in "<>&|":
        at += 1
    while at < len(script) and script[at] in _BLANKS:
        at += 1
    while at < len(script) and script[at] not in " \t\n;|&()<>":
        at += 1
    return at


def _closing_quote(script: str, at: int) -> int:
    quote = script[at]
    end = at + 1
    while end < len(script) and script[end] != quote:
        end += 2 if script[end] == "\\" and quote == '"' else 1
    return min(end, len(script))


def _closing_parenthesis(script: str, at: int) -> int:
    depth = 0
    for end in range(at, len(script)):
        depth += {"(": 1, ")": -1}.get(script[end], 0)
        if depth == 0:
            return end + 1
    return len(script)


def commands(script: str, value: Callable[[str], str | None], line: Callable[[int], int], folder: str = ".") -> Iterator[Command]:
    """Yield the simple commands of a shell script; ``value`` gives variables, ``line`` the line of an offset.

    Assignments, sudo and the shell's own words before a command are left out; a variable assigned on the way is known after it.
    After a ``cd`` that may not have run, or that ends with its subshell, the folder is not known.
    """
    subshells = "(" in script.replace("$(", "")
    depth = 0
    own: dict[str, str] = {}
    for simple in _split(script):
        words = simple.words
        opened = words[0] in _OPENING
        depth += opened and words[0] not in {"elif", "else"}
        sure = depth == 0 and simple.operator != "||"
        depth = max(depth - (words[0] in _CLOSING), 0)

        def known(name: str) -> str | None:
            return own.get(name) if name in own else value(name)

        argv = [substitute(word, known) for word in words]
        while argv and (argv[0] in _PREFIXES or _assigns(argv[0])):
            if _assigns(argv[0]) and len(argv) == 1 and sure:
                name, _, given = argv[0].partition("=")
                own[name] = given
            del argv[0]
        if argv and argv[0] == "export":
            own.update((word.partition("=")[0], word.partition("=")[2]) for word in argv[1:] if sure and _assigns(word))
        if argv:
            yield Command(tuple(argv), line(simple.offset), sure, simple.files, folder)
            if argv[0] == "cd":
                folder = within(folder, argv[1]) if len(argv) == 2 and sure and not subshells else ""
            elif argv[0] in {"pushd", "popd"}:
                folder = ""


def _assigns(word: str) -> bool:
    name, sign, _ = word.partition("=")
    return bool(sign and name) and set(name) <= _NAME and not name[0].isdigit()


def packages(steps: Iterable[Command]) -> Iterator[Package]:
    """Yield what commands install or remove by pip, uv, conda, apt, dnf, yum, apk and zypper, in their order."""
    for step in steps:
        words = step.argv
        program = words[0].rpartition("/")[2]
        rest = list(words[1:])
        python = ""
        if program.startswith("python") and rest[:2] == ["-m", "pip"]:
            python, program, rest = program.removeprefix("python"), "pip", rest[2:]
        elif program.startswith("pip") and program[3:4].isdigit():
            python, program = program.removeprefix("pip"), "pip"
        elif program == "uv" and rest[:1] == ["pip"]:
            program, rest = "pip", rest[1:]
        verb = next((word for word in rest if not word.startswith("-")), "")
        rest = rest[rest.index(verb) + 1 :] if verb else []
        if program == "pip" and verb in {"install", "uninstall"}:
            yield from _pip(step, rest, python if "." in python else "", removed=verb == "uninstall")
        elif program in {"conda", "mamba", "micromamba"} and verb in {"install", "create", "env"}:
            yield from _conda(step, rest)
        elif (program, verb) in _FROM_PROJECT:
            what = f"{program} {verb}"
            yield Package("file", what, (), "", (), (), what, step.line, step.sure)
        elif program in {"apt-get", "apt", "aptitude", "dnf", "yum", "microdnf", "zypper", "tdnf"} and verb == "install":
            for word in _plain(rest):
                name, sign, version = word.partition("=")
                yield Package("system", name.lower(), (), f"={version}" if sign else "", (), (), word, step.line, step.sure)
        elif program == "apk" and verb == "add":
            for word in _plain(rest):
                yield Package("system", word.lower(), (), "", (), (), word, step.line, step.sure)


def _plain(words: list[str]) -> list[str]:
    return [word for at, word in enumerate(words) if not word.startswith("-") and (at == 0 or words[at - 1] not in _WITH_VALUE)]


def _options(words: list[str], *names: str) -> tuple[str, ...]:
    """Return the values of options, given as ``--name value`` or ``--name=value``."""
    found = [words[at + 1] for at, word in enumerate(words[:-1]) if word in names]
    found += [
        word.partition("=")[2] for word in words if word.partition("=")[0] in names and "=" in word and word.startswith("--")
    ]
    return tuple(found)


def _pip(step: Command, words: list[str], python: str, *, removed: bool) -> Iterator[Package]:
    index = _options(words, "-i", "--index-url", "--default-index")
    backend = _options(words, "--torch-backend")
    if backend and backend[0] != "auto":
        index = (f"whl/{backend[0]}",)
    extra = _options(words, "--extra-index-url", "--index", "-f", "--find-links")
    fresh = any(word in {"-U", "--upgrade", "-I", "--ignore-installed", "--force-reinstall", "--reinstall"} for word in words)
    # Bounds come first, since they hold for all that follows.
    for option, names in () if removed else (("-c", ("-c", "--constraint")), ("-r", ("-r", "--requirement"))):
        for path in _options(words, *names):
            file = Package("file", path, (), "", index, extra, path, step.line, step.sure, python=python, fresh=fresh)
            yield file._replace(option=option)
    for word in _plain(words):
        name, extras, spec = requirement(word)
        if name:
            yield Package("pip", name, extras, spec, index, extra, word, step.line, step.sure, removed, python, fresh)
        elif not removed:
            # A folder or an address: what it requires is not known.
            yield Package("file", word, (), "", index, extra, word, step.line, step.sure)


def requirement(word: str) -> tuple[str, tuple[str, ...], str]:
    """Return a requirement's name, extras and version; a wheel's address is taken apart, any other address has no name."""
    word = word.partition(";")[0].strip()
    name, at, address = word.partition("@")
    if "://" in word or word.endswith(".whl"):
        parts = (address if at and "://" in address else word).rpartition("/")[2].partition("#")[0].replace("%2B", "+").split("-")
        if parts[-1].endswith(".whl") and len(parts) > 4:
            return parts[0].lower().replace("_", "-"), (), f"=={parts[1]}"
        if not at or "://" in name:
            return "", (), ""
        return _named(name)[0], _named(name)[1], "@"
    if word.startswith((".", "/")) or "/" in word:
        return "", (), ""
    return _named(word)


def _named(word: str) -> tuple[str, tuple[str, ...], str]:
    end = next((at for at, sign in enumerate(word) if sign in "[=<>!~ "), len(word))
    name, rest = word[:end], word[end:].strip()
    extras: tuple[str, ...] = ()
    if rest.startswith("["):
        inside, _, rest = rest[1:].partition("]")
        extras = tuple(each.strip().lower() for each in inside.split(","))
    return name.lower().replace("_", "-").replace(".", "-"), extras, rest.replace(" ", "")


def _conda(step: Command, words: list[str]) -> Iterator[Package]:
    channels = _options(words, "-c", "--channel")
    skipped = {"-c", "-n", "-p", "-f", "--file"}
    for path in _options(words, "-f", "--file"):
        yield Package("file", path, (), "", channels, (), path, step.line, step.sure)
    for at, word in enumerate(words):
        if (
            word.startswith("-")
            or word in {"create", "update"}
            or (at and (words[at - 1] in _WITH_VALUE or words[at - 1] in skipped))
        ):
            continue
        channel, sign, word_ = word.rpartition("::")
        name, extras, spec = _named(word_)
        # conda's one sign is a prefix: 2.1 is any 2.1.x, as pip's ==2.1.* is.
        spec = f"=={spec[1:]}" if spec.startswith("=") and not spec.startswith("==") else spec
        yield Package("conda", name, extras, spec, (channel,) if sign else channels, (), word, step.line, step.sure)
