"""A process that has imported the server, and gives birth to others that go on from there: to import it takes most of the time
of a start. `python -m tests.warm_start KIND ADDRESS`; it ends with its standard input.

Each connection to ADDRESS asks for one process, with its arguments, environment and folder, and what its output goes to. It is
told the number of the process, and its exit status once it has ended.
"""

from __future__ import annotations

import gc

gc.disable()

import sys  # noqa: E402

KIND = sys.argv[1] if __name__ == "__main__" else ""
if KIND == "server":  # as gunicorn.conf.py begins
    from gevent import events, monkey

    events.notify_and_call_entry_points = events.notify
    monkey.patch_all()

import json  # noqa: E402
import os  # noqa: E402
import runpy  # noqa: E402
import time  # noqa: E402
from contextlib import suppress  # noqa: E402
from importlib import import_module  # noqa: E402
from typing import Any, Final, NoReturn  # noqa: E402

from gevent import monkey  # noqa: E402

select, socket, signal, fork = (
    monkey.get_original(*of)
    for of in (("select", "select"), ("socket", "socket"), ("signal", "signal"), ("os", "fork"))
)

MODULES: Final = {
    "server": ("app.factory", "app.cli", "gunicorn.app.wsgiapp", "serving.worker", "hiredis"),
    "command": ("app.factory", "app.cli", "app.commands.models", "app.commands.shared"),
}
MOST_BYTES: Final = 1 << 20


def make_demo_days() -> None:
    """For all servers of the demo market that are born of this process: it takes most of the time of their first answer."""
    feed = import_module("tests.support").demo_feed()
    import_module("app.factory.markets").DemoFeed = lambda calendar, give_way: feed  # type: ignore[attr-defined]


def become(arguments: list[str]) -> NoReturn:
    """Goes on as `python -m MODULE ...` would, in this process; also where that becomes another program of Python."""
    sys.argv = arguments[1:]
    sys.orig_argv = [sys.executable, *arguments]
    runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    sys.exit(0)


def execute(program: str, arguments: list[str]) -> None:
    options = arguments[2:] if arguments[1] == "-P" else arguments[1:]  # the project comes first all the same
    if program == sys.executable and options[0] == "-m":
        become(options)
    os.execve(program, arguments, dict(os.environ))


def born(asked: dict[str, Any], files: list[int], own: list[int]) -> NoReturn:
    """The life of a new process, without the files that are its parent's `own`."""
    if KIND == "server":
        import_module("gevent").reinit()
    for number, file in enumerate(files, start=1):
        os.dup2(file, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for file in (*files, *own):
        os.close(file)
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    os.execv = execute  # type: ignore[assignment]
    gc.enable()
    become(asked["arguments"])


def main(address: str) -> None:
    for module in MODULES[KIND]:
        import_module(module)
    if KIND == "server":
        make_demo_days()
    gc.freeze()
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal_module = import_module("signal")
    signal(signal_module.SIGCHLD, lambda *of: os.write(wakes, b"."))
    door = socket(import_module("socket").AF_UNIX)
    door.bind(f"{address}-to-be")
    door.listen(16)
    os.rename(f"{address}-to-be", address)  # who sees it may connect
    own = [woken, wakes, door.fileno()]
    running: dict[int, Any] = {}
    while True:
        ready, _, _ = select([door, woken, 0], [], [])
        if 0 in ready:
            return
        if woken in ready:
            os.read(woken, 4096)
            tell_ends(running)
        if door in ready:
            begin(door, running, own, signal_module)


def begin(door: Any, running: dict[int, Any], own: list[int], signal_module: Any) -> None:
    caller, _ = door.accept()
    content, files, _, _ = import_module("socket").recv_fds(caller, MOST_BYTES, 2)
    asked = json.loads(content)
    pid = fork()
    if pid == 0:
        signal(signal_module.SIGCHLD, signal_module.SIG_DFL)
        born(asked, files, [*own, caller.fileno(), *(other.fileno() for other in running.values())])
    for file in files:
        os.close(file)
    running[pid] = caller
    caller.sendall(f"{pid}\n".encode())


def tell_ends(running: dict[int, Any]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            caller = running.pop(pid)
            with suppress(OSError):
                caller.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            caller.close()


if __name__ == "__main__":
    main(sys.argv[2])
