"""Running one command: what a child does between fork and exec."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from typing import Dict, Sequence, Tuple

#: The shell's codes, which container runtimes share.
NOT_FOUND, NOT_EXECUTABLE, NOT_STARTED = 127, 126, 128
#: What the supervisor and the init pass on to the command.
FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGCONT,
)


def settle(output: int) -> None:
    """In a fresh child: default signals, a session of its own, the streams."""
    for number in (*FORWARDED, signal.SIGCHLD, signal.SIGPIPE, signal.SIGRTMIN, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # the others are so since the zygote's start
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.umask(0o022)


def enter(working_dir: str, *, make_folder: bool = False) -> None:
    """Go to the working folder.

    One that is absent is made where the container may write, as runc does.

    Raises:
        OSError: it isn't there.
    """
    if make_folder:
        with contextlib.suppress(OSError):  # the next line tells that it is not there
            os.makedirs(working_dir, exist_ok=True)
    os.chdir(working_dir)


def execute(argv: Sequence[str], env: Dict[str, str]) -> Tuple[int, str]:
    """Become the command. Returns only if that failed: the exit code and the reason."""
    try:
        os.execve(_find(argv[0], env), list(argv), env)
    except FileNotFoundError:
        where = "executable file not found in $PATH" if "/" not in argv[0] else _ABSENT
        return NOT_FOUND, 'exec: "%s": %s' % (argv[0], where)
    except OSError as error:
        text = (error.strerror or str(error)).lower()
        return NOT_EXECUTABLE, 'exec: "%s": %s' % (argv[0], text)


_ABSENT = "no such file or directory"


def _find(name: str, env: Dict[str, str]) -> str:
    if "/" in name:
        return name
    denied = False
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder or ".", name)
        if os.path.isfile(path):
            if os.access(path, os.X_OK):
                return path
            denied = True
    if denied:
        raise PermissionError(errno.EACCES, "permission denied", name)
    raise FileNotFoundError(errno.ENOENT, _ABSENT, name)
