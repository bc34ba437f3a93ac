"""The folder of an export: files under temporary names, hashed as they are written, named for good at the very end.

``manifest.json.partial`` is locked all the while, so two exports never write the same folder, and whatever an
interrupted one left is simply written again. Only when every file has reached the disk do they get their names, the
manifest last. A folder with a manifest is never written to.

Nobody but who made them may read the files, whatever the umask: contents are masked by their form, and not every secret
has one. A folder that is made here is closed as well; one that was there keeps its rights. Where others may write in
it, no link that one of them laid there is followed, and no file that one of them holds open gets a row: every file is
made anew, and the one that is locked has to be ours alone.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from relay.errors import RelayError
from relay.exports.manifest import MANIFEST, SUMS

PARTIAL = ".partial"
_BUFFER_BYTES = 1 << 17
_FILE_MODE, _FOLDER_MODE = 0o600, 0o700


class Draft:
    """A file that is being written; ``size`` in bytes and ``sha256`` of what was written so far."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.size = 0
        self._hash = hashlib.sha256()
        self._file = _new(Path(f"{path}{PARTIAL}"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """On the disk, not only on its way."""
        with self._file:
            if error is None:
                self._file.flush()
                os.fsync(self._file.fileno())

    @property
    def sha256(self) -> str:
        """Of everything written so far, as hexadecimal digits."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Append; OSError where the disk refuses."""
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)


class Drafts:
    """Those of one export, in the order made."""

    def __init__(self, folder: Path, manifest: IO[bytes]) -> None:
        self._folder = folder
        self._manifest = manifest
        self._names: list[str] = []

    def new(self, name: str) -> Draft:
        """A draft of the file that will have this name."""
        self._names.append(name)
        return Draft(self._folder / name)

    def publish(self, sums: bytes, manifest: bytes) -> None:
        """Give every file its name; with the manifest's the export exists."""
        with self.new(SUMS) as draft:
            draft.write(sums)
        self._manifest.write(manifest)
        self._manifest.flush()
        os.fsync(self._manifest.fileno())
        for name in self._names:
            self._rename(name)
        self._settle()
        self._rename(MANIFEST)
        self._settle()

    def remove(self) -> None:
        """Remove what is unfinished; what cannot be removed stays."""
        for name in self._names:
            with suppress(OSError):
                os.unlink(self._folder / f"{name}{PARTIAL}")

    def _rename(self, name: str) -> None:
        os.replace(self._folder / f"{name}{PARTIAL}", self._folder / name)

    def _settle(self) -> None:
        """Names reach the disk with their folder."""
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def new_export(folder: Path) -> Iterator[Drafts]:
    """Drafts in the folder, made if need be; of what is not published only the lock stays. Raises RelayError."""
    with told_disk_errors(folder):
        if not folder.exists():
            folder.mkdir(_FOLDER_MODE)
            folder.chmod(_FOLDER_MODE)
        _require_none(folder)
        with _shared(folder / f"{MANIFEST}{PARTIAL}") as manifest:
            try:
                fcntl.flock(manifest, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                hint = "Wait for it, or name another folder."
                raise RelayError(f"Another export is writing to {folder}.", hint) from None
            _require_none(folder)  # it may have come while we opened
            manifest.truncate(0)
            drafts = Drafts(folder, manifest)
            try:
                yield drafts
            finally:
                drafts.remove()


def _new(path: Path) -> IO[bytes]:
    """In place of what an interrupted export left, whatever its mode was."""
    with suppress(FileNotFoundError):
        path.unlink()
    return _opened(path, os.O_WRONLY | os.O_EXCL)


def _shared(path: Path) -> IO[bytes]:
    """The one that all exports into this folder lock, also if an earlier version left it open to others."""
    try:
        file = _opened(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):  # a link, a pipe that nobody reads
            raise
        raise _not_ours(path) from None
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink != 1:
        file.close()
        raise _not_ours(path)
    os.fchmod(file.fileno(), _FILE_MODE)
    return file


def _opened(path: Path, how: int) -> IO[bytes]:
    descriptor = os.open(path, how | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
    return open(descriptor, "ab" if how & os.O_APPEND else "wb", buffering=_BUFFER_BYTES)


def _not_ours(path: Path) -> RelayError:
    return RelayError(f"{path} is no file of ours.", "Ask who put it there; remove it, or name a folder of your own.")


def _require_none(folder: Path) -> None:
    if (folder / MANIFEST).exists():
        raise RelayError(f"{folder} has an export already.", "Evidence is not overwritten: name a new folder.")


@contextmanager
def told_disk_errors(path: Path) -> Iterator[None]:
    """Of the file system's error, what a person needs."""
    try:
        yield
    except OSError as error:
        hint = "The folder around it has to exist: mkdir -p it first." if isinstance(error, FileNotFoundError) else ""
        raise RelayError(f"{error.filename or path}: {error.strerror or type(error).__name__}", hint) from error
