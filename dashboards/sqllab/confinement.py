"""What a process may still do once it is to run foreign SQL: the kernel's limits, not the engine's.

Linux only. `enclose` comes before the engine opens its file, `drop` after: a folder that only its
owner may enter is still opened, and what runs then is nobody. Every step but the limits works on
what this kernel offers; the zygote tells which hold (`Protections`). One of two must keep the files
of the server from the process: a user of its own, or Landlock. Without both nothing is run.
"""

import ctypes
import os
import resource
import signal
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
# The numbers are the same on x86-64 and arm64.
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_PATH_BENEATH, _LANDLOCK_READ_FILE = 1, 1 << 2
# What DuckDB asks about the machine when it starts; it aborts where the first is there but closed.
_OF_THE_MACHINE = ("/proc/self/cgroup", "/sys/fs/cgroup", "/sys/devices/system/cpu/online")
# Rights over files that each version of Landlock knows: 13 at first, then refer, truncate, ioctl.
_LANDLOCK_FILE_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NOBODY = 65534
# A user id of its own for each process, far above those of people and services.
_FIRST_UID = 1_900_000_000
# Threads of a process count too; DuckDB starts about a dozen.
_PROCESSES = 64
_FILES = 32


OFF = (
    "typed SQL is off on this system: it offers neither Landlock nor a change of user, so a query "
    "could read the files of the server; run the dashboards on Linux 5.13 or newer with Landlock "
    "(listed in /sys/kernel/security/lsm), or as root with the capabilities SETUID and SETGID"
)


class NotConfined(Exception):
    """The process could not be confined, so it must not run anything."""


@dataclass(frozen=True)
class Protections:
    """What the kernel holds here besides resource limits and no_new_privs, which always hold."""

    own_user: bool
    no_network: bool
    landlock: int

    @property
    def keep_files_apart(self) -> bool:
        """A query cannot read what the server can."""
        return self.own_user or self.landlock > 0


def leave_network() -> bool:
    """Enter a network namespace with nothing in it, once for a process and all it forks."""
    if os.geteuid() == 0:
        return _libc.unshare(_CLONE_NEWNET) == 0
    return _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0


def shed_capabilities() -> None:
    """Give up what a user namespace grants its maker, or a service manager its service.

    For a process that stays the user it is; root that can become another loses all by that, and
    needs some until then. Raises NotConfined.
    """
    # Version 3 of the call: header of version and process (0 is this one), then two empty sets.
    if _libc.capset(struct.pack("=Ii", 0x20080522, 0), bytes(24)) != 0:
        raise NotConfined(f"capabilities stay ({os.strerror(ctypes.get_errno())})")


def can_become_nobody() -> bool:
    """Whether root may be given up here, tried in a process of its own.

    A container may run root without the right to change its user, or map no other user.
    """
    if os.geteuid() != 0:
        return False
    process = os.fork()
    if process == 0:
        code = 1
        try:
            _become_nobody()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(process, 0)[1] == 0


def landlock_version() -> int:
    """Version of Landlock that the kernel offers, 0 for none."""
    return max(0, _libc.syscall(_LANDLOCK_CREATE, None, 0, 1))


def enclose(file: Path, *, cpu_seconds: int) -> bool:
    """Limits, a session of its own, no new privileges, and of all files only `file`, to be read.

    Whether the last holds: not where the kernel has no Landlock. To be called while the process has one thread: the kernel confines threads one by one.
    Raises NotConfined.
    """
    os.setsid()
    for limit, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _FILES),
        (resource.RLIMIT_CPU, cpu_seconds),
    ):
        hard = resource.getrlimit(limit)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (least, least))
    # Where memory runs out after all, the kernel is to take this process and no other.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise NotConfined("no_new_privs is refused by this kernel")
    return _landlock(file)


def _landlock(file: Path) -> bool:
    version = landlock_version()
    if not version:
        return False
    files = (1 << _LANDLOCK_FILE_BITS[min(version, max(_LANDLOCK_FILE_BITS))]) - 1
    # TCP (bind and connect) since 4; abstract sockets and signals to others since 6.
    parts = [files] + [0b11] * (version >= 4) + [0b11] * (version >= 6)
    rules = struct.pack(f"={len(parts)}Q", *parts)
    ruleset = _libc.syscall(_LANDLOCK_CREATE, rules, len(rules), 0)
    held = ruleset >= 0
    for path in (file, *_OF_THE_MACHINE):
        if not Path(path).exists():
            continue
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = struct.pack("=Qi", _LANDLOCK_READ_FILE, opened)
        add = _libc.syscall(_LANDLOCK_ADD, ruleset, _LANDLOCK_PATH_BENEATH, allowed, 0)
        held = held and add == 0
        os.close(opened)
    if not held or _libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0) != 0:
        raise NotConfined(f"Landlock failed ({os.strerror(ctypes.get_errno())})")
    os.close(ruleset)
    return True


def drop(*, own_user: bool, is_enclosed: bool, more_bytes: int, mapped_bytes: int) -> None:
    """Give up root for good, and let the process grow by `more_bytes` from here. Raises NotConfined.

    `own_user`: as `can_become_nobody` told; `is_enclosed`: as `enclose` did. `mapped_bytes`:
    address space already in use, as `mapped` tells.
    """
    parent = os.getppid()
    if not (own_user or is_enclosed):
        raise NotConfined(OFF)
    if own_user:
        _become_nobody()
    else:
        shed_capabilities()
    most = mapped_bytes + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    # A change of user clears both.
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise NotConfined("the zygote has ended")


def _become_nobody() -> None:
    try:
        os.setgroups([])
    except OSError as error:
        raise NotConfined(f"root could not be given up ({error.strerror})") from error
    for one in (_FIRST_UID + os.getpid(), _NOBODY):
        try:
            os.setresgid(one, one, one)
            resource.setrlimit(resource.RLIMIT_NPROC, (_PROCESSES, _PROCESSES))
            os.setresuid(one, one, one)
        except OSError:
            # A container may map fewer user ids than that.
            continue
        break
    if 0 in (*os.getresuid(), *os.getresgid()):
        raise NotConfined("root could not be given up")
    with suppress(PermissionError):
        os.setuid(0)
        raise NotConfined("root could be had again")


def mapped(statm: int) -> int:
    """Bytes of address space in use, of an open /proc/self/statm (Landlock hides it later)."""
    return int(os.pread(statm, 256, 0).split()[0]) * os.sysconf("SC_PAGE_SIZE")
