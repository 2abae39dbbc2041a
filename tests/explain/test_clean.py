"""Noisy text becomes plain text: prefixes, escapes, colours, wrapped lines, and streams of any length."""

from __future__ import annotations

import io

import pytest

from gpudoctor.explain import clean, match

SAID = "could not select device driver"


@pytest.mark.parametrize(
    ("noisy", "plain"),
    [
        (b"\x1b[1;31mError\x1b[0m: no", b"Error: no"),
        (rb"\u001b[31mError\u001b[0m: no", b"Error: no"),
        (b"Aug 26 14:08:07 gpu-1 dockerd[812]: Error: no", b"Error: no"),
        (b"2025-03-04T05:06:07.123456+01:00 gpu-1 dockerd[812]: Error: no", b"Error: no"),
        (b"[2025-03-04 05:06:07,123] Error: no", b"Error: no"),
        (b"[   12.402117] NVRM: Error: no", b"Error: no"),
        (b"[Sun May 17 15:55:50 2026] NVRM: Error: no", b"Error: no"),
        (b"kern: warning: [2024-05-20T02:46:53.859954762Z]: NVRM: Error: no", b"Error: no"),
        (b"llama-1  | Error: no", b"Error: no"),
        (b"> > Error: no", b"Error: no"),
        (b'{"log":"Error: no\\n","stream":"stderr","time":"2025-05-01T11:02:00.9Z"}', b"Error: no"),
        (b"one\r\ntwo\rthree", b"one\ntwo\nthree"),
        (rb'{"error":"cuda\u003e=12.8\nnvidia-container-cli"}', b'{"error":"cuda>=12.8\nnvidia-container-cli"}'),
        ("Error: no".encode("utf-16-le"), b"Error: no"),
    ],
)
def test_what_loggers_put_around_a_message_goes(noisy, plain):
    """Colours, escapes and what stands before a line are taken out, and the message stays."""
    assert clean.clean(noisy) == plain


def test_a_message_that_lies_across_two_windows_is_found():
    """A message is found wherever in a long text it lies, also across the border of two windows."""
    line = f"docker: Error response from daemon: {SAID}\n".encode()
    for before in range(clean.WINDOW - len(line) - 5, clean.WINDOW + 5, 7):
        text = b"x" * 70 + b"\n" + b"." * (before - 72) + b"\n" + line + b"y" * clean.WINDOW
        assert match.seen(clean.windows(io.BytesIO(text)), [SAID]) == {SAID: SAID}


def test_memory_does_not_grow_with_the_text():
    """Of an endless line, as of many lines, no more than two windows are held at once."""
    import tracemalloc

    class Endless(io.RawIOBase):
        left = 512

        def read(self, size=-1):
            self.left -= 1
            return b"a word and another " * (size // 19) if self.left > 0 else b""

    tracemalloc.start()
    sizes = [len(window) for window in clean.windows(Endless())]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(sizes) > 512 * clean.WINDOW * 0.9
    assert max(sizes) <= clean.WINDOW + 2 * clean.OVERLAP
    assert peak < 20 * clean.WINDOW
