"""``NamedTuple`` as typing has it, at a third of its cost.

typing compiles every annotation of every field when a class is made, which for the sixty values of this program adds half a bare
Python start to each run. Type checkers see typing's own; at run time only the names and defaults of the fields count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414 - the alias makes it ours to import
else:
    from collections import namedtuple

    class _Maker(type):
        """Makes a class statement with ``NamedTuple`` as its base into a namedtuple with the statement's methods."""

        def __new__(cls, name, bases, body):  # noqa: ANN001, ANN204, ARG004
            fields = list(body.get("__annotations__", ()))
            defaults = [body[field] for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])  # noqa: PYI024 - this is what it is for
            for key, value in body.items():
                if key not in fields and key not in {"__annotations__", "__module__", "__qualname__"}:
                    setattr(made, key, value)
            return made

    NamedTuple = type.__new__(_Maker, "NamedTuple", (), {})
