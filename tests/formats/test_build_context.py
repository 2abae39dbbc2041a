"""Which file of the build context a `pip install -r` means, and what it asks for."""

from __future__ import annotations

import pytest

from gpudoctor.formats.build_context import expand
from gpudoctor.formats.dockerfile import parse


def told(dockerfile: str, files: dict[str, str]) -> list[tuple[str, str, str, int]]:
    """Return manager and words of what is installed, and file and line of each that comes from a file."""
    context = {path: text.encode() for path, text in files.items()}
    found = expand(parse(f"FROM python:3.11\n{dockerfile}\n".encode()), context.get)
    return [(each.manager, each.words, each.file, each.line) for each in found]


TORCH = {"requirements.txt": "# ours\ntorch==2.4.0\n"}
READ = [("pip", "torch==2.4.0", "requirements.txt", 2)]


@pytest.mark.parametrize(
    "dockerfile",
    [
        "COPY requirements.txt .\nRUN pip install -r requirements.txt",
        "WORKDIR /app\nCOPY requirements.txt ./\nRUN pip install -r /app/requirements.txt",
        "WORKDIR /app\nCOPY . .\nRUN pip install -r requirements.txt",
        "COPY ./requirements.txt /tmp/requirements.txt\nRUN pip install --no-cache-dir -r /tmp/requirements.txt",
        "COPY requirements.txt /tmp/r.txt\nRUN python -m pip install --requirement=/tmp/r.txt",
        "COPY requirements*.txt /tmp/\nRUN cd /tmp && pip install -r requirements.txt",
        'COPY ["pyproject.toml", "requirements.txt", "/srv/"]\nRUN ["pip", "install", "-r", "/srv/requirements.txt"]',
        "ADD requirements.txt /\nRUN pip3 install -r /requirements.txt && rm /requirements.txt",
        "RUN --mount=type=cache,target=/c --mount=type=bind,source=requirements.txt,target=/tmp/r.txt pip install -r /tmp/r.txt",
        "RUN --mount=target=/src uv pip install -r /src/requirements.txt",
        "ENV APP=/app\nWORKDIR $APP\nCOPY requirements.txt ${APP}/\nRUN pip install -r ${APP}/requirements.txt",
        "COPY /requirements.txt .\nRUN cat requirements.txt && pip install -r requirements.txt",
    ],
)
def test_the_file_of_the_context_is_found(dockerfile: str) -> None:
    """However the file gets in, its lines stand where pip installs it, with their own numbers."""
    assert told(dockerfile, TORCH) == READ


@pytest.mark.parametrize(
    "dockerfile",
    [
        "RUN pip install -r requirements.txt",
        "RUN pip install -r requirements.txt\nCOPY requirements.txt .",
        "COPY --from=other requirements.txt .\nRUN pip install -r requirements.txt",
        "COPY requirements.txt .\nCOPY --from=other /out ./\nRUN pip install -r requirements.txt",
        "COPY requirements.txt .\nRUN sed -i /torch/d requirements.txt\nRUN pip install -r requirements.txt",
        "COPY requirements.txt .\nRUN echo torch >> requirements.txt && pip install -r requirements.txt",
        "COPY requirements.txt /a/\nRUN pip install -r /b/requirements.txt",
        "COPY ../requirements.txt .\nRUN pip install -r requirements.txt",
        "COPY requirements.txt .\nRUN if [ -d x ]; then cd x; fi; pip install -r requirements.txt",
        "COPY requirements.txt .\nRUN (cd x && ls); pip install -r requirements.txt",
        "COPY https://example.org/requirements.txt .\nRUN pip install -r requirements.txt",
        "COPY requirements.txt .\nRUN pip install -r $FILE",
        "WORKDIR $WHERE\nCOPY requirements.txt .\nRUN pip install -r requirements.txt",
        "COPY <<EOF requirements.txt\ntorch\nEOF\nRUN pip install -r requirements.txt",
    ],
)
def test_what_is_not_known_stays_a_file(dockerfile: str) -> None:
    """A file from elsewhere, changed on the way, outside of the context or below a folder that is not known is not guessed."""
    (each,) = told(dockerfile, {**TORCH, "../requirements.txt": "torch==1.0"})
    assert each[0] == "file"
    assert each[2] == ""


def test_files_that_name_files() -> None:
    """-r in a file counts from that file's folder, bounds hold for all of the command, and a ring of files ends."""
    files = {
        "req/gpu.txt": "-r base.txt\n-c pins.txt\n--extra-index-url https://download.pytorch.org/whl/cu121\ntorch\n-r missing.txt\n",
        "req/base.txt": "-r gpu.txt\nnumpy<2 ; python_version < '3.13'\n-e .\n",
        "req/pins.txt": "Torch==2.3.1\nnumpy==1.26.4\n",
    }
    context = {path: text.encode() for path, text in files.items()}
    found = expand(parse(b"FROM python:3.11\nCOPY req /tmp/req\nRUN pip install -r /tmp/req/gpu.txt onnxruntime\n"), context.get)
    assert [(each.manager, each.name, each.spec, each.file, each.line, each.step) for each in found] == [
        ("pip", "numpy", "==1.26.4", "req/base.txt", 2, 3),
        ("file", ".", "", "req/base.txt", 3, 3),
        ("file", "missing.txt", "", "req/gpu.txt", 5, 3),
        ("pip", "torch", "==2.3.1", "req/gpu.txt", 4, 3),
        ("pip", "onnxruntime", "", "", 3, 3),
    ]
    assert {each.others for each in found if each.manager == "pip"} == {("https://download.pytorch.org/whl/cu121",)}


def test_a_bound_that_may_not_hold_leaves_its_file_unread() -> None:
    """A constraint for some Pythons only cannot be applied, and is not passed over in silence either."""
    dockerfile = "COPY c.txt .\nRUN pip install -c c.txt torch"
    assert [each[:2] for each in told(dockerfile, {"c.txt": "torch==2.1.0 ; python_version < '3.9'"})] == [
        ("file", "c.txt"),
        ("pip", "torch"),
    ]
    assert [each[:2] for each in told(dockerfile, {"c.txt": "torch==2.1.0 ; sys_platform == 'win32'"})] == [("pip", "torch")]


def test_no_more_files_than_anybody_has() -> None:
    """A chain of files without end is cut off."""
    read: list[str] = []

    def endless(path: str) -> bytes:
        read.append(path)
        return b"-r r%d.txt\n" % len(read)

    expand(parse(b"FROM python:3.11\nCOPY . .\nRUN pip install -r requirements.txt\n"), endless)
    assert len(read) == 50
