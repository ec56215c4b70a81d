"""The system calls that a submission is refused, as a seccomp filter for bubblewrap.

Namespaces and missing capabilities already keep a submission away from the machine. What is left
are calls that reach the warm server, which has the same user, and calls that leave something in
the kernel for the next submission: shared memory, message queues, keys.
"""

from __future__ import annotations

import errno
import platform
import struct

# Numbers on x86_64 and on aarch64, from the kernel's unistd.h
REFUSED = {
    # reach another process of the same user
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # outlive every process
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # memory that no limit counts
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # nothing that a course needs, and much used against kernels
    "mount": (165, 40),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
}
PRLIMIT = (302, 261)  # allowed for the caller itself alone: libc sets every limit through it
SOCKET = (41, 198)  # allowed for kinds that a network namespace holds; AF_VSOCK reaches the host
KINDS = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_…, from linux/audit.h
X32 = 0x40000000  # the same calls of x86_64 once more, under other numbers

LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSE = 0x00050000 | errno.EPERM


def syscall_filter(machine: str | None = None) -> bytes:
    """Return the filter's program for a kind of machine, by default this one.

    Raises:
        ValueError: the numbers of this machine's system calls are not known.
    """
    machine = machine or platform.machine()
    if machine not in MACHINES:
        raise ValueError(
            f"system calls are known for {' and '.join(MACHINES)}, not for {machine!r}"
        )
    column = list(MACHINES).index(machine)
    program = [
        _step(LOAD, ARCHITECTURE),
        _step(EQUAL, MACHINES[machine], 1, 0),
        _step(RETURN, KILL),
        _step(LOAD, NUMBER),
    ]
    if machine == "x86_64":
        program += [_step(AT_LEAST, X32, 0, 1), _step(RETURN, REFUSE)]
    for numbers in REFUSED.values():
        program += [_step(EQUAL, numbers[column], 0, 1), _step(RETURN, REFUSE)]
    program += _only_with(PRLIMIT[column], (0,))
    program += _only_with(SOCKET[column], KINDS)
    program.append(_step(RETURN, ALLOW))
    return b"".join(program)


def _only_with(number: int, allowed: tuple[int, ...]) -> list[bytes]:
    """Return steps that refuse a call, but for some values of its first argument."""
    asked = [_step(EQUAL, value, len(allowed) - place, 0) for place, value in enumerate(allowed)]
    return [
        _step(EQUAL, number, 0, len(allowed) + 3),
        _step(LOAD, FIRST_ARGUMENT),
        *asked,
        _step(RETURN, REFUSE),
        _step(RETURN, ALLOW),
    ]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return one step: struct sock_filter, with how many steps to jump over."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
