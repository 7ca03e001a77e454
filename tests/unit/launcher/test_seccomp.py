"""The filter as the kernel would run it, over every number, for both architectures."""

from __future__ import annotations

import errno
import struct

import pytest

from bessemer.launcher import seccomp, syscalls

MACHINES = list(syscalls.ARCHITECTURES)
EPERM, ENOSYS = seccomp.REFUSE, seccomp.UNKNOWN
#: What would let a container out of its namespaces, or tell it of the machine.
ABSENT = {
    "x86_64": {
        "mount": 165, "umount2": 166, "pivot_root": 155, "unshare": 272, "bpf": 321,
        "perf_event_open": 298, "userfaultfd": 323, "add_key": 248, "request_key": 249,
        "keyctl": 250, "kexec_load": 246, "io_uring_setup": 425, "open_by_handle_at": 304,
        "open_tree": 428, "move_mount": 429, "fsopen": 430, "mount_setattr": 442, "chroot": 161,
        "kcmp": 312, "pidfd_getfd": 438, "process_madvise": 440, "init_module": 175,
        "sethostname": 170, "iopl": 172,
    },
    "aarch64": {
        "mount": 40, "umount2": 39, "pivot_root": 41, "unshare": 97, "bpf": 280,
        "perf_event_open": 241, "userfaultfd": 282, "add_key": 217, "request_key": 218,
        "keyctl": 219, "kexec_load": 104, "io_uring_setup": 425, "open_by_handle_at": 265,
        "open_tree": 428, "move_mount": 429, "fsopen": 430, "mount_setattr": 442, "chroot": 51,
        "kcmp": 272, "pidfd_getfd": 438, "process_madvise": 440, "init_module": 105,
        "sethostname": 161,
    },
}  # fmt: skip


def answer(program: bytes, architecture: int, number: int, argument: int = 0) -> int:
    """What the program says to a call, run as classic BPF is."""
    words = {0: number, 4: architecture, 16: argument & 0xFFFFFFFF, 20: argument >> 32}
    code = list(struct.iter_unpack("=HBBI", program))
    at, value = 0, 0
    while True:
        kind, if_true, if_false, operand = code[at]
        at += 1
        if kind == 0x20:
            value = words[operand]
        elif kind == 0x06:
            return int(operand)
        else:
            holds = {
                0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand),
            }[kind]  # fmt: skip
            at += if_true if holds else if_false


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


def ask(machine: str, number: int, argument: int = 0, *, zygote: bool = False) -> int:
    program = seccomp.program(machine, zygote=zygote)
    return answer(program, syscalls.ARCHITECTURES[machine], number, argument)


def test_every_number_is_answered_by_the_list(machine: str) -> None:
    program = seccomp.program(machine)
    known = syscalls.numbers(machine)
    plain = {n for name, n in known.items() if name not in syscalls.CONDITIONAL}
    conditional = {known[name] for name in syscalls.CONDITIONAL}
    for number in range(syscalls.LAST_KNOWN + 60):
        if number in conditional:
            continue
        wanted = ENOSYS if number > syscalls.LAST_KNOWN else EPERM
        wanted = seccomp.ALLOW if number in plain else wanted
        assert answer(program, syscalls.ARCHITECTURES[machine], number) == wanted, number


def test_what_leads_out_is_refused(machine: str) -> None:
    for name, number in ABSENT[machine].items():
        assert ask(machine, number) == EPERM, name


def test_no_program_is_longer_than_the_kernel_takes(machine: str) -> None:
    assert len(seccomp.program(machine)) // 8 <= 4096


def test_clone_makes_threads_and_processes_but_no_namespaces(machine: str) -> None:
    clone = syscalls.numbers(machine)["clone"]
    thread, process = 0x3D0F00, 0x1200011

    for flags in (thread, process, 0x4111, 0):
        assert ask(machine, clone, flags) == seccomp.ALLOW
    for kind in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert ask(machine, clone, process | kind) == EPERM
    assert ask(machine, syscalls.numbers(machine)["clone3"]) == ENOSYS


def test_namespaces_are_entered_by_zygotes_alone(machine: str) -> None:
    setns = syscalls.numbers(machine)["setns"]

    assert ask(machine, setns) == EPERM
    assert ask(machine, setns, zygote=True) == seccomp.ALLOW
    unshare, cgroup = ABSENT[machine]["unshare"], 0x02000000
    assert ask(machine, unshare, cgroup) == EPERM
    assert ask(machine, unshare, cgroup, zygote=True) == seccomp.ALLOW
    for flags in (0, 0x10000000, 0x20000, cgroup | 0x20000, cgroup | 0x10000000):
        assert ask(machine, unshare, flags, zygote=True) == EPERM
    for name, number in ABSENT[machine].items():
        assert ask(machine, number, zygote=True) == EPERM, name


def test_sockets_are_of_the_listed_families(machine: str) -> None:
    number = syscalls.numbers(machine)["socket"]
    unix, internet, netlink, packet, alg, vsock = 1, 2, 16, 17, 38, 40

    for family in (unix, internet, 10, netlink, packet):
        assert ask(machine, number, family) == seccomp.ALLOW
    for family in (alg, vsock, 12, 34, 46, 0xFFFFFFFF):
        assert ask(machine, number, family) == EPERM
    # The kernel takes an int: the upper half of the register says nothing.
    assert ask(machine, number, vsock | 1 << 32) == EPERM


def test_personalities_are_the_harmless_ones(machine: str) -> None:
    number = syscalls.numbers(machine)["personality"]

    assert ask(machine, number, 0xFFFFFFFF) == seccomp.ALLOW
    assert ask(machine, number, 0x20008) == seccomp.ALLOW
    assert ask(machine, number, 0x40000) == EPERM  # ADDR_NO_RANDOMIZE


def test_other_ways_to_call_are_unknown(machine: str) -> None:
    program = seccomp.program(machine)
    read = syscalls.numbers(machine)["read"]

    assert answer(program, 0x40000003, read) == ENOSYS  # i386
    assert answer(program, 0x40000028, read) == ENOSYS  # arm
    assert ask(machine, read | 0x40000000) == ENOSYS  # x32
    assert ask(machine, 0xFFFFFFFF) == ENOSYS
    assert ENOSYS & 0xFFFF == errno.ENOSYS


def test_another_machine_has_no_list() -> None:
    with pytest.raises(KeyError):
        seccomp.program("riscv64")
