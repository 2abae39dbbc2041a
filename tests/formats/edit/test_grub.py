"""One kernel argument added to GRUB's shell files or taken out of them, every other byte kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.formats import Malformed
from gpudoctor.formats import grub as parser
from gpudoctor.formats.cmdline import parse
from gpudoctor.formats.edit import Unsafe, grub
from gpudoctor.formats.edit.grub import DROP_IN, MAIN, add_argument, remove_argument
from tests.edits import cases, outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Files = tuple[tuple[str, bytes], ...]

KEY, ALL = "GRUB_CMDLINE_LINUX_DEFAULT", "GRUB_CMDLINE_LINUX"
NAME = "systemd.unified_cgroup_hierarchy"
V1 = f"{NAME}=0"
COMMENT = "# Written by gpudoctor fix: kernel arguments, appended to what the files before this one say.\n"


def opened(data: bytes) -> Files:
    """Split a fixture into the main file and, each below a line with its path (``### /etc/default/grub.d/…``), the drop-ins."""
    files = [[MAIN, b""]]
    for line in data.split(b"\n"):
        if line.startswith(b"### /etc/"):
            files.append([line[4:].decode(), b""])
        else:
            files[-1][1] += line + b"\n"
    files[-1][1] = files[-1][1].removesuffix(b"\n")
    return tuple((path, body) for path, body in files)


def joined(files: Files) -> bytes:
    """Undo ``opened``; a file without a final newline gets one where another follows."""
    whole = b""
    for path, body in files:
        if path != MAIN:
            whole += b"" if whole.endswith(b"\n") or not whole else b"\n"
            whole += f"### {path}\n".encode()
        whole += body
    return whole


def is_bash(words: list[str]) -> bool:
    """Tell whether the first line of an expectation says that sh is bash."""
    return words[-1] == "bash"


def edited(files: Files, words: list[str]) -> Files:
    """Do what the first line of an expectation asks: a verb, its arguments, and ``bash`` where sh is bash; return all files after it."""
    bash = is_bash(words)
    verb, *rest = words[: len(words) - bash]
    if verb == "add":
        style, argument = rest
        assert style in {"main", "drop-in"}
        path, data = add_argument(files, argument, style=style, bash=bash)  # type: ignore[arg-type]
        return tuple(sorted({**dict(files), path: data}.items()))
    assert verb == "remove"
    changed = dict(remove_argument(files, rest[0], value=rest[1] if len(rest) > 1 else None, bash=bash))
    left = ((path, changed.get(path, data)) for path, data in files)
    return tuple((path, data) for path, data in left if data is not None)


def line(files: Files, *, bash: bool = False) -> list[tuple[str, str | None]]:
    """Return the arguments that the kernel gets of all files, by the parser alone."""
    both = [parser.effective(files, name, bash=bash).value or "" for name in (ALL, KEY)]
    return list(parse(" ".join(both)))


def main(content: str) -> Files:
    """Return one main file."""
    return ((MAIN, content.encode()),)


@pytest.mark.parametrize(("path", "words", "expected"), cases("grub"))
def test_fixture(path: Path, words: list[str], expected: bytes):
    """Each messy file changes exactly as its expectation says, asking again changes nothing more, and the kernel line is as asked."""
    assert outcome(path, lambda data: joined(edited(opened(data), words))) == expected
    files = opened(path.read_bytes())
    assert joined(files) == path.read_bytes()
    if expected.startswith((b"malformed: ", b"refused: ")):
        return
    once = edited(files, words)
    assert edited(once, words) == once
    before, after = line(files, bash=is_bash(words)), line(once, bash=is_bash(words))
    if words[0] == "add":
        (wanted,) = parse(words[2])
        assert [each for each in after if each[0] == wanted[0]][-1] == wanted
        assert after == before or any(after[:at] + after[at + 1 :] == before for at in range(len(after)))
    else:
        value = words[2] if len(words) > 2 and words[2] != "bash" else None
        same = words[1].replace("-", "_")
        assert after == [each for each in before if each[0].replace("-", "_") != same or value not in {None, each[1]}]


def test_drop_in_is_made_as_it_is_documented():
    """The new file says who wrote it, and its one line adds to what the files before it say."""
    path, data = add_argument(main(f'{KEY}="quiet"\n'), V1, style="drop-in")
    assert (path, data.decode()) == (DROP_IN, f'{COMMENT}{KEY}="${KEY} {V1}"\n')
    files = ((MAIN, b""), (path, data))
    assert add_argument(files, "a=1", style="drop-in") == (DROP_IN, data + f'{KEY}="${KEY} a=1"\n'.encode())


def test_drop_in_is_put_where_it_is_sourced():
    """A drop-in whose name sorts behind ours is sourced after it, so that one which sets the variable anew wins."""
    late = ("/etc/default/grub.d/99-h.cfg", f'# late\n\n{KEY}="quiet"\n'.encode())
    with pytest.raises(Unsafe) as caught:
        add_argument((*main(""), late), V1, style="drop-in")
    assert caught.value.line == 3
    assert caught.value.reason.startswith(f"{late[0]} sets {KEY} anew")
    early = ("/etc/default/grub.d/99-a.cfg", late[1])
    assert add_argument((*main(""), early), V1, style="drop-in")[0] == DROP_IN


def test_the_drop_in_that_loses_the_edit_is_named_and_not_a_later_one_that_only_appends():
    """Of several drop-ins the one is told that sets the variable anew."""
    files = (
        *main(f'{KEY}="quiet"\n'),
        ("/etc/default/grub.d/40-a.cfg", f'{KEY}="${KEY} a"\n'.encode()),
        ("/etc/default/grub.d/50-b.cfg", f'A=1\n{KEY}="b"\n'.encode()),
        ("/etc/default/grub.d/60-c.cfg", f'{KEY}="${KEY} c"\n'.encode()),
    )
    with pytest.raises(Unsafe, match=rf"^line 2: /etc/default/grub\.d/50-b\.cfg sets {KEY} anew, so that an argument in {MAIN}"):
        add_argument(files, V1, style="main")


def test_held_argument_gives_the_file_that_says_so():
    """Nothing is written where the argument holds: the place of its last word comes back as it is."""
    drop_in = ("/etc/default/grub.d/50-x.cfg", f'{KEY}="${KEY} {V1}"\n'.encode())
    for style in ("main", "drop-in"):
        assert add_argument((drop_in,), V1, style=style) == drop_in  # type: ignore[arg-type]
        assert add_argument((*main(f'{ALL}="{V1}"\n'), drop_in), V1, style=style) == drop_in  # type: ignore[arg-type]
    in_main = main(f'{ALL}="{V1}"\n{KEY}="quiet"\n')
    assert add_argument(in_main, V1, style="drop-in") == in_main[0]


def test_no_main_file_is_none():
    """Without a main file the drop-in stands alone, and the main style makes the file."""
    assert add_argument((), V1, style="drop-in")[0] == DROP_IN
    assert add_argument((), V1, style="main") == (MAIN, f'{KEY}="{V1}"\n'.encode())
    assert remove_argument((), NAME) == ()


def test_malformed_file_is_told_with_its_path():
    """Of several files the broken one is named, also where only the carriage returns are wrong."""
    broken = "/etc/default/grub.d/50-x.cfg"
    for data, number in ((b"A=1\nB = 2\n", 2), (b"A=1\r\n\t\r\n", 2), (b"\xef\xbb\xbfA=1\n", 1), (b"\n\nexit 1\n", 3)):
        for verb in (lambda files: add_argument(files, V1, style="main"), lambda files: remove_argument(files, NAME)):
            with pytest.raises(Malformed) as caught:
                verb((*main(f'{KEY}="quiet"\n'), (broken, data)))
            assert (caught.value.path, caught.value.line) == (broken, number)


@pytest.mark.parametrize("argument", ["", "=1", "a b", "a=$b", 'a="b"', "a\\", "a;b", "a#", "-", "--", "ü=1", "a=\n"])
def test_argument_that_needs_quotes_is_refused(argument: str):
    """Only what means the same to sh, to GRUB and to the kernel is written."""
    with pytest.raises(Unsafe, match="no argument that can be written without quotes"):
        add_argument(main(""), argument, style="main")


@pytest.mark.parametrize("sign", [";", "&", "|", "<", ">", "{", "}", " #", "'", '\\"', "\n"])
def test_what_grub_would_cut_off_is_refused(sign: str):
    """Behind a sign that ends the line in GRUB's own language nothing is added, in either variable and by either style."""
    for content in (f'{KEY}="quiet{sign}"\n', f'{ALL}="quiet{sign}"\n{KEY}="quiet"\n'):
        for style in ("main", "drop-in"):
            with pytest.raises(Unsafe, match=r"sign of its own language|still open|never closed"):
                add_argument(main(content), V1, style=style)  # type: ignore[arg-type]


@pytest.mark.parametrize("sign", ["# ", "; ", "\n"])
def test_what_grub_has_cut_off_already_is_not_taken_out(sign: str):
    """Behind such a sign the argument does nothing, which is told; before it, it is taken out."""
    for content in (f'{KEY}="quiet {sign}{V1}"\n', f'{ALL}="quiet {sign}"\n{KEY}="{V1}"\n'):
        with pytest.raises(Unsafe, match="stands behind it, where it does nothing"):
            remove_argument(main(content), NAME)
    assert remove_argument(main(f'{KEY}="{V1} quiet {sign}"\n'), NAME) == main(f'{KEY}="quiet {sign}"\n')


def test_open_escape_is_refused():
    """GRUB would glue the new argument to a backslash at the end."""
    for style in ("main", "drop-in"):
        with pytest.raises(Unsafe, match="still open"):
            add_argument(main(f'{KEY}="quiet\\\\"\n'), V1, style=style)  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["a#b", "'a;b'", "\\${a}", "a\\\\{", '\\"a;b\\"', "a\\\\;b", "'#'"])
def test_what_grub_does_not_cut_off_is_extended(word: str):
    """The same signs in GRUB's quotes, or a hash inside a word, end nothing."""
    content = f'{KEY}="quiet {word}"\n'
    assert add_argument(main(content), V1, style="main")[1].decode() == f'{KEY}="quiet {word} {V1}"\n'


@pytest.mark.parametrize(
    "other",
    [
        f'GRUB_CMDLINE_XEN="${KEY}"\n',
        f'if [ "${KEY}" ]; then GRUB_X=1; fi\n',
        f'GRUB_X="$(echo ${{{KEY}}})"\n',
        f'[ -n "${{{ALL}}}" ] && GRUB_X="${KEY}"\n',
        f'{ALL}="${KEY}"\n',
    ],
)
def test_what_depends_on_the_arguments_is_not_changed_with_them(other: str):
    """Another setting or command that takes its value from the kernel arguments keeps both verbs away."""
    with pytest.raises(Unsafe):
        add_argument(main(f'{KEY}="quiet"\n{other}'), "a=1", style="main")
    if other.startswith(ALL):
        # Both are the kernel line, and both lose it.
        assert remove_argument(main(f'{KEY}="quiet a=1"\n{other}'), "a") == main(f'{KEY}="quiet"\n{other}')
        return
    with pytest.raises(Unsafe):
        remove_argument(main(f'{KEY}="quiet a=1"\n{other}'), "a")


def test_argument_that_would_come_twice_is_refused():
    """Where a drop-in doubles what the main file says, an edit of the main file would put the argument on the line twice."""
    files = (*main(f'{KEY}="quiet"\n'), ("/etc/default/grub.d/50-x.cfg", f'{KEY}="${KEY} ${KEY}"\n'.encode()))
    with pytest.raises(Unsafe, match="more than the asked argument"):
        add_argument(files, V1, style="main")
    assert add_argument(files, V1, style="drop-in")[0] == DROP_IN
    files = (*main(f'{KEY}="quiet {V1}"\n'), files[1])
    assert remove_argument(files, NAME) == main(f'{KEY}="quiet"\n')


def test_only_our_own_drop_in_loses_its_line():
    """In the file of somebody else a line that then says nothing stays, and so does the file."""
    path = "/etc/default/grub.d/50-x.cfg"
    files = (
        (MAIN, b""),
        (path, f'{KEY}="${KEY} {V1}"\n'.encode()),
        (DROP_IN, f'{COMMENT}\n{KEY}="${{{KEY}}} {V1}"\r\n'.encode()),
    )
    assert remove_argument(files, NAME) == ((path, f'{KEY}="${KEY}"\n'.encode()), (DROP_IN, None))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('X="{} a"', 'X="a"'),
        ('X="a {}"', 'X="a"'),
        ('X="a {} b"', 'X="a b"'),
        ('X="a  {}\t b"', 'X="a\t b"'),
        ('X=" {} a "', 'X=" a "'),
        ('X="{} {} a"', 'X="a"'),
        ('X="a {} {} b {}"', 'X="a b"'),
        ('X=" {} "', 'X=" "'),
        ("X={}", "X="),
        ("X={}\\ a", "X=a"),
        ("X=a\\ {}", "X=a"),
        ("X='a '\"{} b\"", "X='a'\" b\""),
        ('X="$GRUB_A {}"', 'X="$GRUB_A"'),
        ('X="{} $GRUB_A"', 'X="$GRUB_A"'),
        ('X="$GRUB_A {} b"', 'X="$GRUB_A b"'),
        ('X="{}$GRUB_A"', 'X="$GRUB_A"'),
        ('X="a \\\n{} \\\nb"', 'X="a \\\nb"'),
        ('X="\\\n{} \\\nb"', 'X="\\\nb"'),
        ('X="\\\n  {} \\\nb"', 'X="\\\n  b"'),
        ('X="a {}\nb"', 'X="a\nb"'),
    ],
)
def test_space_goes_with_the_argument(before: str, after: str):
    """The space before it goes, or behind it at the start, and what parts the other arguments stays."""
    for name in (KEY, ALL):
        given = before.replace("X", name, 1).format(*[V1] * 3)
        wanted = after.replace("X", name, 1)
        assert remove_argument(main(f"{given} # end\r\nA=1"), NAME) == ((MAIN, f"{wanted} # end\r\nA=1".encode()),)


@pytest.mark.parametrize(
    ("function", "damage"),
    [
        ("_extended", lambda text: text.replace(V1, f"{V1} more")),
        ("_extended", lambda text: text.replace("quiet", "quite")),
        ("_extended", lambda text: text.replace("GRUB_TIMEOUT=5", "GRUB_TIMEOUT=6")),
        ("_extended", lambda text: text.replace("GRUB_TIMEOUT=5", "# GRUB_TIMEOUT=5")),
        ("_extended", lambda text: text.replace("unset GRUB_X", "unset GRUB_Y")),
        ("_extended", lambda text: text.replace("nomodeset", "")),
        ("_extended", lambda text: text.replace(V1, f"{NAME}=1")),
        ("_cut", lambda text: text.replace("quiet ", "")),
        ("_cut", lambda text: text.replace("nomodeset", "nomodeset a=1")),
        ("_cut", lambda text: text + "GRUB_Z=1\n"),
        ("_cut", lambda text: text + "echo\n"),
        ("_cut", lambda text: text.replace('splash"', f'{V1} splash"')),
    ],
)
def test_a_wrong_edit_is_found_by_the_check(monkeypatch: pytest.MonkeyPatch, function: str, damage: Callable[[str], str]):
    """Whatever else an edit would have changed, arguments, settings or commands, the result is refused."""
    content = f'GRUB_TIMEOUT=5\nunset GRUB_X\n{KEY}="quiet {{}}splash"\n{ALL}="nomodeset"\n'
    real = getattr(grub, function)
    done = []

    def damaged(*words: Any) -> Any:
        result = real(*words)
        start, data = result if function == "_extended" else (0, result)
        worse = damage(data.decode()).encode()
        done.append(worse != data)
        return (start, worse) if function == "_extended" else worse

    monkeypatch.setattr(grub, function, damaged)
    edit: Callable[[], Any] = lambda: add_argument(main(content.format("")), V1, style="main")  # noqa: E731
    if function == "_cut":
        edit = lambda: remove_argument(main(content.format(f"{V1} ")), NAME)  # noqa: E731
    with pytest.raises(Unsafe):
        edit()
    assert done == [True]


def shared(one: bytes, other: bytes) -> int:
    """Return how many bytes two files share from their start."""
    return next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other)))


# Messy files: random ways of writing the same settings, with other things between them.
ARGUMENTS = st.lists(
    st.sampled_from(["quiet", "splash", "nomodeset", "a.b-c=1", "console=ttyS0,115200n8", f"{NAME}=1"]), max_size=4
)
GAPS = st.sampled_from([" ", "  ", "\t", " \\\n  "])
NOISE = [
    "# a comment",
    f'#{KEY}="x"',
    "GRUB_TIMEOUT=5",
    "export GRUB_A='1 2'",
    "GRUB_D=`lsb_release -i`",
    "unset GRUB_B",
    "A=1; B=2",
    f'{ALL}="ro"',
]


@st.composite
def assignments(draw: st.DrawFn, inner: str | None = None) -> str:
    """Draw an assignment of the variable: quotes, gaps, a reference to itself, what stands before it and behind it in its line."""
    words = draw(ARGUMENTS)
    if inner is not None:
        words.insert(draw(st.integers(0, len(words))), inner)
    kind = draw(st.sampled_from(['"', "'", "\\", "self"]))
    if kind == "\\":
        value = "\\ ".join(words)
    elif kind == "'":
        value = f"'{draw(st.sampled_from([' ', chr(9)])).join(words)}'"
    else:
        gaps = [draw(GAPS) for _ in words]
        value = "".join(word + gap for word, gap in zip(words, gaps, strict=True))
        value = value.rstrip("\\\n\t ") if draw(st.booleans()) else value
        value = f'"{f"${KEY} " if kind == "self" else draw(st.sampled_from(["", " "]))}{value}"'
    before, behind = draw(st.sampled_from(["", "  ", "export ", "A=1; "])), draw(st.sampled_from(["", "  # it's", " ; B=2"]))
    return f"{before}{KEY}={value}{behind}"


@st.composite
def files(draw: st.DrawFn, inner: str | None = None) -> Files:
    """Draw a main file and perhaps a drop-in which adds to it; ``inner`` is an argument that the last assignment of both has."""
    parts: list[str] = []
    for _ in range(draw(st.integers(0, 2))):
        parts += draw(st.lists(st.sampled_from(NOISE), max_size=3))
        parts.append(draw(assignments()))
    parts += [draw(assignments(inner))] if inner is not None else []
    parts += draw(st.lists(st.sampled_from(NOISE), max_size=3))
    text = "\n".join(parts)
    if "\\\n" not in text and draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    text += draw(st.sampled_from(["", "\n"])) if text else ""
    found: Files = ((MAIN, text.encode()),)
    if draw(st.booleans()):
        added = f" {inner}" if inner is not None and draw(st.booleans()) else ""
        found = (*found, ("/etc/default/grub.d/50-x.cfg", f'# x\n{KEY}="${KEY}{added} last"'.encode()))
    return found


@settings(max_examples=60, deadline=None)
@given(files(), st.sampled_from(["main", "drop-in"]))
def test_argument_comes_alone_and_goes_again(given_files: Files, style: Any):
    """One insertion into one file is all that changes, twice is once, and taking it out gives the very bytes where its line stood."""
    before = line(given_files)
    path, data = add_argument(given_files, V1, style=style)
    once = tuple(sorted({**dict(given_files), path: data}.items()))
    after = line(once)
    assert any(after[:at] + after[at + 1 :] == before and after[at] == (NAME, "0") for at in range(len(after)))
    assert add_argument(once, V1, style=style) in once
    back = {**dict(once), **dict(remove_argument(once, NAME, value="0"))}
    if style == "drop-in":
        assert back == {**dict(given_files), DROP_IN: None}
        return
    old = dict(given_files)[path]
    last = [each for each in parser.assignments(old.decode()) if each.name == KEY][-1:]
    if not last:
        assert data.startswith(old)
        assert data.removeprefix(old).strip() == f'{KEY}="{V1}"'.encode()
    elif last[0].raw[-1] in "\"'" or "\\" in last[0].raw:
        kept = shared(old, data) + shared(old[::-1], data[::-1])
        assert kept >= len(old)
        assert len(data) == len(old) + len(V1) + (data.count(b"\\ ") - old.count(b"\\ ")) + bool((last[0].value or "").strip())
        assert not (last[0].value or "").strip() or back == dict(given_files)


@settings(max_examples=60, deadline=None)
@given(files(inner=V1))
def test_argument_taken_out_leaves_the_others(given_files: Files):
    """No word of it is left, the others stay in order, only bytes are taken away, and a second time changes nothing."""
    changed = remove_argument(given_files, NAME, value="0")
    assert changed
    once = tuple((path, dict(changed).get(path, data)) for path, data in given_files)
    assert line(once) == [each for each in line(given_files) if each != (NAME, "0")]  # type: ignore[arg-type]
    for path, body in changed:
        left = iter(dict(given_files)[path])
        assert body is not None
        assert all(byte in left for byte in body)
        assert body.count(b"\n") + body.count(b"#") >= dict(given_files)[path].count(b"#")
    assert remove_argument(once, NAME, value="0") == ()  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            assignments(), st.sampled_from([*NOISE, f"{KEY}+='x'", f". /x\n{KEY}=", '$X"', "'", "\r", "\\", "fi", f"${KEY}"])
        ),
        max_size=6,
    )
)
def test_places_agree_with_the_parser(parts: list[str]):
    """Whatever stands in a file, either it is refused for what the parser says of it or every character's place is known."""
    try:
        remove_argument(main("\n".join(parts)), "absent", bash=True)
    except Malformed:
        return
    except Unsafe as unsafe:
        reason = unsafe.reason
    else:
        return
    assert "traced" not in reason
