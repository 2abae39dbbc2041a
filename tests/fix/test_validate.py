"""What the real tools' words about a new file come to."""

from __future__ import annotations

import pytest

from gpudoctor.fix.validate import Judgement, judge
from gpudoctor.host import Absent, Ran

OK = Ran(0, b"configuration OK\n", b"")
UNKNOWN = Ran(1, b"", b"Status: unknown flag: --validate\nSee 'dockerd --help'., Code: 125\n")
REFUSED = Ran(1, b"", b"unable to configure the Docker daemon with file /x: invalid character '}'\n")


@pytest.mark.parametrize(
    ("new", "old", "said"),
    [
        (OK, OK, Judgement("dockerd")),
        (UNKNOWN, UNKNOWN, Judgement()),
        (REFUSED, OK, Judgement("dockerd", "unable to configure the Docker daemon with file /x: invalid character '}'")),
        (REFUSED, REFUSED, Judgement()),
    ],
)
def test_dockerd_judges_where_it_can(new, old, said):
    """It accepts or refuses; where it does not know the flag, or refused the old file already, nothing is claimed."""

    def run(argv):
        return new if argv[-1] == "/etc/docker/.daemon.json.new" else old

    assert judge("/etc/docker/daemon.json", "/etc/docker/.daemon.json.new", run) == said


def test_a_tool_that_is_not_there_claims_nothing():
    """Without dockerd nobody judges, and with neither Compose nobody does either."""

    def run(argv):
        raise Absent(argv[0])

    assert judge("/etc/docker/daemon.json", "/x", run) == Judgement()
    assert judge("/srv/compose.yml", "/srv/.compose.yml.new", run) == Judgement()


def test_the_second_compose_is_asked_where_the_first_is_missing():
    """`docker compose` first, `docker-compose` where the plugin is not there; a CDI spec is none of theirs."""
    asked = []

    def run(argv):
        asked.append(argv[0])
        return Ran(1, b"", b"docker: 'compose' is not a docker command.\n") if argv[0] == "docker" else OK

    assert judge("/srv/compose.yml", "/srv/.compose.yml.new", run) == Judgement("docker-compose")
    assert asked == ["docker", "docker-compose"]
    assert judge("/etc/cdi/nvidia.yaml", "/etc/cdi/.x", run) == Judgement()


def test_sh_judges_files_of_grub(tmp_path):
    """The real `sh -n` refuses a quote that is never closed, and takes what is sound."""
    import subprocess

    def run(argv):
        ran = subprocess.run(argv, capture_output=True, check=False)
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    sound, broken = tmp_path / "sound", tmp_path / "broken"
    sound.write_text('A="b"\n')
    broken.write_text('A="b\n')
    assert judge("/etc/default/grub", str(sound), run) == Judgement("sh")
    refused = judge("/etc/default/grub.d/99-none.cfg", str(broken), run, existed=False)
    assert refused.tool == "sh"
    assert "nterminated" in refused.problem
