"""Noisy text made plain: windows of a stream without colours, escapes, and what loggers put before each line.

Text comes as a pasted terminal, a journal, syslog, the kernel's ring buffer, Compose's output, Docker's JSON log, or a log inside of
a JSON string. All of it is bytes here: a log may be 100 MiB, is not always UTF-8, and every message that is looked for is ASCII.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

WINDOW = 1 << 16
"""Bytes that are looked at together."""
OVERLAP = 1 << 12
"""Bytes of one window that are looked at again with the next, so that no message is cut in two."""

_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_STAMP = rb"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d[.,\d]*(?: ?Z| ?[+-]\d\d:?\d\d)?"
_HOST_PROGRAM = rb"[\w.-]+ [\w./@()-]+(?:\[\d+\])?: "

# What loggers put before a message. They nest (Compose before a time before "kernel:"), and "NVRM:" stands on each line of one sentence.
_PREFIX = (
    rb"(?m)^(?:"
    rb"[ \t>]+"
    rb"|<\d+>"
    rb"|[\w./-]{1,60} *\| "  # docker compose
    rb"|\[ *\d+\.\d+\] ?"  # dmesg
    rb"|\[" + _DAY + rb" [^\]\n]{10,30}\] ?"  # dmesg -T
    rb"|"
    + _MONTH
    + rb" +\d+ \d\d:\d\d:\d\d(?:\.\d+)? "
    + _HOST_PROGRAM
    + rb"|\[?"
    + _STAMP
    + rb"\]?:? ?(?:"
    + _HOST_PROGRAM
    + rb")?"
    rb"|kern(?:el)? *: *(?:(?:emerg|alert|crit|err|warn|warning|notice|info|debug) *: *)?"
    rb"|NVRM: *"
    rb'|\{"log":"'
    rb")+"
)
_DOCKER_JSON_END = rb'(?:\\r)?\\n","stream":"std(?:out|err)"(?:,"attrs":\{[^}\n]*\})?,"time":"[^"\n]*"\}'
_COLOUR = rb"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)|[@-Z\\^_])|\\+(?:u001[bB]|x1[bB]|033|e)\[[0-9;]*m"
_ESCAPED_SIGN = rb"\\+u00([2-7][0-9a-fA-F])"
_ESCAPED_SPACE = rb"\\+[nrt]"


def windows(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the stream's text in cleaned pieces of WINDOW bytes, each beginning with the end of the one before.

    Memory does not grow with the stream. Pieces are cut at a line's end where there is one.
    """
    kept = b""
    while True:
        read = stream.read(WINDOW)
        if not read:
            if kept:
                yield clean(kept)
            return
        text = kept + read
        end = max(text.rfind(b"\n") + 1, len(text) - OVERLAP)
        yield clean(text[:end])
        start = max(0, end - OVERLAP)
        line = text.find(b"\n", start, end - 1) + 1
        kept = text[line or start :]


def clean(text: bytes) -> bytes:
    """Take colours, escapes and what stands before each line out of a piece of text."""
    if b"\0" in text:  # UTF-16, as PowerShell writes it
        text = text.replace(b"\0", b"")
    if b'{"log":"' in text:
        text = re.sub(_DOCKER_JSON_END, b"", text)
    if b"\x1b" in text or b"[" in text:
        text = re.sub(_COLOUR, b"", text)
    if b"\\" in text:
        text = re.sub(_ESCAPED_SIGN, lambda found: bytes([int(found[1], 16)]), text)
        text = re.sub(_ESCAPED_SPACE, b"\n", text)
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return re.sub(_PREFIX, b"", text)
