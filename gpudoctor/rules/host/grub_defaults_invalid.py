"""A file of /etc/default/grub cannot be read by grub-mkconfig, so no change of the kernel arguments takes effect.

grub-mkconfig (update-grub) sources /etc/default/grub and the *.cfg files of /etc/default/grub.d with sh. If
one of them fails, it stops and leaves the old grub.cfg in place: the machine boots as before, and whatever
was meant to be changed, for a GPU or for cgroups, is not. The next kernel update runs into the same failure.

How it is told from its look-alikes: the file and the line are named. Some of the mistakes pass `sh -n`: two
words without quotes round them, spaces round the equals sign, `+=` where sh is dash. A setting that is in
order but overridden by a later file is not meant.

Cure: mend the line and run grub-mkconfig (update-grub) again, and look at its last lines before you reboot. What was meant only a
person knows, so a file with a mistake is never edited by gpudoctor fix.

Sources: grub-mkconfig(8), grub2 source (grub-mkconfig.in); POSIX shell; tried with Debian's grub2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find the first GRUB file that makes grub-mkconfig fail."""
    boot = facts.boot
    if boot.loader not in {"grub", "bls"}:
        raise NotApplicable("GRUB does not decide the kernel arguments of this machine.")
    broken = boot.broken_grub
    if broken is None:
        return
    yield Finding(
        "grub-mkconfig would fail",
        f"grub-mkconfig stops at a mistake in {broken.path} and keeps the old grub.cfg: no change of kernel arguments takes effect.",
        (Evidence(Where(broken.path, broken.malformed.line or None), broken.malformed.reason),),
        Cure(
            "SHOWN",
            "Mend the line, then write grub.cfg anew.",
            (f"sudoedit {broken.path}", advice.update_grub(facts)),
            "Everything that was changed in these files since grub.cfg was last written comes into force at the next boot.",
        ),
    )


RULE = Rule("host/grub-defaults-invalid", 45, "warning", "grub-mkconfig would fail", check)
