"""Whether a file of settings is somebody else's: what it says is obeyed, up to where credentials are sent.

The file in the working directory is taken without being asked for, so it must belong to whoever runs the relay, or to
root, as what is mounted in a container does. One that is named (RELAY_CONFIG) is meant, whoever owns it. Neither may be
open to everybody's pen; nor to a group's, unless it is the user's own, as many systems give each user one.
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


def _private(group_id: int, user_id: int) -> bool:
    """A group of the same name as the user, without other members."""
    try:
        group, user = grp.getgrgid(group_id), pwd.getpwuid(user_id)
    except KeyError:
        return False
    return group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
