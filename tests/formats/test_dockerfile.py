"""Dockerfiles as people write them: stages, variables, continued lines, here-documents, and what is installed."""

from __future__ import annotations

import random

import pytest

from gpudoctor.formats import Malformed
from gpudoctor.formats.dockerfile import Dockerfile, Package, packages, parse, requirement, substitute


def read(text: str) -> Dockerfile:
    """Read a Dockerfile from a text."""
    return parse(text.encode())


def installed(text: str) -> list[Package]:
    """Return what a Dockerfile's final stage installs or removes."""
    return list(packages(read(text).commands))


def names(text: str) -> list[str]:
    """Return the names of what surely is installed."""
    return [each.name for each in installed(text) if each.sure and not each.removed]


def test_final_stage_counts_with_all_that_it_is_made_from():
    """Steps of the stages that the last one begins with come first; other stages leave nothing."""
    found = read(
        "FROM ubuntu:22.04 AS base\nENV A=1\nRUN pip install one\n"
        "FROM golang AS build\nRUN pip install two\n"
        "FROM base\nENV B=$A\nRUN pip install three\n"
    )
    assert found.base.image == "ubuntu:22.04"
    assert [each.name for each in packages(found.commands)] == ["one", "three"]
    assert {name: each.value for name, each in found.env.items()} == {"A": "1", "B": "1"}
    assert [each.image for each in found.bases] == ["ubuntu:22.04"]


def test_bases_are_of_the_stages_that_are_needed():
    """A stage that is copied from, by name or by number, is pulled too; one that nothing needs is not."""
    found = read("FROM a AS x\nFROM b\nFROM c AS unused\nFROM d\nCOPY --from=x /1 /\nCOPY --from=1 /2 /\nCOPY --from=e /3 /\n")
    assert [each.image for each in found.bases] == ["a", "b", "d"]
    assert [each.origin for each in found.copies] == ["x", "1", "e"]


def test_arguments_before_from_reach_it_and_a_stage_that_names_them():
    """ARG before the first FROM is for FROM lines; a stage has it only where it says ARG again, and ENV wins over it."""
    text = (
        "ARG V=12.4.1\nARG W\nFROM nvidia/cuda:${V}-base-${W:-ubuntu22.04}\nRUN pip install a==$V\nARG V\nRUN pip install b==$V\n"
    )
    found = read(text)
    assert found.base.image == "nvidia/cuda:12.4.1-base-ubuntu22.04"
    assert [each.words for each in packages(found.commands)] == ["a==$V", "b==12.4.1"]
    assert read("FROM a\nENV X=1\nARG X=2\nENV Y=$X\n").env["Y"].value == "1"


def test_lines_are_those_of_the_words():
    """Of a continued line each command has its own line; comments and blank lines in between count."""
    found = installed(
        "FROM a\n\n# one\nRUN apt-get update && \\\n    # two\n\n    apt-get install -y \\\n      b && \\\n    pip3 install c\n"
    )
    assert [(each.name, each.line) for each in found] == [("b", 7), ("c", 9)]


def test_case_windows_line_ends_byte_order_mark_and_escape_directive():
    """Instructions are known in any case, after a byte order mark, with CRLF, and with a backtick as the escape."""
    assert names("\ufefffrom a\r\nrun pip install b \\\r\n  c\r\n") == ["b", "c"]
    assert names("# escape=`\nFROM a\nRUN pip install b `\n  c\n") == ["b", "c"]


def test_here_documents_and_exec_form():
    """A script in a here-document is read line by line; the exec form is one command; a copied here-document is none."""
    text = 'FROM a\nRUN <<-EOF\n\tset -e\n\tpip install b\n\tEOF\nRUN ["pip", "install", "c"]\nCOPY <<EOF /x\nRUN pip install no\nEOF\nRUN pip install d\n'
    assert [(each.name, each.line) for each in installed(text)] == [("b", 4), ("c", 6), ("d", 10)]
    assert names('FROM a\nRUN ["sh", "-c", "pip install b && pip install c"]\n') == ["b", "c"]


def test_what_may_not_have_run_is_not_sure():
    """Commands in an if, in a loop, or behind || may not run; those behind && or ; do."""
    text = "FROM a\nRUN if [ $X = 1 ]; then pip install b; else pip install c; fi; pip install d || pip install e\n"
    assert [(each.name, each.sure) for each in installed(text)] == [("b", False), ("c", False), ("d", True), ("e", False)]


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("python3.11 -m pip install -U pip torch", ["pip", "torch"]),
        ("/opt/venv/bin/pip install --no-cache-dir --timeout 60 torch", ["torch"]),
        ("uv pip install --system torch", ["torch"]),
        ("PIP_NO_CACHE_DIR=1 sudo -E pip3 install 'torch>=2,<3' ; true", ["torch"]),
        ('pip install "torch==2.4.0" --index-url https://x/whl/cu121', ["torch"]),
        (
            "pip install git+https://github.com/a/b -e . ./c -r requirements.txt",
            ["requirements.txt", "git+https://github.com/a/b", "./c"],
        ),
        (
            "apt-get -qq install -y --no-install-recommends cuda-libraries-12-4=12.4.1-1 libcudnn8",
            ["cuda-libraries-12-4", "libcudnn8"],
        ),
        ("dnf install -y cuda-drivers && yum -y install b", ["cuda-drivers", "b"]),
        ("conda install -y -c pytorch -n env pytorch=2.1 pytorch-cuda=12.1", ["pytorch", "pytorch-cuda"]),
        ("apk add --no-cache python3", ["python3"]),
        ("echo pip install torch", []),
        ("pip download torch && pip --version", []),
        ("pip install torch >/dev/null 2>&1 && pip install b", ["torch", "b"]),
    ],
)
def test_what_a_command_installs(command, wanted):
    """The names that pip, uv, conda, apt, dnf, yum and apk are given, without their options and their values."""
    assert names(f"FROM a\nRUN {command}\n") == wanted


def test_unquoted_bound_is_a_redirection():
    """As for a shell, what follows > outside quotes is a file, so pip is asked for any release."""
    assert [(each.name, each.spec) for each in installed("FROM a\nRUN pip install torch>=2.1 'b>=2'\n")] == [
        ("torch", ""),
        ("b", ">=2"),
    ]


def test_removed_packages_are_told():
    """Pip uninstall is a package that goes."""
    assert [(each.name, each.removed) for each in installed("FROM a\nRUN pip uninstall -y onnxruntime\n")] == [
        ("onnxruntime", True)
    ]


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("torch", ("torch", (), "")),
        ("Torch_Vision==0.19.0", ("torch-vision", (), "==0.19.0")),
        ("onnxruntime-gpu[cuda, cudnn]>=1.21", ("onnxruntime-gpu", ("cuda", "cudnn"), ">=1.21")),
        ("torch==2.4.0+cu121; python_version > '3.8'", ("torch", (), "==2.4.0+cu121")),
        (
            "https://download.pytorch.org/whl/cu118/torch-2.0.1%2Bcu118-cp310-cp310-linux_x86_64.whl",
            ("torch", (), "==2.0.1+cu118"),
        ),
        ("torch @ https://x/torch-2.0.1-cp310-cp310-linux_x86_64.whl", ("torch", (), "==2.0.1")),
        ("pkg @ git+https://github.com/a/b", ("pkg", (), "@")),
        ("git+https://github.com/a/b", ("", (), "")),
        (".", ("", (), "")),
    ],
)
def test_requirements(word, wanted):
    """Name, extras and version of a requirement; an address that is no wheel tells no version."""
    assert requirement(word) == wanted


def test_variables_that_are_not_known_stay():
    """A variable without a value stands as it was written, so that nobody takes it for empty."""
    known = {"A": "1", "E": ""}
    assert substitute("$A-${A}-${B}-${B:-2}-${A:+3}-${E:-4}-$5$", known.get) == "1-1-${B}-2-3-4-$5$"


@pytest.mark.parametrize("text", ["", "hello\n", "RUN true\n", "# FROM a\n"])
def test_what_is_no_dockerfile(text):
    """Without FROM, or with another instruction before it, it is refused."""
    with pytest.raises(Malformed):
        read(text)


def test_any_bytes_are_read_or_refused():
    """Pieces of Dockerfiles in any order end in a value or in Malformed, never in another error."""
    pieces = [
        "FROM a AS b\n",
        "FROM b\n",
        "RUN ",
        "pip install ",
        "<<EOF\n",
        "EOF\n",
        "\\\n",
        "'",
        '"',
        "$(",
        "${X",
        "}",
        "&&",
        "||",
        ";",
        "if ",
        "fi ",
        "[",
        "\0",
        "ß",
        "# x\n",
        "ENV A",
        "=",
        " ",
        "COPY --from=b x y\n",
        "ARG B=1\n",
    ]
    rng = random.Random(7)
    for _ in range(3000):
        text = "FROM a\n" * (rng.random() < 0.7) + "".join(rng.choice(pieces) for _ in range(rng.randrange(25)))
        try:
            list(packages(read(text).commands))
        except Malformed:
            continue
