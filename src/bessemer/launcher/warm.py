"""The warm zygote of one environment: its Python, with kfp's executor loaded and nothing run.

For each connection it forks twice: the first fork enters the container that a supervisor has
made, the second is the program, in the container's pid namespace. What the program does and how
it ends is that of ``python3 -m kfp.dsl.executor_main --component_module_path F …``: the same
module run by the same door of runpy, the same streams, traceback and code.

The environment's packages run in here, so nothing in here is believed by anyone: ``warmstart``
says what holds it. The zygote itself never reads a job, only the forks do that run it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import logging
import os
import runpy
import select
import signal
import socket
import sys
import tempfile
import threading
import types
from typing import Any, Dict, Optional

from bessemer.launcher import command, confinement, linux
from bessemer.launcher.protocol import Closed, Line

_EXECUTOR = "kfp.dsl.executor_main"
_MEMORY = "/dev/shm"
#: Standard modules that components and kfp use, none of which keeps random state or threads.
_STANDARD = (
    "argparse", "ast", "base64", "collections", "copy", "csv", "dataclasses", "datetime",
    "decimal", "functools", "glob", "hashlib", "inspect", "itertools", "json", "logging", "math",
    "pathlib", "pickle", "random", "re", "shutil", "string", "subprocess", "tarfile", "tempfile",
    "textwrap", "threading", "time", "traceback", "typing", "urllib.parse", "uuid", "zipfile",
)  # fmt: skip


def main() -> None:
    """Serve until nothing was asked for a while; in a program's fork, run the program."""
    path, idle, listener = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    sys.path[:] = [entry for entry in sys.path if entry not in ("", path)]
    able = _preload() and _rehearse()
    gc.collect()
    gc.freeze()
    job = _serve(socket.socket(fileno=listener), idle, able=able)
    if job is not None:
        _end(_run(job))


def _preload() -> bool:
    """Load what forks will share; whether kfp is there to be run."""
    for name in _STANDARD:
        importlib.import_module(name)
    os.environ["_KFP_RUNTIME"] = "true"
    try:
        importlib.import_module(_EXECUTOR)
    except ImportError:
        return False
    # runpy runs it as __main__; an imported twin would make it warn.
    del sys.modules[_EXECUTOR]
    delattr(sys.modules["kfp.dsl"], "executor_main")
    return True


_REHEARSAL = "def nothing(a: int) -> int:\n    return a\n"
_REHEARSAL_INPUT = (
    '{"inputs": {"parameterValues": {"a": 1}}, "outputs": {"parameters": {"Output": '
    '{"outputFile": "%s/out"}}, "outputFile": "%s/executor_output.json"}}'
)


def _rehearse() -> bool:
    """Run a component of our own that does nothing, for what the executor loads and caches."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--executor_input", _REHEARSAL_INPUT % (folder, folder)]
        job = {"source": _REHEARSAL, "arguments": [*arguments, "--function_to_execute", "nothing"]}
        path = list(sys.path)
        done: bool = _run({"warm": job}) == 0
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # what an executor wrote is not the next program's
    sys.path[:] = path
    root = logging.getLogger()
    for handler in list(root.handlers):  # the program sets up its own, for its own streams
        root.removeHandler(handler)
    root.setLevel(logging.WARNING)
    sys.modules.pop("ephemeral_component", None)
    return done


def _serve(listener: socket.socket, idle: float, *, able: bool) -> Optional[Dict[str, Any]]:
    """Fork for each connection. None when idle; in a program's fork, what to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while select.select([listener], [], [], idle)[0]:
        connection = listener.accept()[0]
        if not able:
            connection.close()
            continue
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return _join(Line(connection))
        connection.close()
    return None


def _join(line: Line) -> Dict[str, Any]:
    """Enter the container and fork the program; returns in the program's process only."""
    try:
        message, descriptors = line.receive_with_descriptors()
        job, log = descriptors[:2]
        for name, descriptor in zip(message["namespaces"], descriptors[2:]):  # noqa: B905 -- 3.8
            linux.enter_namespace(descriptor, name)
        child = os.fork()
        if child == 0:
            return _settle(job, line, log)
        os.close(job)
        os.close(log)
        status = os.waitpid(child, 0)[1]
        line.send({"ended": status})
    except Closed:
        pass
    except BaseException:  # noqa: BLE001 -- a fork must never fall back into the zygote's loop
        sys.excepthook(*sys.exc_info())
    os._exit(0)


def _settle(description: int, line: Line, log: int) -> Dict[str, Any]:
    """In the program's fork: become what the command would have been at its exec."""
    try:
        line.send({"here": True})  # by which the supervisor learns who the program is
        with open(description, "rb") as file:  # here and no earlier: it is not copied twice
            job: Dict[str, Any] = json.loads(file.read())
        _dress(job, log)  # while the init builds the root
        (root,) = line.receive_with_descriptors()[1]
        linux.enter_namespace(root, "mnt")
        linux.unshare(linux.CLONE_NEWCGROUP)  # in the container's cgroup by now
        command.enter(job["cwd"], make_folder=job["makes_cwd"])
        line.connection.detach()  # closed with all others
        confinement.confine(None)
    except Closed:
        os._exit(command.NOT_STARTED)  # it starts cold instead
    except BaseException:  # noqa: BLE001 -- no program without its sandbox
        sys.excepthook(*sys.exc_info())
        os._exit(command.NOT_STARTED)
    return job


def _dress(job: Dict[str, Any], log: int) -> None:
    """Signals, streams and variables, as a Python that has just started has them."""
    command.settle(log)
    os.close(log)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    coerced = os.environ.get("LC_CTYPE")
    os.environ.clear()
    os.environ.update(job["env"])
    os.environ["_KFP_RUNTIME"] = "true"
    if coerced and not any(os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG")):
        os.environ["LC_CTYPE"] = coerced  # what a start in the C locale does by PEP 538
    if os.environ.get("PYTHONUNBUFFERED"):
        raw = io.FileIO(1, "w", closefd=False)
        sys.stdout = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)  # as -u does


def _run(job: Dict[str, Any]) -> Any:
    """Run the program as ``-m`` does; what to pass to sys.exit."""
    folder = _make_folder()
    path = os.path.join(folder, "ephemeral_component.py")
    with open(path, "w", encoding="utf-8") as file:
        file.write(job["warm"]["source"])
    sys.path.insert(0, os.getcwd())
    sys.argv = ["-m", "--component_module_path", path, *job["warm"]["arguments"]]
    for name in [name for name in sys.modules if name.split(".")[0] == "bessemer"]:
        del sys.modules[name]  # the environment may have its own
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        runpy._run_module_as_main(_EXECUTOR)  # type: ignore[attr-defined]  # what `-m` calls
    except SystemExit as error:
        return error.code
    except KeyboardInterrupt:
        _report()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 -- the interpreter's own last resort, with its words
        _report()
        return 1
    return 0


def _make_folder() -> str:
    """Where the program's text goes: in memory if it can, for what is read once."""
    try:
        return tempfile.mkdtemp(dir=_MEMORY)
    except OSError:
        return tempfile.mkdtemp()


def _end(result: Any) -> None:
    """End as the interpreter does, but for freeing memory, which in a fork means copying it all.

    What it would have done on the way is done here: threads joined, exit functions called,
    objects of the program finalized, and whatever file is still open flushed.
    """
    code = result if isinstance(result, int) else int(result is not None)
    if code != result and result is not None:
        print(result, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]  # as Py_Finalize does
    atexit._run_exitfuncs()
    for name in ("ephemeral_component", "__main__"):
        values = vars(sys.modules[name]) if name in sys.modules else {}
        for key in [key for key in values if key != "__builtins__"]:
            del values[key]
    gc.collect()
    streams = (sys.stdout, sys.stderr)
    for thing in gc.get_objects():
        if issubclass(type(thing), io.IOBase) and thing not in streams:
            with contextlib.suppress(OSError, ValueError):
                thing.flush()
    try:
        sys.stderr.flush()
        sys.stdout.flush()
    except (OSError, ValueError):
        code = 120  # the interpreter's own word for it
    os._exit(code & 0xFF)


def _report() -> None:
    kind, error, trace = sys.exc_info()
    while trace is not None and trace.tb_frame.f_code.co_name != "_run_module_as_main":
        trace = trace.tb_next
    if kind is not None and error is not None:
        sys.excepthook(kind, error.with_traceback(trace), trace)
