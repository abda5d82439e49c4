"""Starts one program so that it ends with its parent and, where root starts it, runs as somebody else.

Run by path (`python -I -S leash.py DEATH_SIGNAL PARENT_PID UID:GID|- PROGRAM ARGUMENT…`), because work between fork and
exec is not safe in a process with threads. It ends in `exec`: the program keeps the pid.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522

CapabilityHeader = ctypes.c_uint32 * 2  # version, pid
CapabilityData = ctypes.c_uint32 * 6  # effective, permitted, inheritable of capabilities 0-31, then of 32-63


def _checked(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def _become(uid: int, gid: int) -> None:
    """Give up root, but keep the right to pass through folders that only root may enter.

    A checkout or a data folder under /root (mode 0700) is unreachable for every other user. CAP_DAC_READ_SEARCH opens
    such folders for reading; containers usually withhold it and grant CAP_DAC_OVERRIDE, so that is the second choice.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = CapabilityHeader(CAPABILITY_VERSION_3, 0), CapabilityData()
    _checked(libc.capget(header, data), "capget")
    held = [cap for cap in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if data[1] >> cap & 1]
    _checked(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    kept = 1 << held[0] if held else 0
    _checked(libc.capset(header, CapabilityData(kept, kept, kept, 0, 0, 0)), "capset")
    if held:
        _checked(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, held[0], 0, 0), "ambient capability")


def tie_to(parent: int, death_signal: int) -> None:
    """Have the kernel send `death_signal` to this process when its parent dies; where it cannot, nothing is done."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0), "parent death signal")
    if os.getppid() != parent:  # it died before the call: then nobody would tell us
        sys.exit("the process that started this one has ended")


def show_as(name: str) -> None:
    """What `ps -o comm` and `top` call this process, in 15 characters."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def main(death_signal: str, parent: str, user: str, *program: str) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if user != "-" and sys.platform != "linux":
        sys.exit("running PostgreSQL for root needs Linux; start RelayPACS as an ordinary user")
    if user != "-":
        uid, gid = user.split(":")
        _become(int(uid), int(gid))
    tie_to(int(parent), int(death_signal))  # after the change of user, which clears it
    os.execvp(program[0], program)


if __name__ == "__main__":
    main(*sys.argv[1:])
