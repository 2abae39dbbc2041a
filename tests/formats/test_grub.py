"""GRUB's shell files: every form that grub-mkconfig was seen to take or to refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.formats import Malformed, grub

MAIN = "/etc/default/grub"
KEY = "GRUB_CMDLINE_LINUX_DEFAULT"
V1 = "systemd.unified_cgroup_hierarchy=0"
UBUNTU = f"""\
# If you change this file, run 'update-grub' afterwards to update
# /boot/grub/grub.cfg. Don't forget.

GRUB_DEFAULT=0
GRUB_TIMEOUT_STYLE=hidden
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=`( . /etc/os-release; echo ${{NAME:-Ubuntu}} ) 2>/dev/null || echo Ubuntu`
{KEY}="quiet splash {V1}"
GRUB_CMDLINE_LINUX=""
#GRUB_CMDLINE_LINUX="{V1}"
"""


def value(content: str, key: str = KEY) -> str | None:
    """Compute a variable of one main file that must be computable."""
    result = grub.effective([(MAIN, content.encode())], key)
    assert result.computable
    return result.value


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f'{KEY}="quiet {V1}"\n', f"quiet {V1}"),
        (f"{KEY}='quiet {V1}'\n", f"quiet {V1}"),
        (f"{KEY}={V1}\n", V1),
        (f"{KEY}={V1}", V1),
        (f'export {KEY}="quiet {V1}"\n', f"quiet {V1}"),
        (f'{KEY}="quiet {V1}" # cgroup v1 for the GPU\n', f"quiet {V1}"),
        (f'A=1; {KEY}="quiet {V1}"\n', f"quiet {V1}"),
        (f'{KEY}="quiet \\\n{V1}"\n', f"quiet {V1}"),
        (f'{KEY}="quiet {V1}"\r\nGRUB_TIMEOUT=0\r\n', f"quiet {V1}"),
        (f'{KEY}="quiet"\n{KEY}="{V1}"\n', V1),
        (f'{KEY}="quiet"\n{KEY}="${KEY} {V1}"\n', f"quiet {V1}"),
        (f'{KEY}="quiet"\n{KEY}="${{{KEY}}} {V1}"\n', f"quiet {V1}"),
        (f'{KEY}="a \\"b\\" \\$c \\d"\n', 'a "b" $c \\d'),
        (f"{KEY}='$HOME \\'\n", "$HOME \\"),
        (f"{KEY}=a\\ b\n", "a b"),
        (f"{KEY}=\"a\"'b'c#d\n", "abc#d"),
        (f"{KEY}=\n", ""),
        (f"{KEY}=one A=two\n", "one"),
        (f'{KEY}="costs 5$"\n', "costs 5$"),
        (f'#{KEY}="{V1}"\n', None),
        ("GRUB_TIMEOUT=5\n", None),
        ("", None),
        (UBUNTU, f"quiet splash {V1}"),
    ],
)
def test_the_forms_that_work_mean_what_is_meant(content: str, expected: str | None) -> None:
    """Quotes, comments, continued lines, references and CRLF are read as the shell reads them."""
    assert value(content) == expected


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (
            f"GRUB_TIMEOUT=0\n{KEY}=quiet {V1}\n",
            2,
            "two words without quotes round them, of which sh takes the second for a command",
        ),
        (f'GRUB_TIMEOUT=0\n\n{KEY} = "{V1}"\n', 3, "a space before the equals sign"),
        (f'{KEY} ="{V1}"\n', 1, "a space before the equals sign"),
        (f'{KEY}= "{V1}"\n', 1, "a space after the equals sign"),
        (f"GRUB_TIMEOUT=0\n{V1}\n", 2, f"`{V1}` is no setting, and sh takes it for a command"),
        (f'GRUB_TIMEOUT=0\n{KEY}="quiet {V1}\nGRUB_TERMINAL=console\n', 2, "a quote that is never closed"),
        (f'{KEY}="quiet" {V1}"\n', 1, "a quote that is never closed"),
        (f"{KEY}='quiet\n", 1, "a quote that is never closed"),
        (f'{KEY}="quiet\nGRUB_CMDLINE_LINUX=""\nGRUB_X="y"\n', 1, "a quote that is never closed"),
        (f'{KEY}="${{X"\n', 1, "a brace that is never closed"),
        (f"{KEY}=$(uname\n", 1, "a command substitution that is never closed"),
        (f"{KEY}=`uname\n", 1, "a command substitution that is never closed"),
        (f'if true; then\n{KEY}="x"\n', 3, "a block that is never closed"),
        ("a=1\nb=\0\n", 2, "a NUL byte"),
    ],
)
def test_the_broken_forms_are_malformed(content: str, line: int, reason: str) -> None:
    """What stops the shell is told with its line, also what `sh -n` lets pass."""
    with pytest.raises(Malformed) as caught:
        grub.effective([(MAIN, content.encode())], KEY)
    assert (caught.value.line, caught.value.reason, caught.value.path) == (line, reason, MAIN)


def test_what_does_not_parse_has_no_assignments() -> None:
    """The list of assignments is refused for the same text as the value."""
    for broken in (f"{KEY}=quiet {V1}", f'{KEY} = "x"', f'{KEY}="x'):
        with pytest.raises(Malformed):
            grub.assignments(broken)


def test_plus_equals_is_broken_in_dash_and_appends_in_bash() -> None:
    """Debian's sh takes `+=` for a command; where sh is bash it works."""
    files = [(MAIN, f'{KEY}="quiet"\n{KEY}+=" {V1}"\n'.encode())]
    with pytest.raises(Malformed) as caught:
        grub.effective(files, KEY)
    assert (caught.value.line, caught.value.path) == (2, MAIN)
    assert grub.effective(files, KEY, bash=True).value == f"quiet {V1}"
    assert [a.append for a in grub.assignments(files[0][1].decode())] == [False, True]


@pytest.mark.parametrize("command", ["false", "exit 3"])
def test_a_drop_in_that_fails_is_malformed(command: str) -> None:
    """`sh -e` ends at it and the old grub.cfg stays, whatever the other files say."""
    drop_in = "/etc/default/grub.d/50-broken.cfg"
    with pytest.raises(Malformed) as caught:
        grub.effective([(MAIN, UBUNTU.encode()), (drop_in, f"#\n{command}\n".encode())], KEY)
    assert (caught.value.path, caught.value.line) == (drop_in, 2)


@pytest.mark.parametrize("command", ["false || true", "[ -f /x ] && exit 1", "if [ -f /x ]; then exit 1; fi"])
def test_a_command_that_may_not_run_is_no_failure(command: str) -> None:
    """Only what runs for sure is held against the file."""
    assert value(f'{command}\n{KEY}="quiet"\n') == "quiet"


def test_a_drop_in_overrides_the_main_file() -> None:
    """An edit of the main file is lost where a cloud image's drop-in sets the key."""
    cloud = "/etc/default/grub.d/50-cloudimg-settings.cfg"
    files = [(MAIN, UBUNTU.encode()), (cloud, f'# cloud\n{KEY}="console=ttyS0"\n'.encode())]
    assert grub.effective(files, KEY) == grub.Effective("console=ttyS0", cloud, 2, computable=True, problem="")


def test_a_late_drop_in_adds_and_an_early_one_is_lost() -> None:
    """`X="$X arg"` works in 99- and is overwritten in 10-."""
    cloud = ("/etc/default/grub.d/50-cloudimg-settings.cfg", f'{KEY}="console=ttyS0"\n'.encode())
    adding = f'{KEY}="${KEY} {V1}"\n'.encode()
    main = (MAIN, UBUNTU.encode())
    late = grub.effective([main, cloud, ("/etc/default/grub.d/99-x.cfg", adding)], KEY)
    early = grub.effective([main, ("/etc/default/grub.d/10-x.cfg", adding), cloud], KEY)
    assert (late.value, late.line) == (f"console=ttyS0 {V1}", 1)
    assert early.value == "console=ttyS0"


@pytest.mark.parametrize("name", ["99-x.conf", "99-x.cfg.dpkg-old", "README", ".99-x.cfg"])
def test_a_drop_in_of_another_name_is_ignored(name: str) -> None:
    """grub-mkconfig only sources `*.cfg`, so even a broken one of another name does no harm."""
    files = [(MAIN, UBUNTU.encode()), (f"/etc/default/grub.d/{name}", b'X="\nexit 3\n')]
    assert grub.effective(files, KEY).value == f"quiet splash {V1}"


@pytest.mark.parametrize(
    "content",
    [
        f"{KEY}=\"a $(uname -r | sed 's/)//') b\"\n",
        f"{KEY}=`cat /proc/cmdline`\n",
        f'{KEY}="${{X:-quiet}}"\n',
        f'{KEY}="$HOME"\n',
        f'{KEY}="$?"\n',
        f'if [ -f /x ]; then\n  {KEY}="quiet"\nfi\n',
        f'[ -f /x ] && {KEY}="quiet"\n',
        f'[ -f /x ] &&\n  {KEY}="quiet"\n',
        f'case a in (a) {KEY}="quiet";; b) {KEY}=loud;; esac\n',
        f'set_it() {{ {KEY}="quiet"; }}\n',
        f'( {KEY}="quiet" )\n',
        f'{KEY}="quiet"\n. /etc/default/more\n',
        f'{KEY}="quiet"\nunset {KEY}\n',
        f'. /etc/default/more\n{KEY}="$GRUB_MORE quiet"\n',
    ],
)
def test_what_needs_a_shell_cannot_be_computed(content: str) -> None:
    """No value is guessed where commands or conditions decide it, and the reason is told."""
    result = grub.effective([(MAIN, content.encode())], KEY)
    assert (result.value, result.computable, result.path) == (None, False, MAIN)
    assert result.problem


def test_other_commands_do_not_disturb() -> None:
    """A value set for sure after conditions and sourced files is known."""
    content = '. /etc/os-release\nif [ "$ID" = x ]; then\n  GRUB_X=1\nfi\nunset GRUB_Y\necho done 2>&1\n'
    content += f'{KEY}="quiet"\n'
    assert value(content) == "quiet"


def test_return_ends_a_drop_in() -> None:
    """What stands behind `return` is never reached."""
    assert value(f'{KEY}="quiet"\nreturn\n{KEY}="loud"\n') == "quiet"


def test_assignments_keep_what_was_written() -> None:
    """Each assignment has its line, its text and its pieces; a reference stays a reference."""
    found = grub.assignments('A="x"\n\nB="$A y"; C=$(date) # end\n')
    assert [(a.name, a.value, a.line, a.raw) for a in found] == [
        ("A", "x", 1, 'A="x"'),
        ("B", "${A} y", 3, 'B="$A y"'),
        ("C", None, 3, "C=$(date)"),
    ]
    assert found[1].parts == (grub.Part("A", reference=True), grub.Part(" y", reference=False))
    assert found[2].parts == ()


def test_a_value_that_doubles_itself_ends() -> None:
    """Lines that refer to themselves twice do not fill the memory."""
    content = 'GRUB_X="ab"\n' + 'GRUB_X="$GRUB_X$GRUB_X"\n' * 200
    assert not grub.effective([(MAIN, content.encode())], "GRUB_X").computable


@given(st.one_of(st.binary(), st.text(alphabet="GX=\"'\\$`(){};&|# \n+if").map(str.encode)))
def test_random_bytes_never_raise_anything_else(data: bytes) -> None:
    """Whatever the file holds, the only error is Malformed."""
    try:
        grub.effective([(MAIN, data)], "X")
    except Malformed as error:
        assert error.reason  # noqa: PT017 - either outcome is fine


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"\xef\xbb\xbfGRUB_CMDLINE_LINUX=x\n", 1, "byte order mark"),
        (b"GRUB_TIMEOUT=1\r\n\r\nGRUB_CMDLINE_LINUX=x\r\n", 2, "carriage return on an empty line"),
    ],
)
def test_signs_that_an_editor_hides_are_refused(data: bytes, line: int, words: str) -> None:
    """A byte order mark, and a carriage return alone on its line, are commands to sh, and end update-grub."""
    with pytest.raises(Malformed, match=words) as refused:
        grub.effective([("/etc/default/grub", data)], "GRUB_CMDLINE_LINUX")
    assert refused.value.line == line
