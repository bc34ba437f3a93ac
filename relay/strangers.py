"""Whether a file of settings belongs to another user, and who else may read one with secrets.

What a file of settings says is obeyed, up to where credentials are sent.

The file in the working directory is taken without being asked for, so it must belong to the user who runs the relay, or
to root, as what is mounted in a container does. One that is named (RELAY_CONFIG) is meant, no matter who owns it.
Neither may be open to everybody's pen; nor to a group's, unless it is the user's own, as many systems give each user
one.

What others may read is told and not refused: that is how secrets are mounted into a container, 0644 on a file system in
memory that cannot be written to, where nobody else is.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path


def stranger(path: Path, *, named: bool) -> str | None:
    """What is wrong, as the end of a sentence that begins with the path; None: nothing, or there is no such file.

    Links are followed: what counts is the file that is read.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    if found.st_mode & stat.S_IWOTH:
        return "can be written by everybody, so it is not obeyed; run: chmod o-w,g-w on it"
    if not named and found.st_uid not in (os.geteuid(), 0):
        return (
            f"in the working directory belongs to somebody else (user {found.st_uid}), so it is not obeyed; "
            f"if it is meant: RELAY_CONFIG={path}"
        )
    if found.st_mode & stat.S_IWGRP and not _private(found.st_gid, found.st_uid):
        return f"can be written by a group (group {found.st_gid}), so it is not obeyed; run: chmod g-w on it"
    return None


def readers(path: Path) -> str | None:
    """Who beside the user may read what is in it: "everyone", "the group staff"; None: nobody, or it is mounted."""
    try:
        found = path.stat()
    except OSError:
        return None
    others, group = found.st_mode & stat.S_IROTH, found.st_mode & stat.S_IRGRP
    if not (others or (group and not _ours(found.st_gid))) or _is_mounted(path, found.st_dev):
        return None
    return "everyone" if others else f"the group {_name(found.st_gid)}"


def _ours(group_id: int) -> bool:
    """The group of this process, without a name or of its user's name: what root gives to a service to read."""
    try:
        grp.getgrgid(group_id)
    except KeyError:
        return group_id == os.getegid()
    return _private(group_id, os.geteuid())


def _name(group_id: int) -> str:
    try:
        return grp.getgrgid(group_id).gr_name
    except KeyError:
        return str(group_id)


def _is_mounted(path: Path, device: int) -> bool:
    """Whether it lies in a file system in memory that cannot be written to, as secrets in a container do."""
    try:
        if not os.statvfs(path).f_flag & os.ST_RDONLY:
            return False
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    return any(line.split()[2] == number and " - tmpfs " in line for line in mounts)


def _private(group_id: int, user_id: int) -> bool:
    """A group of the same name as the user, without other members."""
    try:
        group, user = grp.getgrgid(group_id), pwd.getpwuid(user_id)
    except KeyError:
        return False
    return group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
