"""A snapshot that may be shown to others: who and where the machine is taken out, what is wrong with it kept.

``_TABLE`` says what is treated how; every text is put through ``_Redactor.common`` besides. Two properties matter to whoever edits it:

- The redacted answers must lead to the same findings. So the same original becomes the same pseudonym everywhere, in questions too
  (``/home/alice/...`` is asked as ``/home/user-001/...``), and values are replaced where they stand: JSON stays JSON, lines keep
  their numbers.
- Pseudonyms are numbers, given in order (users: in the order of the alphabet, so that sorted folders stay sorted). A hash of a
  name could be found out by trying names.

The doctor itself never needs this module; only ``snapshot`` imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import Miss, Ran, Stat
from gpudoctor.host.book import Answers
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Iterator

    Edit = Callable[["_Redactor", str], str]

REDACTED = "redacted"

# Names that say nothing about whose machine it is, and words that the doctor's own questions and the files it reads are made of: a
# machine called `tesla` must not rename the GPU.
_GENERIC = frozenset(
    """
    root nobody localhost localdomain admin administrator user users guest test default none null home host hosts hostname
    ubuntu debian fedora centos rocky almalinux alma redhat rhel suse opensuse arch archlinux manjaro linux mint pop azurelinux
    amazon oracle ec2-user cloud-user azureuser opc core vagrant runner linuxbrew lost+found jovyan snap jetson orin xavier nano thor
    tegra proxmox pve lxc lxd incus wsl microsoft windows desktop laptop server node worker master workstation dev prod build
    docker dockerd docker-desktop desktop-linux containerd podman moby buildx buildkit compose runc crun rootless rootlesskit container
    containers toolkit hook nvidia nouveau nova cuda gpu gpus gpu0 mig uvm nvml nvlink nvswitch fabric fabricmanager persistenced
    modeset modprobe tesla quadro geforce titan grid rtx gtx fermi kepler maxwell pascal volta turing ampere ada lovelace hopper
    blackwell grace rubin driver drivers module modules version params information capabilities gpu-operator nemo triton
    etc usr bin sbin lib lib64 local share var run proc sys dev opt boot efi firmware tmp mnt srv media data log kernel kern dmesg
    bus pci devices device vendor class char block status stat comm exe cmdline environ passwd self mountinfo cgroup unified
    osrelease os-release default grub loader entries conf config daemon json toml yaml spec cdi meta contexts system systemd service
    services socket target wants requires enabled active state dkms source make lockdown security apparmor selinux x86 aarch64
    amd64 arm64 libcuda open closed true false yes off auto name path args env key value runtime runtimes features debug hosts
    legacy csv info warning warn error swap memory disk serial unknown display video render audio cloud cluster lab main
    """.split()  # noqa: SIM905 - a list of words is easier to keep in this form
)
_OPEN_SERIALS = ("to be filled", "default string", "not specified", "system serial", "none", "n/a", "unknown", "not applicable")
_PUBLIC = (
    "docker.io",
    "docker.com",
    "nvcr.io",
    "nvidia.com",
    "github.com",
    "github.io",
    "ghcr.io",
    "quay.io",
    "gcr.io",
    "mcr.microsoft.com",
    "localhost",
    "docker.internal",
    "containerd.io",
    "podman.io",
    "kernel.org",
    "freedesktop.org",
    "debian.org",
    "ubuntu.com",
    "pytorch.org",
    "pypi.org",
    "pythonhosted.org",
    "python.org",
    "anaconda.com",
    "anaconda.org",
    "huggingface.co",
    "astral.sh",
    "invalid",
)
# The lines of the kernel's log that `formats.kernel_log` keeps; a test holds the two together.
_LOG_WORDS = (
    *("NVRM", "nvidia", "NVIDIA", "nouveau", "nova", "Xid", "module verification", "Loading of module", "PM: suspend"),
    *("Loading of unsigned module", "unsigned module loading", "PM: hibernation"),
    *("apparmor", "AVC", "PKCS#7"),
)
# What of a process's or container's environment the rules look at.
_KEPT_VARIABLES = frozenset({"PATH", "HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "container"})
_KEPT_PREFIXES = ("ROOTLESSKIT_", "DOCKER_", "NVIDIA_", "CUDA_")
# What the rules about images and containers look at besides; of the indexes of pip it counts only that there are some.
_KEPT_IN_IMAGES = frozenset(
    {"LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHON_VERSION", "CUDNN_VERSION", "TORCH_CUDA_ARCH_LIST", "PYTORCH_VERSION"}
)
_KEPT_IN_IMAGES_PREFIXES = ("NV_",)
_KEPT_PROGRAMS = ("containerd", "docker", "nv-", "nvidia-", "podman", "rootlesskit")
_TELLING = r"password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key|authorization|auth[_-]config|no[_-]?proxy"

# kind: (one, several, of which {} is the number)
_SENTENCES: dict[str, tuple[str, str]] = {
    "gpu": ("1 GPU UUID", "{} GPU UUIDs"),
    "mig": ("1 MIG UUID", "{} MIG UUIDs"),
    "host": ("the host name", "{} host names"),
    "user": ("1 user name", "{} user names"),
    "serial": ("1 serial number or machine id", "{} serial numbers or machine ids"),
    "address": ("1 network address", "{} network addresses"),
    "remote": ("the name of 1 other machine", "the names of {} other machines"),
    "secret": ("1 value that may be a secret", "{} values that may be secrets"),
    "login": ("the login in 1 URL", "the logins in {} URLs"),
    "variable": ("1 environment variable of a process or container", "{} environment variables of processes or containers"),
    "detail": ("1 label or argument", "{} labels and arguments"),
    "process": ("the name of 1 process", "the names of {} processes"),
    "account": ("what else /etc/passwd says of 1 account", "what else /etc/passwd says of {} accounts"),
    "log": ("1 line of the kernel's log that is not about GPUs", "{} lines of the kernel's log that are not about GPUs"),
}


def redact(answers: Answers) -> tuple[Answers, tuple[str, ...]]:
    """Return answers without names, addresses and secrets, and what was taken out, one phrase each, for people to read.

    The answers given are not changed. The result is for showing to others, not a promise: prose in a comment stays.
    """
    redactor = _Redactor()
    redactor.learn(answers)
    redacted = Answers(
        {redactor.path(asked): redactor.miss(body) or redactor.body(asked, body) for asked, body in answers.reads.items()},
        {redactor.path(asked): redactor.miss(names) or redactor.names(asked, names) for asked, names in answers.lists.items()},
        {redactor.path(asked): redactor.miss(found) or redactor.stat(asked, found) for asked, found in answers.stats.items()},
        {redactor.question(argv): redactor.miss(ran) or redactor.ran(argv, ran) for argv, ran in answers.runs.items()},
        {name: redactor.miss(value) or redactor.variable(name, value) for name, value in answers.envs.items()},
    )
    return redacted, redactor.sentences()


def renamed_images(before: Answers, after: Answers, images: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return (name, name in the redacted answers) of the images whose names were changed: they have to be asked for by the new one."""
    if len(before.runs) != len(after.runs):
        return ()  # two questions have become one, so that it is not known which
    asked = dict(zip(before.runs, after.runs, strict=True))
    found = []
    for name in images:
        instead = next((asked[argv][-1] for argv in before.runs if argv[:1] == ("docker",) and argv[-1] == name), name)
        found += [(name, instead)] if instead != name else []
    return tuple(found)


class _Row(NamedTuple):
    """Which questions (as a ``.host`` text writes them; ``*`` matches slashes too), and what their answers are put through."""

    questions: tuple[str, ...]
    edits: tuple[Edit, ...]
    common: bool = True


# --- the treatments ---------------------------------------------------------------------------------------------------------------


def _environ(redactor: _Redactor, text: str) -> str:
    return "\0".join(redactor.kept_variable(entry) for entry in text.split("\0"))


def _process_name(redactor: _Redactor, text: str) -> str:
    name = text.rstrip("\n")
    return text if redactor.keeps_program(name) else text.replace(name, redactor.told("process", name, "other"), 1)


def _process_stat(redactor: _Redactor, text: str) -> str:
    head, opening, rest = text.partition("(")
    name, closing, tail = rest.rpartition(")")
    return f"{head}{opening}{_process_name(redactor, name)}{closing}{tail}" if closing else text


def _process_status(redactor: _Redactor, text: str) -> str:
    head, newline, tail = text.partition("\n")
    label, tab, name = head.partition("\t")
    return f"{label}{tab}{_process_name(redactor, name)}{newline}{tail}" if label == "Name:" else text


def _process_arguments(redactor: _Redactor, text: str) -> str:
    program = text.partition("\0")[0].rpartition("/")[2]
    return text if redactor.keeps_program(program) else redactor.told("process", program, "other") + "\0"


def _passwd(redactor: _Redactor, text: str) -> str:
    """Keep name, uid and home; the other fields (full names, telephone numbers) go, their colons stay."""
    lines = text.split("\n")
    for at, line in enumerate(lines):
        fields = line.split(":")
        if len(fields) > 6:
            name = redactor.user(fields[0]) if _is_person(fields[2]) else fields[0]
            lines[at] = f"{name}:x:{fields[2]}:::{fields[5]}:"
            redactor.told("account", fields[0], "")
    return "\n".join(lines)


def _host_name(redactor: _Redactor, text: str) -> str:
    name = text.strip()
    return text.replace(name, redactor.host(name)) if name else text


def _user_name(redactor: _Redactor, text: str) -> str:
    return redactor.user(text)


def _serial(redactor: _Redactor, text: str) -> str:
    value = text.strip(" \n\0")
    return text.replace(value, redactor.serial(value)) if value else text


def _hide(redactor: _Redactor, text: str) -> str:
    return redactor.hidden("detail", text) if text else text


def _hide_secret(redactor: _Redactor, text: str) -> str:
    return redactor.hidden("secret", text) if text else text


def _variable(redactor: _Redactor, text: str) -> str:
    return redactor.kept_variable(text, _KEPT_IN_IMAGES, _KEPT_IN_IMAGES_PREFIXES)


def _history(redactor: _Redactor, text: str) -> str:
    """Keep of ``docker history`` the scripts that were run: build arguments, variables, labels and commands may be secrets."""
    import json

    lines = []
    for line in text.split("\n"):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        told = str(value.get("CreatedBy") or "") if isinstance(value, dict) else ""
        if not told:
            # What cannot be read tells the rules nothing.
            lines.append("" if not line.strip() or isinstance(value, dict) else redactor.hidden("detail", line))
            continue
        before, shell, script = told.partition("/bin/sh -c ")
        if not shell:
            before, shell, script = told.partition("/bin/bash -c ")
        if shell and "#(nop)" not in told:
            if before.strip() not in {"", "RUN"}:
                redactor.count("detail")
            created = f"{before.split()[0] if before.startswith('RUN') else ''} {shell}{script}".strip()
        else:
            words = told.split(maxsplit=1)
            created = f"{words[0]} {redactor.hidden('detail', told)}" if len(words) > 1 else told
        lines.append(json.dumps({"CreatedBy": created}))
    return "\n".join(lines)


def _url_hosts(redactor: _Redactor, text: str) -> str:
    """Rename the machines in URLs; versions of four numbers, which look like addresses, stay."""
    return redactor.addresses_in_urls(redactor.url_hosts(text))


def _registry(redactor: _Redactor, text: str) -> str:
    """Rename the registry in a name such as ``registry.corp.example:5000/team/image``; an image of Docker's own has none."""
    host, slash, rest = text.partition("/")
    name, colon, port = host.partition(":")
    if "://" in text or "." not in name.strip(".") or name.replace(".", "").isdigit():
        return text
    return f"{redactor.remote(name)}{colon}{port}{slash}{rest}"


def _addresses(redactor: _Redactor, text: str) -> str:
    return redactor.addresses(redactor.url_hosts(text))


def _kernel_arguments(redactor: _Redactor, text: str) -> str:
    return redactor.kernel_arguments(text)


def _kernel_log(redactor: _Redactor, text: str) -> str:
    """Keep the lines that the doctor looks at: the rest of the log names disks, networks and users."""
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if any(word in line for word in _LOG_WORDS)]
    redactor.count("log", len(lines) - len(kept))
    import re

    def edit(match: re.Match[str]) -> str:
        return match[0] if redactor.keeps_program(match[2]) else match[1] + redactor.told("process", match[2], "other")

    # Xid and audit lines name the program.
    text = re.sub(r"(\b(?:name|comm)=\"?)([^\s,\"/]+)(?=[,\"])", edit, "".join(kept))
    return redactor.addresses(redactor.kernel_arguments(text), careful=True)


def _mounts(redactor: _Redactor, text: str) -> str:
    """Take out where network file systems come from, and who mounts them."""
    import re

    def edit(match: re.Match[str]) -> str:
        return match[1] + redactor.hidden("detail", match[2])

    kinds = r"nfs4?|cifs|smb3|fuse\.sshfs|fuse\.s3fs|fuse\.rclone|ceph|fuse\.glusterfs|lustre|beegfs"
    text = re.sub(rf"( - (?:{kinds}) )(\S+)", edit, text)
    return re.sub(r"([ ,](?:username|user|unc|domain)=)([^,\s]+)", edit, text)


def _maintainers(redactor: _Redactor, text: str) -> str:
    del redactor
    import re

    return re.sub(r"(?m)^((?:Original-)?Maintainer|Homepage): .*$", rf"\1: {REDACTED}", text)


def _apt_logins(redactor: _Redactor, text: str) -> str:
    """Take the logins out of netrc(5) lines: ``machine X login Y password Z``."""
    import re

    return re.sub(r"\b(login|password)(\s+)(\S+)", lambda m: m[1] + m[2] + redactor.hidden("secret", m[3]), text)


def _lxc(redactor: _Redactor, text: str) -> str:
    """Treat what an LXC guest's configuration says of its name and environment (Proxmox: ``hostname:`` and ``description:``)."""
    import re

    def edit(match: re.Match[str]) -> str:
        key, value = match[2], match[3]
        if key == "lxc.environment":
            return match[1] + redactor.kept_variable(value)
        if key in {"hostname", "lxc.uts.name", "lxc.utsname"}:
            return match[1] + redactor.remote(value)
        return match[1] + redactor.hidden("detail", value)

    keys = r"hostname|lxc\.uts\.name|lxc\.utsname|lxc\.environment|description|searchdomain|tags"
    return re.sub(rf"(?m)^(\s*({keys})\s*[:=]\s*)(\S.*?)$", edit, text)


def _instance(redactor: _Redactor, text: str) -> str:
    """Keep of an LXD or Incus instance its keys, line by line, and the values of ``nvidia.*``: cloud-init's files hold passwords."""
    lines = text.split("\n")
    for at, line in enumerate(lines):
        words = line.lstrip(" -")
        indent = line[: len(line) - len(words)]
        key, colon, value = words.partition(":")
        if not words or key.startswith("nvidia."):
            continue
        if not colon or not key.replace(".", "").replace("-", "").replace("_", "").isalnum() or value[:1].strip():
            # The middle of a text.
            lines[at] = f"{indent}{redactor.hidden('detail', words)}"
        elif value.strip():
            lines[at] = f"{indent}{key}: {redactor.hidden('detail', value.strip())}"
    return "\n".join(lines)


def _json(edits: dict[str, Edit]) -> Edit:
    """Return a treatment of a JSON text: dotted path of a value -> what it is put through.

    ``*`` is any one key or place in a list, a leading ``**`` any path, a final ``@`` the key itself instead of its value.
    """

    def edit(redactor: _Redactor, text: str) -> str:
        import json

        pieces = []
        done = 0
        for where, start, end in _strings(text):
            treat = next((edits[pattern] for pattern in edits if _fits(pattern.split("."), where)), None)
            if treat is None:
                continue
            try:
                value = json.loads(text[start:end], strict=False)
            except ValueError:
                value = text[start + 1 : end - 1]
            changed = treat(redactor, value)
            if changed != value:
                pieces += [text[done:start], json.dumps(changed, ensure_ascii=not changed.isprintable())]
                done = end
        return "".join(pieces) + text[done:]

    return edit


def _fits(pattern: list[str], where: tuple[str, ...]) -> bool:
    if pattern[0] == "**":
        pattern = pattern[1:]
        where = where[-len(pattern) :]
    return len(pattern) == len(where) and all(
        want == have or (want == "*" and have != "@") for want, have in zip(pattern, where, strict=True)
    )


def _strings(text: str) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """Yield (path, start, end) of every string of a JSON text, keys with ``@`` behind; text that is not JSON is taken as it comes."""
    import re

    path: list[str] = []
    objects: list[bool] = []
    key_next = False
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[{}\[\],]', text, re.DOTALL):
        word = token[0]
        if word in "{[":
            objects.append(word == "{")
            path.append("*")
            key_next = word == "{"
        elif word in "}]":
            del objects[-1:], path[-1:]
            key_next = False
        elif word == ",":
            key_next = bool(objects) and objects[-1]
        elif key_next:
            path[-1] = word[1:-1]
            key_next = False
            yield (*path, "@"), token.start(), token.end()
        else:
            yield tuple(path), token.start(), token.end()


_CONTAINER = _json(
    {
        "**.Config.Env.*": _variable,
        "**.ContainerConfig.Env.*": _variable,
        "**.ContainerConfig.Cmd.*": _hide,
        "**.ContainerConfig.Labels.*": _hide,
        "**.ContainerConfig.Image": _registry,
        "**.RepoTags.*": _registry,
        "**.RepoDigests.*": _registry,
        "**.Author": _hide,
        "**.Comment": _hide,
        "**.Config.Labels.*": _hide,
        "**.Config.Cmd.*": _hide,
        "**.Config.Entrypoint.*": _hide,
        "**.Config.Healthcheck.Test.*": _hide,
        "**.Config.Hostname": _hide,
        "**.Config.Domainname": _hide,
        "**.Config.Image": _registry,
        "**.Args.*": _hide,
        "**.Annotations.*": _hide,
        "**.ExtraHosts.*": _hide,
        "**.DnsSearch.*": _hide,
        "**.LogConfig.Config.*": _hide,
    },
)
_DAEMON = _json({"labels.*": _hide, "insecure-registries.*": _registry, "dns-search.*": _hide, "log-opts.*": _hide})
_INFO = _json(
    {
        "Name": _host_name,
        "ID": _serial,
        "Labels.*": _hide,
        "Username": _user_name,
        "Swarm.NodeID": _serial,
        "Swarm.RemoteManagers.*.NodeID": _serial,
        "Swarm.Cluster.ID": _serial,
        "RegistryConfig.IndexConfigs.*.@": _registry,
        "RegistryConfig.IndexConfigs.*.Name": _registry,
    },
)
_CLIENT = _json(
    {
        "auths.*.@": _registry,
        "auths.*.*": _hide_secret,
        "credHelpers.*.@": _registry,
        "credHelpers.*": _hide_secret,
        "HttpHeaders.*": _hide_secret,
    },
)

_TABLE = (
    # who and where
    _Row(("/proc/sys/kernel/hostname", "/etc/hostname", "/etc/HOSTNAME", "env HOSTNAME"), (_host_name,)),
    _Row(("env SUDO_USER", "env USER", "env LOGNAME"), (_user_name,)),
    _Row(("/etc/passwd",), (_passwd,)),
    _Row(("/sys/class/dmi/id/*serial", "/sys/class/dmi/id/*uuid", "/sys/class/dmi/id/*asset_tag"), (_serial,)),
    _Row(("/sys/devices/virtual/dmi/id/*serial", "/sys/devices/virtual/dmi/id/*uuid", "/sys/*/serial"), (_serial,)),
    _Row(
        ("/etc/machine-id", "/var/lib/dbus/machine-id", "/proc/sys/kernel/random/*id", "/proc/device-tree/serial-number"),
        (_serial,),
    ),
    # processes
    _Row(("/proc/[0-9]*/environ",), (_environ, _addresses)),
    _Row(("/proc/[0-9]*/comm",), (_process_name,)),
    _Row(("/proc/[0-9]*/stat",), (_process_stat,)),
    _Row(("/proc/[0-9]*/status",), (_process_status,)),
    _Row(("/proc/[0-9]*/cmdline",), (_process_arguments, _addresses)),
    # Docker
    _Row(("$ docker info *",), (_INFO, _addresses)),
    _Row(("$ docker inspect *", "$ docker image inspect *", "*/config.v2.json", "*/hostconfig.json"), (_CONTAINER,)),
    _Row(("$ docker history *",), (_history, _url_hosts)),
    _Row(("*/.docker/config.json", "*/.docker/*/config.json"), (_CLIENT,)),
    _Row(("*daemon*.json",), (_DAEMON,)),
    _Row(("*.json", "$ docker inspect *", "env DOCKER_HOST", "env *_PROXY", "env *_proxy"), (_addresses,)),
    # the kernel
    _Row(
        ("/proc/cmdline", "/etc/default/grub*", "/etc/kernel/*", "/boot/*", "/etc/kernelstub/*"), (_kernel_arguments, _addresses)
    ),
    _Row(("$ dmesg*", "/var/log/kern.log*", "/var/log/dmesg*"), (_kernel_log,)),
    # other configuration
    _Row(("/etc/hosts", "/etc/resolv.conf", "/etc/fstab"), (_addresses,)),
    _Row(("/proc/*/mountinfo",), (_mounts, _addresses)),
    _Row(("*.service", "*.socket", "*.service.d/*", "*/.docker/*", "/etc/default/docker", "/etc/sysconfig/*"), (_addresses,)),
    _Row(("/var/lib/lxc/*", "/etc/pve/*", "/etc/lxc/*", "*/.config/lxc/*"), (_lxc, _addresses)),
    _Row(("*/containers/*/backup.yaml",), (_instance,)),
    _Row(("/etc/apt/auth.conf*",), (_apt_logins,)),
    # Names that distributions give, not people: a user called `python` must not rename packages.
    _Row(("/var/lib/dpkg/status", "/var/lib/pacman/*", "$ rpm *"), (_maintainers,), common=False),
    _Row(("*/modules.dep", "/proc/modules", "/proc/devices", "$ modinfo *"), (), common=False),
)


# --- what every text is put through -----------------------------------------------------------------------------------------------


class _Redactor:
    """The pseudonyms of one snapshot, and how often what was taken out."""

    def __init__(self) -> None:
        import fnmatch
        import re

        self._known: dict[str, dict[str, str]] = {kind: {} for kind in _SENTENCES}
        self._counts: dict[str, int] = {}
        self._words: dict[str, str] = {}
        self._homes: dict[str, str] = {}
        self._spoken: set[str] = set()
        self._rows = [
            (re.compile("|".join(fnmatch.translate(question) for question in row.questions), re.DOTALL), row) for row in _TABLE
        ]
        self._home = re.compile(r"/home/([\w.@+-]*\w)")
        hexes = r"[0-9A-Fa-f]"
        self._full_uuid = re.compile(rf"(?<![\w-])(?:(GPU|MIG)-)?({hexes}{{8}}(?:-{hexes}{{4}}){{3}}-{hexes}{{12}})(?![\w-])")
        self._part_uuid = re.compile(rf"(?<![\w-])((?:MIG-)?(?:GPU|MIG))-({hexes}[-0-9A-Fa-f]*)(?![\w-])")
        self._old_mig = re.compile(rf"(?<![\w-])MIG-GPU-({hexes}{{8}}(?:-{hexes}{{4}}){{3}}-{hexes}{{12}})(?![\w-])")
        quoted = r'\\"(?:[^"\\]|\\[^"])*\\"|"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'"
        self._secret = re.compile(
            rf"(?i)(?:{_TELLING})[\w.-]*(?:\\?[\"'])?[ \t]*[:=][ \t]*({quoted}|[^\s\0\"',;&{{}}\[\]()\\]+)",
        )
        self._telling = re.compile(rf"(?i){_TELLING}")
        self._bearer = re.compile(r"(?i)\b(basic|bearer)( +)([A-Za-z0-9+/._~-]{8,}=*)")
        self._login = re.compile(r"(://)(?:[^\s/@:\"'\\\0]*:[^\s\"'\\\0]{0,1000}|[^\s/@:\"'\\\0]{1,1000})(@)")
        self._serial_field = re.compile(
            r"(?i)(serial(?:[ _-]?(?:number|no|num))?\"?[ \t]*[:=][ \t]*\"?)([A-Za-z0-9-]{6,})(?![\w/.])"
        )
        self._url = re.compile(
            r"\b((?:tcp|ssh|https?|socks5h?|nfs|cifs)://(?:[^\s/@\"']*@)?)([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)"
        )
        self._mac = re.compile(rf"(?<![\w:.-])(?:{hexes}{{2}}:){{5,}}{hexes}{{2}}(?![\w:]|\.\d)")
        self._ipv4 = re.compile(r"(?<![\w.-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w-]|\.\w)")
        self._ipv6 = re.compile(rf"(?<![\w:.])(?:{hexes}{{0,4}}:){{2,7}}{hexes}{{0,4}}(?![\w:]|\.\w)")
        self._argument = re.compile(
            r"((?:^|[\s\"'])(?:[\w.-]*(?:\bkey|iscsi[\w.]*|cryptkey|hostname)|netroot|nfsroot|ks|inst\.ks|url|autoinstall|ds|cloud-config-url)=)"
            r"([^\s\"']+)|(grub\.pbkdf2\.)(\S+)",
        )

    # What is learned before anything is replaced

    def learn(self, answers: Answers) -> None:
        """Collect the names of this machine and its people, and full UUIDs, of which parts may stand elsewhere."""
        texts = [body for body in answers.reads.values() if isinstance(body, bytes)]
        texts += [part for ran in answers.runs.values() if isinstance(ran, Ran) for part in (ran.out, ran.err)]
        self._learn_spoken(answers)
        self._learn_hosts(answers)
        for asked, body in answers.reads.items():
            if isinstance(body, bytes) and any(_serial in row.edits for row in self._fitting(asked)):
                _serial(self, body.decode("utf-8", "surrogateescape"))
        people = self._learn_people(answers)
        for data in texts:
            if b"/home/" in data:
                people.update(self._home.findall(_decoded(data)[0]))
            if b"GPU-" in data or b"MIG-" in data:
                for kind, uuid in self._full_uuid.findall(_decoded(data)[0]):
                    self._learn_uuid(kind, uuid)
                for uuid in self._old_mig.findall(_decoded(data)[0]):
                    self._learn_uuid("GPU", uuid)
        # In the order of the alphabet: a sorted folder of homes stays sorted.
        for name in sorted(people):
            self.user(name)
        for home in sorted(self._homes):
            parent, _, name = home.rpartition("/")
            self._homes[home] = f"{parent}/{self.user(name)}"
        self._spare_own_words(answers, texts)

    def _learn_spoken(self, answers: Answers) -> None:
        """Collect the words of the kernel's release and of what the GPUs are called: a machine may be named after its GPU."""
        import re
        from itertools import pairwise

        said = []
        for asked, body in answers.reads.items():
            if isinstance(body, bytes) and asked in {"/proc/sys/kernel/osrelease", "/etc/os-release", "/usr/lib/os-release"}:
                said.append(body)
            elif isinstance(body, bytes) and asked.startswith("/proc/driver/nvidia/gpus/"):
                said += [line for line in body.split(b"\n") if line.startswith(b"Model")]
        for argv, ran in answers.runs.items():
            if isinstance(ran, Ran) and argv == ("nvidia-smi", "-L"):
                said += re.findall(rb"(?m)^ *(?:GPU|MIG) [^\n]*?(?=\(UUID|$)", ran.out)
            elif isinstance(ran, Ran) and argv == ("nvml",):
                said += re.findall(rb'"name": *"([^"]*)"', ran.out)
        for text in said:
            words = re.findall(r"[^\W_]+", text.decode("utf-8", "replace").lower())
            self._spoken.update(words, map("-".join, pairwise(words)))

    def _learn_hosts(self, answers: Answers) -> None:
        told = []
        for path in ("/proc/sys/kernel/hostname", "/etc/hostname", "/etc/HOSTNAME"):
            body = answers.reads.get(path)
            if isinstance(body, bytes):
                told.append(body.decode("utf-8", "surrogateescape").strip())
        for argv, ran in answers.runs.items():
            if argv[:2] == ("docker", "info") and isinstance(ran, Ran):
                text = ran.out.decode("utf-8", "surrogateescape")
                told += [text[start + 1 : end - 1] for where, start, end in _strings(text) if where == ("Name",)]
        for name in told:
            if name:
                self.host(name)

    def _learn_people(self, answers: Answers) -> set[str]:
        people: set[str] = set()
        for name in ("SUDO_USER", "USER", "LOGNAME"):
            value = answers.envs.get(name)
            if isinstance(value, str):
                people.add(value)
        homes = [home] if isinstance(home := answers.envs.get("HOME"), str) else []
        passwd = answers.reads.get("/etc/passwd")
        for line in passwd.decode("utf-8", "surrogateescape").split("\n") if isinstance(passwd, bytes) else ():
            fields = line.split(":")
            if len(fields) > 5 and _is_person(fields[2]):
                people.add(fields[0])
                homes.append(fields[5])
        for home in homes:
            clean = home.rstrip("/")
            if clean.count("/") > 1 and not clean.startswith(("/var/", "/usr/", "/run/", "/proc/")):
                people.add(clean.rpartition("/")[2])
                self._homes[clean] = clean
        listed = answers.lists.get("/home")
        people.update(listed if isinstance(listed, tuple) else ())
        asked = (*answers.reads, *answers.lists, *answers.stats)
        people.update(name for path in asked for name in self._home.findall(path))
        return {name for name in people if name and name.lower() not in _GENERIC}

    def _spare_own_words(self, answers: Answers, texts: list[bytes]) -> None:
        """Do not replace a word that the doctor's own questions are made of: on a machine called `modprobe`, /etc/modprobe.d stays.

        A path that was learned from the machine stands in a folder's list, a link, a variable or a text.
        """
        told = [value for value in answers.envs.values() if isinstance(value, str)]
        told += [found.target for found in answers.stats.values() if isinstance(found, Stat) and found.target is not None]
        asked = {*answers.reads, *answers.lists, *answers.stats}
        for word in list(self._words):
            for path in (path for path in asked if word in path.lower()):
                parts = path.split("/")
                own = False
                for at, part in enumerate(parts):
                    if _replace(part, {word: ""}) == part or parts[1:at] == ["home"]:
                        continue
                    here = "/".join(parts[: at + 1])
                    listed = answers.lists.get("/".join(parts[:at]) or "/")
                    needle = here.encode("utf-8", "surrogateescape")
                    own = own or not (
                        (isinstance(listed, tuple) and part in listed)
                        or any(here in value for value in told)
                        or any(needle in text for text in texts)
                    )
                if own:
                    del self._words[word]
                    self._spoken.add(word)
                    break

    def _learn_uuid(self, kind: str, uuid: str) -> None:
        if kind:
            known = self._known["gpu" if kind == "GPU" else "mig"]
            number = len(known) + 1
            # The number stands at both ends: programs take the first digits of a UUID for the whole.
            known.setdefault(uuid.lower(), f"{number:08d}-0000-0000-0000-{number:012d}")

    # Pseudonyms

    def told(self, kind: str, original: str, replacement: str) -> str:
        """Count an original of this kind once, and return what stands in its place."""
        return self._known[kind].setdefault(original, replacement)

    def count(self, kind: str, number: int = 1) -> None:
        """Count what has no original worth keeping."""
        self._counts[kind] = self._counts.get(kind, 0) + number

    def hidden(self, kind: str, value: str) -> str:
        """Count a value that was taken out."""
        if value != REDACTED:
            self.count(kind)
        return REDACTED

    def _peculiar(self, word: str) -> bool:
        """Say whether a name can be replaced wherever it stands: it is no version, and neither kernel nor GPU is called so."""
        lower = word.lower()
        return len(word) > 2 and any(letter.isalpha() for letter in word) and lower not in _GENERIC and lower not in self._spoken

    def user(self, name: str) -> str:
        """Return the pseudonym of a user; names that many machines have stay."""
        if not name or name.lower() in _GENERIC:
            return name
        pseudonym = self.told("user", name, f"user-{len(self._known['user']) + 1:03d}")
        if self._peculiar(name):
            self._words.setdefault(name.lower(), pseudonym)
        return pseudonym

    def host(self, name: str) -> str:
        """Return the pseudonym of this machine's name; of a full name each part has its own."""
        short, dot, domain = name.partition(".")
        if name.lower() in _GENERIC or (short.lower() in _GENERIC and domain.lower() in _GENERIC):
            return name
        pseudonym = short
        if short.lower() not in _GENERIC:
            pseudonym = self.told("host", short, f"host-{len(self._known['host']) + 1:03d}")
            if self._peculiar(short):
                self._words[short.lower()] = pseudonym
        if "." in domain:
            self._words[domain.lower()] = "domain.invalid"
        if dot and domain.lower() not in _GENERIC:
            self._words[name.lower()] = f"{pseudonym}.domain.invalid"
            return f"{pseudonym}.domain.invalid"
        return f"{pseudonym}{dot}{domain}"

    def remote(self, name: str) -> str:
        """Return the pseudonym of another machine's name; public registries stay."""
        lower = name.lower()
        if lower in _PUBLIC or lower.endswith(tuple(f".{public}" for public in _PUBLIC)):
            return name
        if lower in self._words:
            return self._words[lower]
        return self.told("remote", lower, f"remote-{len(self._known['remote']) + 1:03d}.invalid")

    def serial(self, value: str) -> str:
        """Return the pseudonym of a serial number; what makers write who give none stays."""
        if len(value) < 3 or value.lower().startswith(_OPEN_SERIALS) or not value.strip("0-.xX "):
            return value
        pseudonym = self.told("serial", value, f"SERIAL-{len(self._known['serial']) + 1:06d}")
        if len(value) > 5:
            self._words.setdefault(value.lower(), pseudonym)
        return pseudonym

    def keeps_program(self, name: str) -> bool:
        """Say whether a process is one that rules ask about."""
        return name in {"", "init", "other", "systemd"} or name.startswith(_KEPT_PROGRAMS)

    def kept_variable(self, entry: str, names: frozenset[str] = frozenset(), prefixes: tuple[str, ...] = ()) -> str:
        """Return ``NAME=value`` as it is where rules look at it, else ``NAME=redacted``."""
        name, sign, value = entry.partition("=")
        kept = name in _KEPT_VARIABLES or name in names
        kept = kept or (name.startswith((*_KEPT_PREFIXES, *prefixes)) and not self._telling.search(name))
        if not sign or not value.strip() or kept:
            return entry
        return f"{name}={self.hidden('variable', value)}"

    # Texts

    def question(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return a command as it is asked of the redacted host: an image's name goes by the pseudonym of its registry."""
        if argv[:3] == ("docker", "image", "inspect") or argv[:2] == ("docker", "history"):
            argv = (*argv[:-1], _registry(self, argv[-1]))
        return tuple(self.path(word) for word in argv)

    def common(self, text: str) -> str:
        """Treat what may stand in any text: logins, secrets, UUIDs, serial numbers, names."""
        text = self._login.sub(self._no_login, text)
        text = self._bearer.sub(lambda match: match[1] + match[2] + self.hidden("secret", match[3]), text)
        text = self._without_secrets(text)
        text = self._serial_field.sub(lambda match: match[1] + self.serial(match[2]), text)
        return self.path(text)

    def path(self, text: str) -> str:
        """Treat what may stand in a path or an argument too: UUIDs, homes, names. The same text always becomes the same."""
        text = self._uuids(text)
        if "/home/" in text:
            text = self._home.sub(lambda match: f"/home/{self.user(match[1])}", text)
        for home, renamed in self._homes.items():
            if home in text and not home.startswith("/home/"):
                text = _replace(text, {home: renamed})
        lower = text.lower()
        present = {word: renamed for word, renamed in self._words.items() if word in lower}
        return _replace(text, present) if present else text

    def _uuids(self, text: str) -> str:
        if "GPU-" in text or "MIG-" in text:
            text = self._part_uuid.sub(self._uuid, text)
        if self._known["gpu"] and text.count("-") > 3:
            # A GPU's UUID may stand without its prefix.
            text = self._full_uuid.sub(
                lambda match: match[0] if match[1] else self._known["gpu"].get(match[2].lower(), match[0]), text
            )
        return text

    def _uuid(self, match: re.Match[str]) -> str:
        kind = "mig" if match[1] == "MIG" else "gpu"
        known = self._known[kind]
        part = match[2].lower()
        if part in known:
            return f"{match[1]}-{known[part]}"
        if part in known.values():
            return match[0]
        whole = [pseudonym for uuid, pseudonym in known.items() if len(part) > 3 and uuid.startswith(part)]
        if len(whole) == 1:
            return f"{match[1]}-{whole[0][: max(len(part), 8)]}"
        if whole:
            return f"{match[1]}-0"
        if len(part) < 8 or not any(digit.isdigit() for digit in part):
            return match[0]
        # Of a GPU that is not in this machine.
        self._learn_uuid(match[1][-3:], part)
        return f"{match[1]}-{known[part][: len(part)]}"

    def _no_login(self, match: re.Match[str]) -> str:
        if match[0] != f"://{REDACTED}@":
            self.count("login")
        return f"{match[1]}{REDACTED}{match[2]}"

    def _without_secrets(self, text: str) -> str:
        pieces = []
        done = 0
        for match in self._secret.finditer(text):
            start, end = match.span(1)
            if start < done or _in_path(text, match.start(), text[match.start() : start]):
                continue
            value = match[1]
            mark = '\\"' if value.startswith('\\"') else value[0] if value[0] in "\"'" else ""
            inner = value[len(mark) : len(value) - len(mark)]
            if (
                not inner
                or inner in {REDACTED, "true", "false", "null"}
                or (not mark and inner.replace(".", "").strip("-") == "0")
            ):
                continue
            if not mark and _in_comment(text, match.start()):
                # The rest of a comment's line: a passphrase has spaces.
                newline = text.find("\n", start)
                end = newline if newline >= 0 else len(text)
            self.count("secret")
            number = not mark and inner.lstrip("-").replace(".", "", 1).isdigit()
            pieces += [text[done:start], mark, "0" if number else REDACTED, mark]
            done = end
        return "".join(pieces) + text[done:]

    def url_hosts(self, text: str) -> str:
        """Rename the machines in URLs; numeric addresses are left to ``addresses``."""
        if "://" not in text:
            return text
        text = self._login.sub(self._no_login, text)

        def edit(match: re.Match[str]) -> str:
            host = match[2]
            return match[0] if host.replace(".", "").isdigit() else match[1] + self.remote(host)

        return self._url.sub(edit, text)

    def addresses_in_urls(self, text: str) -> str:
        """Replace numeric addresses where they are the machine of a URL."""
        return self._url.sub(lambda match: match[1] + self.addresses(match[2]), text)

    def addresses(self, text: str, *, careful: bool = False) -> str:
        """Replace IPv4, IPv6 and MAC addresses; ``careful`` where versions of four numbers may stand beside them."""
        text = self._mac.sub(self._mac_address, text)
        text = self._ipv6.sub(self._ipv6_address, text)
        return self._ipv4.sub(lambda match: match[0] if careful and _after_version(match) else self._ipv4_address(match[0]), text)

    def _mac_address(self, match: re.Match[str]) -> str:
        original = match[0].lower()
        if not original.strip("0:f") or original.startswith("02:00:00:"):
            return match[0]
        number = len(self._known["address"]) + 1
        return self.told("address", original, f"02:00:00:00:{number >> 8 & 255:02x}:{number & 255:02x}")

    def _ipv4_address(self, original: str) -> str:
        numbers = original.split(".")
        if any(int(number) > 255 or (len(number) > 1 and number[0] == "0") for number in numbers):
            return original
        # This machine, everything, a mask; and the networks for documents (RFC 5737) and tests (RFC 2544), to which we lead.
        if numbers[0] in {"0", "127", "255"} or original.startswith(("192.0.2.", "198.18.", "198.19.")):
            return original
        number = len(self._known["address"]) + 1
        return self.told(
            "address", original, f"192.0.2.{number}" if number < 255 else f"198.18.{number >> 8 & 255}.{number & 255}"
        )

    def _ipv6_address(self, match: re.Match[str]) -> str:
        import ipaddress

        original = match[0].lower()
        try:
            address = ipaddress.IPv6Address(original)
        except ValueError:
            return match[0]
        if address.is_loopback or address.is_unspecified or original.startswith("2001:db8:") or len(original) < 4:
            return match[0]
        return self.told("address", str(address), f"2001:db8::{len(self._known['address']) + 1:x}")

    def kernel_arguments(self, text: str) -> str:
        """Take out of a kernel's command line what opens disks or leads to servers."""

        def edit(match: re.Match[str]) -> str:
            lead, value = (match[1], match[2]) if match[1] else (match[3], match[4])
            return lead + self.hidden("secret", value)

        return self._argument.sub(edit, text)

    # Answers

    def treat(self, question: str, text: str) -> str:
        """Put a text through the rows that its question fits, then through what is common."""
        rows = self._fitting(question)
        for row in rows:
            for edit in row.edits:
                text = edit(self, text)
        return self.common(text) if all(row.common for row in rows) else self._uuids(text)

    def _fitting(self, question: str) -> list[_Row]:
        return [row for pattern, row in self._rows if pattern.match(question)]

    def body(self, asked: str, body: bytes | Miss) -> bytes:
        """Treat a file."""
        assert isinstance(body, bytes)  # noqa: S101 - misses are treated before
        if body.startswith(b"\x7fELF") or asked.startswith("/sys/firmware/efi/"):
            return body
        if b"glibc-ld.so.cache" in body[:64] or body.startswith(b"ld.so-1.7.0"):
            return self._loader_cache(body)
        text, encoding = _decoded(body)
        treated = self.treat(asked, text)
        return body if treated == text else treated.encode(encoding, "surrogateescape")

    def _loader_cache(self, data: bytes) -> bytes:
        """Rename paths in /etc/ld.so.cache: new ones are added at the end and pointed to, old ones overwritten where they stand.

        Names in the cache share their tails, so nothing may be cut out. Layout: formats/ldcache.py.
        """
        import re
        import struct

        begin = data.find(b"glibc-ld.so.cache1.1")
        changed = bytearray(data)
        added = bytearray()
        entries = 0
        if begin >= 0 and len(data) >= begin + 48:
            (entries,) = struct.unpack_from("<I", data, begin + 20)
        for at in range(begin + 48, min(begin + 48 + entries * 24, len(data) - 23), 24):
            (offset,) = struct.unpack_from("<I", data, at + 8)
            end = data.find(b"\0", begin + offset)
            old = data[begin + offset : end].decode("utf-8", "surrogateescape")
            new = self.path(old)
            if new != old:
                struct.pack_into("<I", changed, at + 8, len(data) - begin + len(added))
                added += new.encode("utf-8", "surrogateescape") + b"\0"
        masked = bytes(changed)
        for start, words in ((rb"(?<=/home/)", self._known["user"]), (rb"(?<![A-Za-z0-9])", self._words)):
            for word in sorted(words, key=len, reverse=True):
                pattern = rb"(?i)" + start + re.escape(word.encode("utf-8", "surrogateescape")) + rb"(?![A-Za-z0-9])"
                masked = re.sub(pattern, lambda match: b"x" * len(match[0]), masked)
        return masked + bytes(added)

    def names(self, folder: str, names: tuple[str, ...] | Miss) -> tuple[str, ...]:
        """Rename what is in a folder as paths below it are renamed."""
        assert isinstance(names, tuple)  # noqa: S101 - misses are treated before
        start = folder.rstrip("/")
        return tuple(sorted(self.path(f"{start}/{name}").rpartition("/")[2] for name in names))

    def stat(self, asked: str, found: Stat | Miss) -> Stat:
        """Rename where a link leads."""
        assert isinstance(found, Stat)  # noqa: S101 - misses are treated before
        if asked.startswith("/proc/") and asked.endswith("/exe") and found.target is not None:
            program = found.target.rpartition("/")[2]
            if not self.keeps_program(program.removesuffix(" (deleted)")):
                return found._replace(target=f"/{self.told('process', program, 'other')}")
        return found if found.target is None else found._replace(target=self.path(found.target))

    def ran(self, argv: tuple[str, ...], ran: Ran | Miss) -> Ran:
        """Treat what a command printed."""
        assert isinstance(ran, Ran)  # noqa: S101 - misses are treated before
        question = f"$ {' '.join(argv)}"
        out, err = (
            self.treat(question, part.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            for part in (ran.out, ran.err)
        )
        return Ran(ran.rc, out, err)

    def variable(self, name: str, value: str | Miss) -> str:
        """Treat a variable of whoever ran the doctor."""
        assert isinstance(value, str)  # noqa: S101 - misses are treated before
        return self.treat(f"env {name}", value)

    def miss(self, answer: object) -> Miss | None:
        """Return a miss of the same kind, treated; None where there is an answer."""
        if not isinstance(answer, Miss):
            return None
        return type(answer)(self.path(answer.asked), self.common(answer.why))

    def sentences(self) -> tuple[str, ...]:
        """Return what was taken out, one phrase a kind."""
        found = []
        for kind, (one, several) in _SENTENCES.items():
            number = len(self._known[kind]) + self._counts.get(kind, 0)
            if number:
                found.append(one if number == 1 else several.format(number))
        return tuple(found)


def _is_person(uid: str) -> bool:
    return uid.isdigit() and 1000 <= int(uid) < 65534


def _decoded(data: bytes) -> tuple[str, str]:
    """Return a text and its encoding; bytes that are not UTF-8 come through unharmed. Windows saves some files as UTF-16."""
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"} and len(data) % 2 == 0:
        encoding = "utf-16-le" if data[:1] == b"\xff" else "utf-16-be"
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            pass
    return data.decode("utf-8", "surrogateescape"), "utf-8"


def _replace(text: str, words: dict[str, str]) -> str:
    """Replace whole words (given in lower case, or paths), all in one pass, so that no pseudonym is replaced again."""
    import re

    lower = {word.lower(): renamed for word, renamed in words.items()}
    longest = sorted(lower, key=len, reverse=True)
    pattern = "|".join(re.escape(word) for word in longest)
    return re.sub(rf"(?i)(?<![^\W_])(?:{pattern})(?![^\W_])", lambda match: lower.get(match[0].lower(), match[0]), text)


def _in_path(text: str, start: int, lead: str) -> bool:
    """Say whether a secret's word is the end of a path, as in ``/etc/passwd:/etc/passwd:ro``."""
    while start > 0 and (text[start - 1].isalnum() or text[start - 1] in "_.-"):
        start -= 1
    return lead.rstrip().endswith(":") and start > 0 and text[start - 1] == "/"


def _in_comment(text: str, start: int) -> bool:
    return text[text.rfind("\n", 0, start) + 1 : start].lstrip().startswith(("#", "//", ";"))


def _after_version(match: re.Match[str]) -> bool:
    """Say whether four numbers in a log follow a word that makes them a version."""
    before = match.string[max(0, match.start() - 60) : match.start()].lower()
    words = ["", "", *(word.strip("(),") for word in before.replace(":", " ").replace("=", " ").replace('"', " ").split())]
    said = ("version", "ver", "v", "release", "rev", "revision", "build", "firmware", "fw", "bios", "vbios", "module", "driver")
    return words[-1] in said or words[-2] in said[:6]
