"""Sets up this process, and then executes an embedded server in its place.

Run as a script (`python -I -S launcher.py OPTIONS -- COMMAND`), so that no code runs between fork and exec in a process with
threads. Standard library only. Options:
--cwd DIR; --parent PID with --death-signal N: get signal N when that parent ends, even by kill -9 (Linux);
--map-uid N: run in a user namespace that shows this user as N (PostgreSQL refuses uid 0); --user NAME: switch to NAME;
--reach DIR: fail unless DIR can be entered then; --keep-umask: files are not for the owner alone, but as the user has it;
--private-tmp DIR: DIR is its /tmp, where the kernel allows it (Linux).
Its memory, which holds secrets, is never written to a core file.
"""

import argparse
import ctypes
import os
import pwd
import resource
import sys
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_BIND, MS_PRIVATE_ALL = 0x1000, 0x40000 | 0x4000
PR_SET_PDEATHSIG = 1


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _enter_user_namespace(shown_uid: int, extra_flags: int = 0) -> None:
    """Appear as `shown_uid`, with the rights of the present user only. Raises OSError if that is not allowed."""
    uid, gid = os.getuid(), os.getgid()
    if _libc().unshare(CLONE_NEWUSER | extra_flags) != 0:
        raise OSError(ctypes.get_errno(), "user namespaces are not allowed here")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{shown_uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{shown_uid} {gid} 1")


def _hide_tmp(folder: str) -> None:
    """Mount `folder` as this process's /tmp if the kernel allows it; otherwise change nothing."""
    if sys.platform != "linux":
        return
    # A child tries it first: a partial set-up would be worse than none.
    child = os.fork()
    if child == 0:
        os._exit(0 if _mount_as_tmp(folder) else 1)
    if os.waitpid(child, 0)[1] == 0:
        _mount_as_tmp(folder)


def _mount_as_tmp(folder: str) -> bool:
    try:
        if _libc().unshare(CLONE_NEWNS) != 0:
            _enter_user_namespace(os.getuid(), CLONE_NEWNS)
    except OSError:
        return False
    mount = _libc().mount
    is_private = mount(b"none", b"/", None, MS_PRIVATE_ALL, None) == 0
    return is_private and mount(os.fsencode(folder), b"/tmp", None, MS_BIND, None) == 0


def _switch_user(name: str) -> None:
    entry = pwd.getpwnam(name)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def main(arguments: list[str]) -> None:
    """Set up and execute the command; never returns."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cwd", default="/")
    parser.add_argument("--parent", type=int)
    parser.add_argument("--death-signal", type=int)
    parser.add_argument("--map-uid", type=int)
    parser.add_argument("--user")
    parser.add_argument("--keep-umask", action="store_true")
    parser.add_argument("--reach", type=Path)
    parser.add_argument("--private-tmp")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    if os.getpid() != os.getsid(0):
        os.setsid()
    if not options.keep_umask:
        os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(options.cwd)
    if options.private_tmp:
        _hide_tmp(options.private_tmp)
    if options.map_uid is not None:
        _enter_user_namespace(options.map_uid)
    if options.user:
        _switch_user(options.user)
    if options.reach and not os.access(options.reach, os.X_OK):
        sys.exit(f"{options.reach} can't be entered")
    if options.death_signal and sys.platform == "linux":
        # After the switch of user: a change of credentials clears the signal.
        _libc().prctl(PR_SET_PDEATHSIG, options.death_signal, 0, 0, 0)
        if os.getppid() != options.parent:
            sys.exit("the starting process is gone")
    os.execv(options.command[0], options.command)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
