"""`doctor --compose`: several files merged as Compose does it, judged on this host, and never more than is known."""

from __future__ import annotations

import json
import os
import random
import time

import jsonschema
import pytest

from gpudoctor import engine
from gpudoctor.commands.given import composed as read
from gpudoctor.facts import Facts, File, Given
from gpudoctor.formats import Malformed, composed
from gpudoctor.host.book import Recorder
from gpudoctor.host.hostfile import load, parse
from tests.cases import FIXTURES
from tests.test_damaged_hosts import damaged

HOST = str(FIXTURES / "hosts" / "ubuntu-22.04-a10g-hook.host")
FILES = FIXTURES / "compose"
BASE = """services:
  web:
    image: x:${TAG:-1}
    runtime: nvidia
    environment: {A: "1", NVIDIA_VISIBLE_DEVICES: all}
    devices: ["/dev/nvidia0:/dev/nvidia0", "/dev/nvidia1"]
    profiles: [a]
    command: python x
    deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]}}}
  two: {image: y, gpus: all}
"""


def plain(value):
    """Return a merged value without its places."""
    if value.kind == "map":
        return {name: plain(each) for name, each in value.pairs.items()}
    if value.kind == "list":
        return [plain(each) for each in value.elements]
    return None if value.empty else value.text


def merged(*texts: str, beside=None, variables=None):
    """Return the services of texts laid over each other, without their places."""
    files = tuple((f"{number}.yml", text.encode()) for number, text in enumerate(texts))
    others = beside or {}

    def other(_path, named):
        return (named, others[named].encode()) if named in others else None

    return {name: plain(value) for name, value in composed.merged(files, other, (variables or {}).get).services.items()}


def test_maps_are_merged_lists_appended_and_values_replaced():
    """The second file adds to lists of requests, devices and profiles, replaces values and commands, and null changes nothing."""
    over = """services:
  web:
    runtime: ""
    environment: ["B=2", "NVIDIA_VISIBLE_DEVICES=0"]
    devices: ["/dev/nvidia1:/dev/nvidia1:r", "/dev/nvidia2"]
    profiles: [b]
    command: ["z"]
    image: null
    deploy: {resources: {reservations: {devices: [{driver: nvidia, device_ids: ["1"], capabilities: [gpu, utility]}]}}}
  two: {gpus: [{count: 2}]}
"""
    found = merged(BASE, over)
    assert found["two"] == {"image": "y", "gpus": [{"count": "all"}, {"count": "2"}]}
    web = found["web"]
    assert web["image"] == "x:1"
    assert web["runtime"] == ""
    assert web["environment"] == {"A": "1", "NVIDIA_VISIBLE_DEVICES": "0", "B": "2"}
    assert web["devices"] == ["/dev/nvidia0:/dev/nvidia0", "/dev/nvidia1:/dev/nvidia1:r", "/dev/nvidia2"]
    assert web["profiles"] == ["a", "b"]
    assert web["command"] == ["z"]
    assert [sorted(each) for each in web["deploy"]["resources"]["reservations"]["devices"]] == [
        ["capabilities", "count", "driver"],
        ["capabilities", "device_ids", "driver"],
    ]


def test_reset_takes_away_and_override_replaces():
    """What !reset and !override name is gone or new, wherever it stands; in a file by itself !reset is nothing."""
    over = """services:
  web:
    runtime: !reset null
    deploy: {resources: {reservations: {devices: !override []}}}
    environment: !override {C: "3"}
    devices: !reset []
    profiles: !reset
  two: {gpus: !override [{count: 2}]}
"""
    found = merged(BASE, over)
    assert found["two"]["gpus"] == [{"count": "2"}]
    assert found["web"] == {
        "image": "x:1",
        "environment": {"C": "3"},
        "command": "python x",
        "deploy": {"resources": {"reservations": {"devices": []}}},
    }
    assert merged("services: {a: {image: x, gpus: !reset null}}") == {"a": {"image": "x"}}


def test_extends_follows_this_file_and_others():
    """A service gets what it extends below its own, over several steps; a file's own variables and anchors are of that file."""
    common = """x-gpu: &gpu {reservations: {devices: [{driver: nvidia, count: all, capabilities: [gpu]}]}}
services:
  gpubase: {image: base, environment: {BASE: "1", NVIDIA_VISIBLE_DEVICES: all}, deploy: {resources: {<<: *gpu}}}
  other: {extends: gpubase, runtime: nvidia}
"""
    text = """services:
  a:
    extends: {file: common.yml, service: other}
    environment: {BASE: "2"}
  b: {extends: a, image: z, deploy: !reset {}}
"""
    found = merged(text, beside={"common.yml": common})
    assert found["a"]["runtime"] == "nvidia"
    assert found["a"]["environment"] == {"BASE": "2", "NVIDIA_VISIBLE_DEVICES": "all"}
    assert found["a"]["deploy"]["resources"]["reservations"]["devices"][0]["count"] == "all"
    assert found["b"] == {"image": "z", "environment": found["a"]["environment"], "runtime": "nvidia"}


def test_what_an_upper_file_takes_away_goes_from_what_it_extends_and_from_below():
    """!reset in a service that extends another one takes the key from both, and from the files below."""
    over = "services: {web: {extends: {file: o.yml, service: e}, deploy: !reset null}}"
    found = merged(BASE, over, beside={"o.yml": "services: {e: {ipc: host, deploy: {replicas: 2}}}"})
    assert "deploy" not in found["web"]
    assert found["web"]["ipc"] == "host"


def test_reset_of_a_service_and_of_one_entry():
    """A service that an upper file takes away is gone, and what it would extend is not asked; an entry of a list goes alone."""
    gone = "services: {two: !reset {extends: {file: absent.yml, service: e}}, web: {expose: ['1', !reset '2']}}"
    found = merged("services: {two: {image: y}, web: {image: x, expose: ['9']}}", gone)
    assert found == {"web": {"image": "x", "expose": ["9", "1"]}}
    files = (("0.yml", gone.encode()), ("1.yml", b"services: {two: {image: z}}"))
    assert composed.merged(files, lambda *_: None, {}.get).lacking == {}


def test_names_in_upper_files_are_relative_to_the_first_file(tmp_path):
    """env_file and extends of a file in another folder are looked for beside the first file, as Compose does it."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.env").write_text(f"FROM={folder}\n")
        (tmp_path / folder / "e.yml").write_text(f"services: {{e: {{environment: {{EXT: {folder}}}}}}}\n")
    lower, upper = tmp_path / "a" / "compose.yml", tmp_path / "b" / "over.yml"
    lower.write_text("services: {w: {image: x}}\n")
    upper.write_text("services: {w: {env_file: x.env, extends: {file: e.yml, service: e}}}\n")
    (service,) = Facts(parse(b""), read([str(lower), str(upper)])).composed.services
    assert {name: value.text for name, value in service.environment.items()} == {"FROM": "a", "EXT": "a"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{file: gone.yml, service: x}", "gone.yml, which it extends, is not there"),
        ("gone", "the service gone, which it extends, is not in 0.yml"),
        ("a", "it extends itself"),
        ("{file: '${F}', service: x}", "depends on a variable"),
    ],
)
def test_extends_that_cannot_be_followed_is_lacking(text, why):
    """What a service extends and is not there makes it not wholly known, and nothing worse."""
    data = f"services: {{a: {{extends: {text}, runtime: nvidia}}}}".encode()
    found = composed.merged((("0.yml", data),), lambda *_: None, lambda _: None)
    assert why in found.lacking["a"].why
    assert plain(found.services["a"])["runtime"] == "nvidia"


@pytest.mark.parametrize(
    ("text", "value", "unset"),
    [
        ("$A-${A}", "1-1", ()),
        ("${NO:-d}", "d", ()),
        ("${NO-d}${E-d}${E:-d}", "dd", ()),
        ("${A:+x}${NO:+y}${E:+z}${E+w}", "xw", ()),
        ("${NO:-${A:-z}}", "1", ()),
        ("$$A $1 $", "$A $1 $", ()),
        ("${NO}/${A}", "/1", ("NO",)),
        ("${NO:?why}", "", ("NO",)),
        ("${NO:-$OTHER}", "", ("OTHER",)),
    ],
)
def test_variables_are_put_in(text, value, unset):
    """Every form that Compose knows has its value; a variable without value and default is named."""
    assert composed.substituted(text, {"A": "1", "E": ""}.get) == (value, unset)


def test_env_files_are_read_as_compose_reads_them():
    """Comments, quotes, `export` and variables of an .env file; single quotes keep a dollar."""
    text = b"# c\nexport A=1\r\nB=\"two words\" # c\nC='single $A'\nD=${A}x\nE=plain # c\nF=\nG=a#b\nnothing\n"
    assert composed.env_file(text, lambda _: None) == {
        "A": "1",
        "B": "two words",
        "C": "single $A",
        "D": "1x",
        "E": "plain",
        "F": "",
        "G": "a#b",
    }


def test_aliases_of_aliases_end_in_a_sentence():
    """A file whose aliases stand for billions of values is refused within a moment."""
    levels = "".join(f"  k{n}: &k{n} {{{', '.join(f'a{i}: *k{n - 1}' for i in range(9))}}}\n" for n in range(1, 40))
    text = f"x:\n  k0: &k0 {{z: 1}}\n{levels}services:\n  a: {{image: x, deploy: *k39}}\n".encode()
    started = time.monotonic()
    with pytest.raises(Malformed, match="more values than can be looked at"):
        composed.merged((("a.yml", text), ("b.yml", text)), lambda *_: None, lambda _: None)
    assert time.monotonic() - started < 10


def test_files_are_judged_alone_and_the_host_with_all(gpudoctor):
    """Only what concerns the files is printed, each with its line; the whole host comes with --all, and JSON fits its schema."""
    file = str(FILES / "two-workers.yml")
    ran = gpudoctor("doctor", "--host", HOST, "--compose", file)
    assert ran.returncode == 1
    assert f"{file}:13: CUDA_VISIBLE_DEVICES=1".encode() in ran.stdout
    assert b"daemon-reload" not in ran.stdout
    assert b"daemon-reload" in gpudoctor("doctor", "--host", HOST, "--compose", file, "--all").stdout
    told = json.loads(gpudoctor("doctor", "--host", HOST, "--compose", file, "--json").stdout)
    jsonschema.validate(told, json.loads((FIXTURES.parent / "docs" / "schema" / "doctor.schema.json").read_text()))
    assert [each["rule"] for each in told["findings"]] == ["compose/compose-cuda-visible-devices-renumbered"]


def test_an_upper_file_is_laid_over_the_one_before(gpudoctor):
    """What the upper file adds is judged together with the lower one, and evidence names the file in which it stands."""
    lower, upper = str(FILES / "app" / "compose.yml"), str(FILES / "app" / "compose.cpu.yml")
    assert gpudoctor("doctor", "--host", HOST, "--compose", lower).returncode == 0
    ran = gpudoctor("doctor", "--host", HOST, "--compose", lower, "--compose", upper)
    assert ran.returncode == 1
    assert f"{upper}:4:".encode() in ran.stdout
    assert f"{lower}:9:".encode() in ran.stdout


def test_dotenv_beside_the_first_file_and_the_shell_decide(tmp_path):
    """A variable is that of the shell, else of .env; with neither, whoever needs it cannot tell."""
    file = tmp_path / "compose.yml"
    file.write_text(
        "services: {a: {image: x, deploy: {resources: {reservations: {devices: "
        '[{driver: nvidia, count: "${N}", capabilities: [gpu]}]}}}}}\n'
    )
    rule = engine.named("compose/compose-unknown-device-id")
    assert rule is not None

    def found(more: bytes = b"") -> tuple[int, int]:
        facts = Facts(parse((FIXTURES / "hosts" / "ubuntu-22.04-a10g-hook.host").read_bytes() + more), read([str(file)]))
        told = engine.diagnose(facts, [rule])
        return len(told.findings), len(told.untold)

    assert found() == (0, 1)
    (tmp_path / ".env").write_text("N=1\n")
    assert found() == (0, 0)
    assert found(b"-- env N -- 3\n") == (1, 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("services:\n  a:\n    image: x\n   gpus: all\n", b":4: "),
        ("services:\n  a:\n    image: x\n    image: y\n", b":4: the key image stands twice"),
        ("services: [a]\n", b":1: services must be a mapping"),
        ("- a\n", b":1: there is no mapping at the top"),
        ("services:\n  a:\n    image: ${TAG\n", b":3: a brace that is not closed"),
        ("services:\n  a:\n    deploy: {resources: [gpu]}\n", b":3: resources must be a mapping"),
    ],
)
def test_what_is_no_compose_file_is_said_with_its_line(gpudoctor, tmp_path, text, says):
    """A malformed file ends with exit code 2 and one sentence with its path and line."""
    file = tmp_path / "compose.yml"
    file.write_text(text)
    ran = gpudoctor("doctor", "--host", HOST, "--compose", str(file))
    assert ran.returncode == 2
    assert f"--compose {file}".encode() + says in ran.stderr
    assert ran.stdout == b""


def test_what_is_no_file_does_not_block(gpudoctor, tmp_path):
    """A FIFO, a folder and a missing file are one sentence each; so is a FIFO that a file names beside it."""
    fifo = tmp_path / "fifo.yml"
    os.mkfifo(fifo)
    for path, says in ((fifo, b"is not a regular file"), (tmp_path, b"is a folder"), (tmp_path / "none.yml", b"no such file")):
        ran = gpudoctor("doctor", "--host", HOST, "--compose", str(path))
        assert ran.returncode == 2
        assert says in ran.stderr
    file = tmp_path / "compose.yml"
    file.write_text(
        "services:\n  a:\n    image: x\n    gpus: all\n    env_file: fifo.yml\n    extends: {file: fifo.yml, service: b}\n"
    )
    ran = gpudoctor("doctor", "--host", HOST, "--compose", str(file))
    assert b"not wholly known: the service a" in ran.stderr
    assert b"is not there or cannot be read" in ran.stderr


def test_it_excludes_other_things_that_are_given(gpudoctor):
    """One run judges one kind of thing."""
    ran = gpudoctor("doctor", "--host", HOST, "--compose", str(FILES / "db.yml"), "--image", "x")
    assert ran.returncode == 2
    assert b"exclude each other" in ran.stderr


def test_what_was_not_looked_at_is_said(gpudoctor, tmp_path):
    """An include, a profile, an overlay without its base, and an override beside the file are named on standard error."""
    (tmp_path / "compose.override.yml").write_text("services: {}\n")
    file = tmp_path / "compose.yml"
    file.write_text(
        "include: [other.yml]\nservices:\n  a: {image: x, gpus: all, profiles: [gpu]}\n  b: {extends: {file: x.yml, service: y}}\n"
    )
    told = gpudoctor("doctor", "--host", HOST, "--compose", str(file)).stderr.decode()
    assert f"not examined: other.yml ({file}:1, include)" in told
    assert "a runs only with a profile (gpu)" in told
    assert "not wholly known: the service b" in told
    assert "compose.override.yml is beside it" in told
    file.write_text("web:\n  image: x\n")
    assert b"has no services" in gpudoctor("doctor", "--host", HOST, "--compose", str(file)).stderr


def test_a_name_says_nothing():
    """A service that is called gpu and asks for none is no service that wants one; another is, whatever its name."""
    text = b"services: {gpu-nvidia-cuda: {image: postgres}, db: {image: postgres, gpus: all}}"
    services = Facts(load(HOST), Given(compose=(File("c.yml", text),))).composed.services
    assert [(each.name, bool(each.signs)) for each in services] == [("gpu-nvidia-cuda", False), ("db", True)]


@pytest.mark.parametrize(
    ("image", "built"),
    [
        ("nvidia/cuda:12.4.1-base-ubuntu22.04", True),
        ("nvcr.io/nvidia/tritonserver:24.08-py3", True),
        ("tensorflow/tensorflow:2.15.0-gpu", True),
        ("tensorflow/tensorflow:2.15.0", False),
        ("pytorch/pytorch:2.4.0-cuda12.4-cudnn9-runtime", True),
        ("nvcr.io/nvidia/tritonserver:24.08-cpu-only-py3", False),
        ("example/gpu-tools:1", False),
        ("example/app:rocm-gpu", False),
    ],
)
def test_images_that_are_built_for_a_gpu(image, built):
    """Only a known repository or a word of the tag tells, and not where another build is named."""
    from gpudoctor.facts.composed import built_for_gpu

    assert built_for_gpu(image) == built


def test_the_version_of_compose_is_asked_only_where_a_daemon_runs():
    """Some releases talk to the daemon for their version: without a dockerd only the package tells, and where none does nobody can."""
    from gpudoctor.host import Unseen
    from tests.test_guards import DAEMON, as_if_live

    answer = b"-- $ docker compose version --short --\nv2.29.7\n-- /usr/bin/dockerd --\n"
    given = Given(compose=(File("c.yml", b"services: {}"),))
    silent = as_if_live(answer)
    with pytest.raises(Unseen):
        _ = Facts(silent, given).composed.program
    assert ("docker", "compose", "version", "--short") not in silent.answers.runs
    program = Facts(as_if_live(DAEMON + answer), given).composed.program
    assert program is not None
    assert (program.command, program.numbers) == ("docker compose", (2, 29, 7))
    status = b"-- /var/lib/dpkg/status --\nPackage: docker-compose\nStatus: install ok installed\nVersion: 1.29.2-3\n\n"
    package = Facts(as_if_live(answer + status), given).composed.program
    assert package is not None
    assert (package.command, package.numbers[:2]) == ("docker-compose", (1, 29))


@pytest.mark.parametrize("host", ["workstation-context-elsewhere", "arch-rtx3090-docker-desktop", "fedora-43-podman-cdi"])
def test_where_the_containers_run_elsewhere_this_host_says_nothing(host):
    """With a remote daemon, Docker Desktop or podman only the files themselves are judged: no GPU, node or runtime of this host."""
    names = ("third-gpu.yml", "eight-nodes.yml", "runtime.yml", "jellyfin.yml", "variables-only.yml")
    given = read([str(FILES / name) for name in (*names, "incomplete.yml")])
    diagnosis = engine.diagnose(Facts(load(str(FIXTURES / "hosts" / f"{host}.host")), given), engine.rules_for(given))
    assert {each.rule for each in diagnosis.findings} == {"compose/compose-gpu-request-incomplete"}


def test_commands_name_every_file_and_the_compose_of_this_host():
    """The command that makes a container anew has all the files; the fix names the file in which the request stands."""
    given = read([str(FILES / name) for name in ("whisper.yml", "db.yml")])
    host = parse(
        (FIXTURES / "hosts" / "ubuntu-22.04-a10g-hook.host").read_bytes() + b"-- $ docker-compose version --short --\n1.29.2\n"
    )
    rule = engine.named("compose/compose-count-missing-docker27.3")
    assert rule is not None
    (finding,) = engine.diagnose(Facts(host, given), [rule]).findings
    lower, upper = (each.path for each in given.compose)
    assert finding.cure.commands == (
        f"gpudoctor fix --compose {lower} --service whisper --apply",
        f"docker-compose -f {lower} -f {upper} up -d whisper",
    )


def test_the_rules_about_compose_ask_only_listed_commands():
    """Over all fixture hosts, the rules about a Compose file ask for no command outside the documented list."""
    listed = [tuple(each) for each in json.loads((FIXTURES.parent / "docs" / "schema" / "commands.json").read_text())["commands"]]
    given = read([str(FILES / "whisper.yml"), str(FILES / "stack.yml"), str(FILES / "third-gpu.yml")])
    asked = set()
    for path in sorted((FIXTURES / "hosts").glob("*.host")):
        recorder = Recorder(load(str(path)))
        engine.diagnose(Facts(recorder, given), engine.rules_for(given))
        asked |= set(recorder.answers.runs)
    assert ("docker", "compose", "version", "--short") in asked
    assert [argv for argv in asked if argv not in listed and argv[:2] != ("modinfo", "-F")] == []


def test_no_rule_crashes_on_a_damaged_host_or_a_damaged_file():
    """Whatever is missing on the host or odd in the files, each rule ends in a result."""
    rng = random.Random(7)
    host = load(HOST)
    files = sorted([*FILES.rglob("*.y*ml"), *(FIXTURES / "edits" / "compose").glob("*.y*ml")])
    rules = engine.rules_for(Given(compose=(File("c.yml", b""),)))
    assert len(rules) >= 19
    judged = 0
    for path in files:
        lines = path.read_text(errors="replace").splitlines()
        for text in ("\n".join(lines), "\n".join(line for line in lines if rng.random() > 0.15)):
            given = Given(compose=(File("c.yml", text.encode()),))
            diagnosis = engine.diagnose(Facts(damaged(host, rng, 0.1), given), rules)
            assert diagnosis.crashed == (), path.name
            judged += bool(diagnosis.findings)
    assert judged > 40


def test_what_is_included_is_a_project_of_its_own(tmp_path):
    """Included files have their own folder, .env and env_file; the including project's variables go before theirs; cycles end."""
    for name, text in {
        "compose.yml": "include: [{path: a/x.yml, project_directory: a/b}, {path: [c.yml, d.yml], env_file: c.env}, gone.yml]\n"
        "services: {web: {image: nginx}}\n",
        "a/x.yml": "include: [y.yml, ../../compose.yml]\nservices: {one: {image: 'i:${V}', extends: {file: z.yml, service: base}}}\n",
        "a/b/y.yml": "services: {two: {image: 'i:${V}', env_file: y.env}}\n",
        "a/b/y.env": "K=1\n",
        "a/b/.env": "V=b\nW=b\n",
        "a/b/z.yml": "services: {base: {runtime: nvidia}}\n",
        ".env": "W=outer\n",
        "c.env": "V=c\n",
        "c.yml": "services: {three: {image: '${V}:${W}', gpus: all}}\n",
        "d.yml": "services: {three: {shm_size: 1g, gpus: !reset null}}\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    facts = Facts(load(HOST), read([str(tmp_path / "compose.yml")]))
    found = {each.name: each for each in facts.composed.services}
    assert {name: each.value.get("image").text for name, each in found.items()} == {
        "web": "nginx",
        "one": "i:b",
        "two": "i:b",
        "three": "c:outer",
    }
    assert found["one"].by_runtime
    assert {name: each.text for name, each in found["two"].environment.items()} == {"K": "1"}
    assert found["three"].requests == ()
    assert found["three"].value.get("shm_size").text == "1g"
    places = [(each.file.rpartition("/")[2], each.text) for each in facts.composed.merged.includes]
    assert places == [("x.yml", "../../compose.yml"), ("compose.yml", "gone.yml")]


def test_files_that_include_each_other_many_times_end_soon(tmp_path):
    """Each of 25 files includes the next one twice: 33 million ways, of which a hundred are followed."""
    for number in range(25):
        (tmp_path / f"{number}.yml").write_text(
            f"include: [{number + 1}.yml, {number + 1}.yml]\nservices: {{s{number}: {{image: x}}}}"
        )
    (tmp_path / "25.yml").write_text("services: {last: {image: x}}\n")
    start = time.monotonic()
    facts = Facts(load(HOST), read([str(tmp_path / "0.yml")]))
    assert facts.composed.merged.includes
    assert time.monotonic() - start < 5


def test_count_all_in_capitals_is_taken(tmp_path):
    """Compose reads `count: ALL` as all GPUs, so that no rule finds anything in it."""
    file = tmp_path / "compose.yml"
    file.write_text(BASE.replace("count: 1", "count: ALL"))
    diagnosis = engine.diagnose(Facts(load(HOST), read([str(file)])), [engine.load("compose", "compose_gpu_request_incomplete")])
    assert diagnosis.findings == ()
    assert diagnosis.passed
