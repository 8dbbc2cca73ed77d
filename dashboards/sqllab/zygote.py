"""A small process that only forks: started by exec, one thread, no engine ever opened in it.

Forking a process with threads (a Streamlit server, or any that has opened DuckDB) may leave a lock
held for ever in the child; starting Python anew for each query costs its imports. So this one
imports once and forks for each query. For each it is handed two sockets: the child's, which it
passes on unread, and one of its own, on which it is told to kill (any byte, or the end of the
broker) and tells how the child ended.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version

from dashboards.sqllab import confinement, wire

_TASKS = "/proc/self/task"
_CHILD = "dashboards.sqllab.child"
# DuckDB would import them with its first query (0.1 s), and a confined child could no more.
_NEEDED = ("numpy", "pandas", "pyarrow.compute", "pyarrow.dataset", "pyarrow.ipc")


@dataclass
class _Running:
    process: int
    pidfd: int
    life: socket.socket
    is_killed: bool = False


def main(control_file: int) -> None:
    """Serve the broker at the other end of an inherited SEQPACKET socket until it ends."""
    control = socket.socket(fileno=control_file)
    for name in _NEEDED:
        importlib.import_module(name)
    # To import DuckDB before 2.0 starts a thread, so there every child imports it for itself.
    if int(version("duckdb").partition(".")[0]) >= 2:
        importlib.import_module(_CHILD)
    protections = confinement.Protections(
        own_user=confinement.can_become_nobody(),
        no_network=confinement.leave_network(),
        landlock=confinement.landlock_version(),
    )
    if not protections.own_user:
        confinement.shed_capabilities()
    if len(os.listdir(_TASKS)) != 1:  # noqa: PTH208 - names are enough
        raise SystemExit("the zygote of typed SQL has threads, so it cannot fork safely")
    gc.collect()
    gc.freeze()
    control.send(json.dumps(asdict(protections)).encode())
    try:
        _serve(control)
    finally:
        # DuckDB's module has objects to complain of where Python ends by itself.
        os._exit(0)


def _serve(control: socket.socket) -> None:
    running: dict[int, _Running] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for file, _ in poll.poll():
            if file == control.fileno():
                _, files, _, _ = socket.recv_fds(control, 16, 2)
                if len(files) != 2:
                    for one in running.values():
                        _kill(one)
                    return
                _start(files, running, poll, control)
            elif (one := running.get(file)) is None:
                continue
            elif file == one.pidfd:
                _tell(one, running, poll)
            else:
                # Read, or closing the socket would lose what is told by it later.
                one.life.recv(16)
                _kill(one)
                poll.unregister(file)


def _start(
    files: list[int], running: dict[int, _Running], poll: select.poll, control: socket.socket
) -> None:
    ours, theirs = files
    try:
        process = os.fork()
    except OSError:
        os.close(ours)
        os.close(theirs)
        return
    if process == 0:
        _become_child(ours)
    os.close(ours)
    one = _Running(process, os.pidfd_open(process), socket.socket(fileno=theirs))
    running[one.pidfd] = running[one.life.fileno()] = one
    poll.register(one.pidfd, select.POLLIN)
    poll.register(one.life, select.POLLIN)


def _become_child(file: int) -> None:
    """Keep nothing of the zygote but its memory: one socket and no streams."""
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        os.dup2(file, 3)
        os.closerange(4, 1 << 16)
        importlib.import_module(_CHILD).serve(socket.socket(fileno=3))
    finally:
        os._exit(wire.FAILED)


def _kill(one: _Running) -> None:
    """The child leads a group of its own; before it does, it is alone."""
    one.is_killed = True
    try:
        os.killpg(one.process, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(one.process, signal.SIGKILL)


def _tell(one: _Running, running: dict[int, _Running], poll: select.poll) -> None:
    # Nobody else waits for children here, so the id is still that of this child.
    _, status, used = os.wait4(one.process, 0)
    # A broker that has its answer does not wait for this.
    with suppress(OSError):
        one.life.send(wire.ENDED.pack(status, used.ru_maxrss))
    life = one.life.fileno()
    if not one.is_killed:
        poll.unregister(life)
    poll.unregister(one.pidfd)
    del running[one.pidfd], running[life]
    one.life.close()
    os.close(one.pidfd)
