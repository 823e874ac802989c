"""Become an embedded server: set up this process, then exec the server in its place.

Run as a script (`python -I -S launcher.py OPTIONS -- COMMAND`), so that nothing runs between fork and exec in a process
that has threads. Standard library only. Options:
--cwd DIR; --parent PID with --death-signal N: get signal N when that parent ends, even by kill -9 (Linux);
--map-uid N: run in a user namespace that shows this user as N (PostgreSQL refuses uid 0); --user NAME: switch to NAME;
--reach DIR: fail unless DIR can be entered then; --keep-umask: files are not for the owner alone, but as the user has it.
"""

import argparse
import ctypes
import os
import pwd
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _enter_user_namespace(shown_uid: int) -> None:
    """Appear as `shown_uid`, with the rights of the present user and no more. Raises OSError where not allowed."""
    uid, gid = os.getuid(), os.getgid()
    if _libc().unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "user namespaces are not allowed here")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{shown_uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{shown_uid} {gid} 1")


def _switch_user(name: str) -> None:
    entry = pwd.getpwnam(name)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def main(arguments: list[str]) -> None:
    """Set up and exec; returns only by raising."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cwd", default="/")
    parser.add_argument("--parent", type=int)
    parser.add_argument("--death-signal", type=int)
    parser.add_argument("--map-uid", type=int)
    parser.add_argument("--user")
    parser.add_argument("--keep-umask", action="store_true")
    parser.add_argument("--reach", type=Path)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    if os.getpid() != os.getsid(0):
        os.setsid()
    if not options.keep_umask:
        os.umask(0o077)
    os.chdir(options.cwd)
    if options.map_uid is not None:
        _enter_user_namespace(options.map_uid)
    if options.user:
        _switch_user(options.user)
    if options.reach and not os.access(options.reach, os.X_OK):
        sys.exit(f"{options.reach} can't be entered")
    if options.death_signal and sys.platform == "linux":
        # After the switch of user: a change of credentials clears it.
        _libc().prctl(PR_SET_PDEATHSIG, options.death_signal, 0, 0, 0)
        if os.getppid() != options.parent:
            sys.exit("the starting process is gone")
    os.execv(options.command[0], options.command)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
