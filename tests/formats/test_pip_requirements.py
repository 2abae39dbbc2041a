"""pip's requirements files: what people write in them, and what pip takes it for."""

from __future__ import annotations

import pytest

from gpudoctor.formats.pip_requirements import Named, Requirement, decode, holds, normalised, parse

MESSY = """\
# -*- coding: utf-8 -*-
--index-url https://pypi.example/simple   # ours
--extra-index-url=https://download.pytorch.org/whl/cu121
-f https://example.org/wheels
-r base.txt
-cconstraints.txt
--requirement=more/gpu.txt

torch==2.4.0+cu121 \\
    --hash=sha256:aaaa \\
    --hash=sha256:bbbb
Typing_Extensions ( >= 4.0 , < 5 )
ONNXRuntime-GPU[ cuda , cudnn ]>=1.18,<1.20 ; python_version >= "3.9" and sys_platform == 'linux'   # for GPUs
tensorflow-gpu
-e .
-e git+https://github.com/example/thing.git@v1#egg=Thing.Name&subdirectory=python
./local/folder
https://example.org/torch-2.1.2%2Bcu118-cp310-cp310-linux_x86_64.whl#sha256=abc
flash_attn @ https://example.org/flash_attn-2.5.8+cu122torch2.3-cp310-cp310-linux_x86_64.whl ; platform_machine == "x86_64"
url#notacomment @ file:///x
numpy<2;python_version<"3.13"
--no-index
--pre
"""


def asked(text: str) -> list[tuple[str, str]]:
    """Return the names and versions that a file asks for."""
    return [(each.name, each.spec) for each in parse(text).requirements]


def test_a_messy_file_is_read_as_pip_reads_it() -> None:
    """Comments, continuations, hashes, extras, markers, addresses and folders each end up where they belong, with their lines."""
    read = parse(MESSY)
    assert [each for each in read.requirements if each.name] == [
        Requirement("torch", (), "==2.4.0+cu121", "", "", 9),
        Requirement("typing-extensions", (), ">=4.0,<5", "", "", 12),
        Requirement(
            "onnxruntime-gpu", ("cuda", "cudnn"), ">=1.18,<1.20", "python_version >= \"3.9\" and sys_platform == 'linux'", "", 13
        ),
        Requirement("tensorflow-gpu", (), "", "", "", 14),
        Requirement(
            "thing-name",
            (),
            "",
            "",
            "git+https://github.com/example/thing.git@v1#egg=Thing.Name&subdirectory=python",
            16,
        ),
        Requirement(
            "torch",
            (),
            "==2.1.2+cu118",
            "",
            "https://example.org/torch-2.1.2%2Bcu118-cp310-cp310-linux_x86_64.whl#sha256=abc",
            18,
        ),
        Requirement(
            "flash-attn",
            (),
            "==2.5.8+cu122torch2.3",
            'platform_machine == "x86_64"',
            "https://example.org/flash_attn-2.5.8+cu122torch2.3-cp310-cp310-linux_x86_64.whl",
            19,
        ),
        Requirement("numpy", (), "<2", 'python_version<"3.13"', "", 21),
    ]
    assert [(each.url, each.line) for each in read.requirements if not each.name] == [
        (".", 15),
        ("./local/folder", 17),
        ("url#notacomment @ file:///x", 20),
    ]


def test_options_and_their_lines() -> None:
    """Indexes, other files and constraints are kept with their lines, in every way an option can be written."""
    options = parse(MESSY).options
    assert options.indexes == (Named("https://pypi.example/simple", 2),)
    assert options.others == (Named("https://download.pytorch.org/whl/cu121", 3),)
    assert options.links == (Named("https://example.org/wheels", 4),)
    assert options.files == (Named("base.txt", 5), Named("more/gpu.txt", 7))
    assert options.constraints == (Named("constraints.txt", 6),)
    assert options.no_index
    assert options.pre


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ufefftorch==2.1\r\nnumpy\r\n", [("torch", "==2.1"), ("numpy", "")]),
        ("torch\\\n==2.1", [("torch", "==2.1")]),
        ("torch \\\n", [("torch", "")]),
        ("# torch \\\nnumpy", [("numpy", "")]),
        ("torch==2.1#2", [("torch", "==2.1#2")]),
        ("a\\\n# comment\nb", [("a", ""), ("b", "")]),
        ("<<<<<<< HEAD\ntorch\n=======\nnumpy\n>>>>>>> x", [("torch", ""), ("numpy", "")]),
        ("torch===2.1\n\n\n", [("torch", "===2.1")]),
        ("[gpu]\ntorch 2.1\n", []),
        ("", []),
    ],
)
def test_what_is_no_plain_line(text: str, expected: list[tuple[str, str]]) -> None:
    """Byte-order marks, Windows' line ends, comments in a continued line, conflict marks: a line that pip refuses asks for nothing."""
    assert asked(text) == expected


def test_a_file_that_powershell_wrote() -> None:
    """`pip freeze > requirements.txt` in PowerShell makes UTF-16, which pip reads by its first two bytes."""
    assert asked(decode("torch==2.4.0\r\n".encode("utf-16"))) == [("torch", "==2.4.0")]
    assert asked(decode(b"\xef\xbb\xbftorch==2.4.0\n\xff")) == [("torch", "==2.4.0")]


def test_names_are_compared_as_pep_503_says() -> None:
    """Runs of dots, dashes and underscores are one dash."""
    assert normalised("Flash__Attn.-x") == "flash-attn-x"


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("", True),
        ("sys_platform == 'win32'", False),
        ('platform_system != "Windows"', True),
        ("python_version < '3.9'", False),
        ("'3.9' <= python_version", True),
        ("python_version in '3.10 3.11'", True),
        ("python_version not in '3.10, 3.11'", False),
        ("python_version == '3.*'", True),
        ("python_version ~= '3.8'", True),
        ("python_full_version >= '3.11.0'", None),
        ("python_full_version < '3.12.1'", True),
        ("platform_machine == 'aarch64' or (python_version >= '3.10' and os_name == 'posix')", True),
        ("extra == 'gpu'", False),
        ("platform_release >= '5'", None),
        ("platform_release >= '5' and sys_platform == 'darwin'", False),
        ("platform_release >= '5' or sys_platform == 'linux'", True),
        ("sys_platform", None),
        ("(sys_platform == 'linux'", None),
        ("sys_platform == 'linux' nonsense", None),
        ("sys_platform == 'linux", None),
        ("python_version < 'three'", None),
        ("(" * 5000, None),
    ],
)
def test_markers_on_linux_with_python_3_11(marker: str, expected: object) -> None:
    """A marker is true, false, or not decided by what is known; what is not understood is never taken for true."""
    assert holds(marker, (3, 11), "x86_64") is expected


def test_a_marker_about_an_unknown_python_decides_nothing() -> None:
    """Where the image's Python is not known, a line for one version may count or not."""
    assert holds("python_version < '3.9'") is None
    assert holds("platform_machine == 'x86_64'") is None
