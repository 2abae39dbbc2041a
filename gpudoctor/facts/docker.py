"""The Docker daemon: which one serves this host, the daemon.json *it* reads, what it says of itself, what runs in it."""

from __future__ import annotations

from typing import Any, Literal

from gpudoctor import tables
from gpudoctor.facts import Area, fact
from gpudoctor.formats import Malformed, daemon_json, procfs, unit
from gpudoctor.host import Denied, NoAnswer, Ran, Unseen
from gpudoctor.values import NamedTuple

Kind = Literal["rootful", "rootless", "snap", "desktop"]

INFO = ("docker", "info", "--format", "{{json .}}")
ROOTFUL_JSON = "/etc/docker/daemon.json"
SNAP_JSON = "/var/snap/docker/current/config/daemon.json"
SNAP_META = "/snap/docker/current/meta/snap.yaml"
SNAP_PATH = tuple(f"/snap/docker/current/{folder}" for folder in ("usr/sbin", "usr/bin", "sbin", "bin"))
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PACKAGES = ("docker-ce", "docker.io", "moby-engine", "docker-engine", "docker", "docker-latest")
_SYS_ADMIN = {"SYS_ADMIN", "CAP_SYS_ADMIN", "ALL", "CAP_ALL"}
_TICKS = 100  # USER_HZ, the unit of start times in /proc/PID/stat, is 100 on every Linux that Docker runs on


class Process(NamedTuple):
    """A running dockerd: ``started`` in seconds since 1970; ``environ`` None where only root may read it."""

    pid: int
    argv: tuple[str, ...]
    exe: str
    uid: int
    started: int | None
    environ: dict[str, str] | None

    @property
    def kind(self) -> Kind:
        """Which Docker it is, by its program and user."""
        if self.exe.startswith("/snap/") or (self.argv and self.argv[0].startswith("/snap/")):
            return "snap"
        return "rootful" if self.uid == 0 else "rootless"


class ConfigFile(NamedTuple):
    """A daemon.json: ``document`` None and ``malformed`` set where dockerd would refuse it; both None where it is absent."""

    path: str
    data: bytes
    document: daemon_json.Document | None
    malformed: Malformed | None

    @property
    def value(self) -> dict[str, Any]:
        """The settings, none where the file is absent or malformed."""
        return self.document.value if self.document is not None else {}

    def line(self, key: str) -> int | None:
        """Return the line of a dotted key."""
        return daemon_json.line_of(self.data, key) if self.document is not None else None


class Container(NamedTuple):
    """A container that this daemon keeps, from its files on disk: what it was given, as far as a GPU is concerned."""

    name: str
    path: str
    runtime: str
    drivers: tuple[str, ...]
    device_ids: tuple[str, ...]
    devices: tuple[str, ...]
    env: dict[str, str]
    image: str = ""
    privileged: bool = False
    """Whether it has CAP_SYS_ADMIN, which is what the toolkit takes for privileged."""
    mounts: tuple[str, ...] = ()
    """Where in the container something is mounted."""
    running: bool = False
    """Whether it ran when the daemon last wrote its state down."""

    @property
    def wants_gpu(self) -> bool:
        """Whether it asked for a GPU by ``--gpus``, by the nvidia runtime, or by a CDI name."""
        return bool(self.drivers or self.device_ids) or self.runtime == "nvidia"


class Desktop(NamedTuple):
    """What shows that ``docker`` reaches Docker Desktop, whose daemon runs in a virtual machine of its own."""

    where: str
    says: str


class Docker(Area):
    """One host may run several daemons; ``daemon`` is the one that the command line reaches."""

    @fact
    def daemons(self) -> tuple[Process, ...]:
        """Return every dockerd process, the rootful one first; none of a mounted disk, whose /proc is not there."""
        try:
            pids = self.host.names("/proc")
        except Unseen:
            return ()
        found = [process for pid in pids if pid.isdigit() and (process := self._process(pid)) is not None]
        return tuple(sorted(found, key=lambda process: (process.uid, process.pid)))

    @fact
    def processes_seen(self) -> bool:
        """Say whether this host's processes show: not those of a mounted disk, and not others' where /proc hides them (hidepid)."""
        try:
            if not self.host.names("/proc"):
                return False
        except Unseen:
            return False
        for line in (self.host.text("/proc/self/mountinfo") or "").split("\n"):
            if " / /proc " in line and "hidepid=" in line and not line.endswith(("hidepid=0", "hidepid=off")):
                return self.facts.platform.root
        return True

    @fact
    def daemon(self) -> Process | None:
        """Return the dockerd that ``docker`` on this host reaches: by DOCKER_HOST or context, else the rootful one."""
        address = self.address
        if "/run/user/" in address:
            uid = address.partition("/run/user/")[2].partition("/")[0]
            return next((process for process in self.daemons if str(process.uid) == uid), None)
        return self._of_pid_file or (self.daemons[0] if self.daemons else None)

    @fact
    def _of_pid_file(self) -> Process | None:
        """Return the dockerd that the usual PID file names: a large machine has thousands of processes to look through."""
        try:
            pid = (self.host.text("/run/docker.pid") or "").strip()
        except NoAnswer:
            return None
        return self._process(pid) if pid.isdigit() else None

    def _process(self, pid: str) -> Process | None:
        try:
            name = self.host.text(f"/proc/{pid}/comm")
            if name is None:
                argv0 = (self.host.text(f"/proc/{pid}/cmdline") or "").partition("\0")[0]
                name = argv0.rpartition("/")[2]
        except NoAnswer:
            return None
        # The second is RHEL 7's.
        if name.strip() not in {"dockerd", "dockerd-current"}:
            return None
        argv = tuple(word for word in (self.host.text(f"/proc/{pid}/cmdline") or "").split("\0") if word)
        try:
            link = self.host.lstat(f"/proc/{pid}/exe")
            exe = link.target if link is not None and link.target is not None else ""
        except Denied:
            exe = ""
        ticks = procfs.start_ticks(self.host.text(f"/proc/{pid}/stat") or "")
        booted = procfs.boot_time(self.host.bytes("/proc/stat") or b"")
        started = booted + ticks // _TICKS if booted is not None and ticks is not None else None
        uid = procfs.uids(self.host.text(f"/proc/{pid}/status") or "")
        return Process(int(pid), argv, exe or (argv[0] if argv else ""), uid or 0, started, self._environ(pid))

    def _environ(self, pid: str) -> dict[str, str] | None:
        try:
            data = self.host.bytes(f"/proc/{pid}/environ")
        except NoAnswer:
            return None
        if data is None:
            return None
        pairs = (entry.decode("utf-8", "replace").partition("=") for entry in data.split(b"\0") if entry)
        return {key: value for key, _, value in pairs}

    @fact
    def homes(self) -> tuple[str, ...]:
        """Return the home folders whose Docker client settings matter: of whoever asks, and of who called sudo."""
        try:
            home = self.host.variable("HOME")
            user = self.host.variable("SUDO_USER")
        except Unseen:
            home = user = None
        if not home:
            return ("/root", *(f"/home/{name}" for name in self.host.names("/home")))
        homes = [home]
        if user and user != "root":
            homes.append(f"/home/{user}")
        return tuple(dict.fromkeys(homes))

    @fact
    def context(self) -> tuple[str, str]:
        """Return the client's context and the file or variable that sets it; ``("default", "")`` where none does."""
        try:
            if self.host.variable("DOCKER_HOST"):
                return "default", ""
            name = self.host.variable("DOCKER_CONTEXT")
        except Unseen:
            name = None
        if name:
            return name, "$DOCKER_CONTEXT"
        for home in self.homes:
            path = f"{home}/.docker/config.json"
            try:
                value = _json(self.host.bytes(path))
            except NoAnswer:
                continue
            current = value.get("currentContext")
            if isinstance(current, str) and current:
                return current, path
        return "default", ""

    @fact
    def address(self) -> str:
        """Return where the docker client connects to; ``unix:///var/run/docker.sock`` unless something says otherwise."""
        try:
            told = self.host.variable("DOCKER_HOST")
        except Unseen:
            told = None
        if told:
            return told
        name, path = self.context
        if name != "default" and path.endswith("/config.json"):
            root = f"{path.removesuffix('/config.json')}/contexts/meta"
            for entry in self.host.names(root):
                meta = _json(self.host.bytes(f"{root}/{entry}/meta.json"))
                endpoint = (meta.get("Endpoints") or {}).get("docker") or {}
                if meta.get("Name") == name and isinstance(endpoint.get("Host"), str):
                    return str(endpoint["Host"])
        return "unix:///var/run/docker.sock"

    @fact
    def remote(self) -> bool:
        """Say whether the docker client talks to another machine: that one has to be examined, not this."""
        return not self.address.startswith("unix://") and "://" in self.address

    @fact
    def desktop(self) -> Desktop | None:
        """Return what shows that ``docker`` reaches Docker Desktop, None where it does not."""
        name, source = self.context
        if name == "desktop-linux":
            return Desktop(source, "currentContext is desktop-linux" if source != "$DOCKER_CONTEXT" else "desktop-linux")
        if "/.docker/desktop/" in self.address:
            return Desktop("$DOCKER_HOST", self.address)
        if self._info_or_none.get("OperatingSystem") == "Docker Desktop":
            return Desktop("docker info", "Operating System: Docker Desktop")
        if self.facts.platform.wsl and not self.daemons:
            # In the distribution that Docker Desktop integrates there is its client and its socket, and no dockerd.
            folder = "/mnt/wsl/docker-desktop"
            link = self.host.lstat("/usr/bin/docker")
            if link is not None and (link.target or "").startswith(f"{folder}/"):
                return Desktop("/usr/bin/docker", f"links to {link.target}")
        return None

    @fact
    def info(self) -> dict[str, Any] | None:
        """Return what ``docker info`` says; None where no daemon answers.

        Asked only where a dockerd runs (asking a socket-activated one would start it) and only over a unix socket. Raises Denied
        where the socket refuses, Slow where the daemon hangs.
        """
        if not self.host.closed and (self.remote or not (self.daemon or self.daemons)):
            return None
        ran = self.host.command(*INFO)
        if ran is None:
            return None
        value = _json(ran.out)
        errors = " ".join(str(error) for error in value.get("ServerErrors") or ())
        refusal = (errors + ran.err.decode("utf-8", "replace")).lower()
        if "permission denied" in refusal:
            raise Denied(" ".join(INFO), "permission denied on the Docker socket")
        return value if value.get("ServerVersion") else None

    @fact
    def _info_or_none(self) -> dict[str, Any]:
        try:
            return self.info or {}
        except NoAnswer:
            return {}

    @fact
    def system_time(self) -> int | None:
        """Return the daemon's clock in seconds since 1970, from docker info."""
        text = str(self._info_or_none.get("SystemTime") or "")
        if len(text) < len("2026-01-01T00:00:00"):
            return None
        import calendar
        import time

        try:
            return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))
        except ValueError:
            return None

    @fact
    def package(self) -> Any:
        """Return the engine's package, None where Docker came otherwise or is not installed."""
        # Debian's package "docker" is a dock for desktop icons.
        debian = self.facts.packages.manager == "dpkg"
        return self.facts.packages.installed(*(name for name in PACKAGES if not (debian and name == "docker")))

    @fact
    def installed(self) -> bool:
        """Say whether a Docker engine is on this host, or in Docker Desktop's machine on it."""
        if self.daemon or self.daemons or self._info_or_none or self.package is not None or self.desktop is not None:
            return True
        programs = ("/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd", "/snap/bin/docker")
        return any(self.host.lstat(path) is not None for path in programs)

    @fact
    def running(self) -> bool:
        """Say whether a daemon runs here."""
        return bool(self.daemons) or bool(self._info_or_none)

    @fact
    def kind(self) -> Kind | None:
        """Return which Docker serves this host; None where none is installed."""
        info = self._info_or_none
        if self.desktop is not None:
            return "desktop"
        if self.daemon is not None:
            return self.daemon.kind
        if any("rootless" in str(option) for option in info.get("SecurityOptions") or ()):
            return "rootless"
        if str(info.get("DockerRootDir") or "").startswith("/var/snap/"):
            return "snap"
        if not self.installed:
            return None
        only_snap = self.package is None and self.host.lstat("/usr/bin/dockerd") is None and self.host.exists("/snap/bin/docker")
        return "snap" if only_snap else "rootful"

    @fact
    def version(self) -> str | None:
        """Return the engine's version: as the daemon says, else of its package."""
        told = self._info_or_none.get("ServerVersion")
        if told:
            return str(told)
        if self.kind == "snap":
            return self._snap_version
        return self.package.version.partition(":")[2] or self.package.version if self.package is not None else None

    @fact
    def version_numbers(self) -> tuple[int, ...]:
        """Return the engine's version as numbers, empty where it is not known."""
        return tables.version(self.version or "")

    @fact
    def version_source(self) -> str:
        """Return where the version was read."""
        if self._info_or_none:
            return "docker info"
        return SNAP_META if self.kind == "snap" else self.facts.packages.source

    @fact
    def _snap_version(self) -> str | None:
        for line in (self.host.text(SNAP_META) or "").split("\n"):
            if line.startswith("version:"):
                return line.partition(":")[2].strip().strip("'\"") or None
        return None

    @fact
    def snap_revision(self) -> int | None:
        """Return the revision of the docker snap that runs, else of the one that is installed."""
        exe = self.daemon.exe if self.daemon is not None and self.daemon.exe.startswith("/snap/") else ""
        link = self.host.lstat("/snap/docker/current")
        for revision in (exe.removeprefix("/snap/docker/").partition("/")[0], (link.target if link is not None else None) or ""):
            if revision.isdigit():
                return int(revision)
        return None

    def since(self, feature: str) -> bool:
        """Say whether this engine is new enough for a feature of the table (an unknown version is not)."""
        return self.version_numbers >= tables.docker_since(feature)

    @fact
    def config(self) -> ConfigFile:
        """Return the daemon.json that the daemon reads."""
        return self.read_config(self.config_path)

    @fact
    def configs(self) -> tuple[tuple[Process | None, ConfigFile], ...]:
        """Return each running daemon with the daemon.json that it reads; the one that would be started where none runs."""
        if not self.daemons:
            return ((None, self.config),)
        return tuple((daemon, self.read_config(self.config_path_of(daemon))) for daemon in self.daemons)

    @fact
    def config_path(self) -> str:
        """Return the path of the daemon.json that the daemon reads."""
        return self.config_path_of(self.daemon)

    def config_path_of(self, daemon: Process | None) -> str:
        """Return the path of the daemon.json that one dockerd reads; of the default one where none runs."""
        argv = daemon.argv if daemon is not None else self.unit_argv
        for at, word in enumerate(argv):
            if word == "--config-file" and at + 1 < len(argv):
                return argv[at + 1]
            if word.startswith("--config-file="):
                return word.partition("=")[2]
        kind = daemon.kind if daemon is not None else self.kind
        if kind == "snap":
            return SNAP_JSON
        if kind == "rootless":
            return f"{self._config_home(daemon)}/docker/daemon.json"
        return ROOTFUL_JSON

    def _config_home(self, daemon: Process | None) -> str:
        environ = daemon.environ if daemon is not None and daemon.environ is not None else {}
        if environ.get("XDG_CONFIG_HOME"):
            return environ["XDG_CONFIG_HOME"]
        home = environ.get("HOME")
        if home is None and daemon is not None:
            home = self._home_of(daemon.uid)
        return f"{home or (self.homes[0] if self.homes else '/root')}/.config"

    def _home_of(self, uid: int) -> str | None:
        for line in (self.host.text("/etc/passwd") or "").split("\n"):
            fields = line.split(":")
            if len(fields) > 5 and fields[2] == str(uid):
                return fields[5]
        return None

    def read_config(self, path: str) -> ConfigFile:
        """Read a daemon.json; raises NoAnswer where it cannot be read."""
        data = self.host.bytes(path)
        if data is None:
            return ConfigFile(path, b"", None, None)
        try:
            return ConfigFile(path, data, daemon_json.parse(data), None)
        except Malformed as malformed:
            return ConfigFile(path, data, None, malformed)

    @fact
    def unit_argv(self) -> tuple[str, ...]:
        """Return dockerd's command line as docker.service gives it, drop-ins applied."""
        return self._expanded(self.unit_line.argv) if self.unit_line is not None else ()

    @fact
    def unit_line(self) -> unit.ExecLine | None:
        """Return the line with which docker.service starts dockerd, None where there is no such unit."""
        lines = unit.exec_start(self.facts.services.files("docker.service"))
        return lines[-1] if lines else None

    def _expanded(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Put the unit's variables in: ``$NAME`` becomes words, ``${NAME}`` a part of one, an unknown one nothing."""
        if not any("$" in word for word in argv):
            return argv
        files = self.facts.services.files("docker.service")
        values = unit.environment(files)
        for _, data in files:
            for key, path, _ in unit.settings(data, "Service"):
                if key == "EnvironmentFile":
                    lines = (self.host.text(path.lstrip("-")) or "").split("\n")
                    pairs = (line.strip().partition("=") for line in lines if not line.lstrip().startswith(("#", ";")))
                    values.update((name, value.strip("'\"")) for name, sign, value in pairs if sign)
        words: list[str] = []
        for word in argv:
            if word.startswith("$") and not word.startswith("${"):
                words += values.get(word[1:], "").split()
                continue
            for name, value in values.items():
                word = word.replace(f"${{{name}}}", value)  # noqa: PLW2901 - one variable after the other
            words.append(word)
        return tuple(words)

    @fact
    def path(self) -> tuple[str, ...]:
        """Return the folders of the PATH on which the daemon looks for hooks and runtimes."""
        environ = self.daemon.environ if self.daemon is not None else None
        told = environ.get("PATH") if environ is not None else None
        if self.kind == "snap":
            # A snap sees a file system of its own: what its PATH names outside /snap is not the host's.
            inside = tuple(folder for folder in (told or "").split(":") if folder.startswith("/snap/"))
            return inside or SNAP_PATH
        if told is None:
            told = dict(unit.environment(self.facts.services.files("docker.service"))).get("PATH")
        return tuple(folder for folder in (told or DEFAULT_PATH).split(":") if folder.startswith("/"))

    def which(self, name: str) -> str | None:
        """Return where the daemon finds a program: an absolute path as it is, a name on its PATH; None where it does not."""
        if name.startswith("/"):
            return name if self.host.exists(name) else None
        return next((path for folder in self.path if self.host.exists(path := f"{folder}/{name}")), None)

    @fact
    def runtimes(self) -> dict[str, Any] | None:
        """Return the runtimes that the running daemon knows, None where it was not asked."""
        known = self._info_or_none.get("Runtimes")
        return known if isinstance(known, dict) else None

    @fact
    def config_runtimes(self) -> dict[str, Any]:
        """Return the runtimes that daemon.json registers."""
        known = self.config.value.get("runtimes")
        return known if isinstance(known, dict) else {}

    @fact
    def flag_runtimes(self) -> dict[str, str]:
        """Return the runtimes that dockerd's command line registers (``--add-runtime name=path``)."""
        argv = self.daemon.argv if self.daemon is not None else self.unit_argv
        found = {}
        for at, word in enumerate(argv):
            value = argv[at + 1] if word == "--add-runtime" and at + 1 < len(argv) else word.removeprefix("--add-runtime=")
            if word.startswith("--add-runtime"):
                name, _, path = value.partition("=")
                found[name] = path
        return found

    @fact
    def has_nvidia_runtime(self) -> bool:
        """Say whether the nvidia runtime is registered: with the running daemon, else in its configuration."""
        if self.runtimes is not None:
            return "nvidia" in self.runtimes
        return "nvidia" in self.config_runtimes or "nvidia" in self.flag_runtimes

    @fact
    def default_runtime(self) -> str:
        """Return the runtime of containers that name none."""
        told = self._info_or_none.get("DefaultRuntime") or self.config.value.get("default-runtime")
        return str(told or "runc")

    @fact
    def cgroup_driver(self) -> Literal["systemd", "cgroupfs", "none"]:
        """Return the daemon's cgroup driver: as it says, else as configured, else Docker's default for the hierarchy."""
        told = self._info_or_none.get("CgroupDriver")
        if told in {"systemd", "cgroupfs", "none"}:
            return told  # type: ignore[no-any-return]
        options = self.config.value.get("exec-opts")
        words = [str(option) for option in options] if isinstance(options, list) else []
        words += self.daemon.argv if self.daemon is not None else self.unit_argv
        for word in words:
            if word.endswith("native.cgroupdriver=cgroupfs"):
                return "cgroupfs"
            if word.endswith("native.cgroupdriver=systemd"):
                return "systemd"
        return "systemd" if self.facts.cgroup.mode == "v2" and self.facts.platform.systemd else "cgroupfs"

    @fact
    def cgroup_driver_source(self) -> tuple[str, int | None]:
        """Return where the cgroup driver was read, with the line where there is one: the hierarchy where it is Docker's default."""
        if self._info_or_none.get("CgroupDriver"):
            return "docker info", None
        line = self.config.line("exec-opts")
        if line is not None:
            return self.config.path, line
        argv = self.daemon.argv if self.daemon is not None else self.unit_argv
        told = any("native.cgroupdriver=" in word for word in argv)
        return "dockerd's command line" if told else self.facts.cgroup.source, None

    @fact
    def cdi_enabled(self) -> bool:
        """Say whether this engine takes CDI names: on from 28.2, by features.cdi from 25, never before."""
        if self._info_or_none.get("CDISpecDirs"):
            return True
        features = self.config.value.get("features")
        wanted = features.get("cdi") if isinstance(features, dict) else None
        if self.since("cdi-default"):
            return wanted is not False
        return self.since("cdi") and wanted is True

    @fact
    def cdi_dirs(self) -> tuple[str, ...]:
        """Return the folders in which this engine looks for CDI specs."""
        told = self._info_or_none.get("CDISpecDirs") or self.config.value.get("cdi-spec-dirs")
        if isinstance(told, list) and told:
            return tuple(str(folder) for folder in told)
        return ("/etc/cdi", "/var/run/cdi")

    @fact
    def data_root(self) -> str:
        """Return where the daemon keeps its containers."""
        told = self._info_or_none.get("DockerRootDir") or self.config.value.get("data-root")
        return str(told or ("/var/snap/docker/common/var-lib-docker" if self.kind == "snap" else "/var/lib/docker"))

    @fact
    def containers(self) -> tuple[Container, ...]:
        """Return the containers that the daemon keeps; raises Denied for whoever is not root."""
        root = f"{self.data_root}/containers"
        return tuple(found for entry in self.host.names(root) if (found := self._container(f"{root}/{entry}")) is not None)

    @fact
    def known_containers(self) -> tuple[Container, ...]:
        """Return the containers as far as they can be seen: none where only root may look."""
        try:
            return self.containers
        except NoAnswer:
            return ()

    def _container(self, folder: str) -> Container | None:
        path = f"{folder}/hostconfig.json"
        given = _json(self.host.bytes(path))
        if not given:
            return None
        told = _json(self.host.bytes(f"{folder}/config.v2.json"))
        requests = [each for each in given.get("DeviceRequests") or () if isinstance(each, dict)]
        config, state = told.get("Config"), told.get("State")
        env = (str(entry).partition("=") for entry in (config.get("Env") if isinstance(config, dict) else None) or ())
        devices = [each for each in given.get("Devices") or () if isinstance(each, dict)]
        return Container(
            str(told.get("Name") or folder.rpartition("/")[2][:12]).lstrip("/"),
            path,
            str(given.get("Runtime") or ""),
            tuple(str(each.get("Driver") or "") for each in requests),
            tuple(str(name) for each in requests for name in each.get("DeviceIDs") or ()),
            tuple(str(each.get("PathOnHost") or "") for each in devices),
            {key: value for key, _, value in env},
            str(config.get("Image") or "") if isinstance(config, dict) else "",
            given.get("Privileged") is True or any(str(each) in _SYS_ADMIN for each in given.get("CapAdd") or ()),
            tuple(map(str, told.get("MountPoints") or ())),
            isinstance(state, dict) and state.get("Running") is True,
        )

    @fact
    def runc(self) -> str | None:
        """Return the version of the runc that Docker uses: as it says of itself, else of the package that carries it."""
        try:
            ran: Ran | None = self.host.command("runc", "--version")
        except Unseen:
            ran = None
        words = ran.out.decode("utf-8", "replace").split() if ran is not None and ran.rc == 0 else []
        if len(words) > 2 and words[:2] == ["runc", "version"]:
            return words[2]
        package = self.facts.packages.installed("runc")
        if package is not None:
            return str(package.version)
        return tables.runc_of_docker(self.version_numbers) if self.version_numbers else None

    @fact
    def runc_source(self) -> str | None:
        """Return where runc's version was read; None where it is only what the engine's own release carries."""
        try:
            ran: Ran | None = self.host.command("runc", "--version")
        except Unseen:
            ran = None
        if ran is not None and ran.rc == 0 and ran.out.startswith(b"runc version "):
            return "runc --version"
        return self.facts.packages.source if self.facts.packages.installed("runc") is not None else None

    @fact
    def selinux(self) -> str | None:
        """Return what says that this daemon confines its containers by SELinux (a path or command), None where it does not."""
        if any("name=selinux" in str(option) for option in self._info_or_none.get("SecurityOptions") or ()):
            return "docker info"
        if self.config.value.get("selinux-enabled") is True:
            return self.config.path
        argv = self.daemon.argv if self.daemon is not None else self.unit_argv
        return "dockerd" if {"--selinux-enabled", "--selinux-enabled=true"} & set(argv) else None


def _json(data: bytes | None) -> dict[str, Any]:
    """Return a JSON object, empty where there is none or it is not one."""
    if not data:
        return {}
    import json

    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
