"""The filter of a container's system calls, as the kernel's own little programs.

A filter is a tree over the numbers of the calls: some nine comparisons lead to any answer, and
the kernel finds out by itself, once, which calls are always allowed and runs nothing for them.
Built once in the zygote; each container then pays for the one call that installs it. What isn't
listed fails with EPERM, clone3 with ENOSYS (its flags lie where no filter can look; libc falls
back on clone), and so does what is newer than the list, of x32 or of a foreign architecture.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Dict, List, Optional, Sequence, Tuple

from bessemer.launcher import syscalls

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_IF_EQUAL, _IF_LEAST, _IF_ANY_BIT = 0x15, 0x35, 0x45  # BPF_JMP | BPF_JEQ, BPF_JGE, BPF_JSET
_RETURN = 0x06  # BPF_RET | BPF_K
#: Where struct seccomp_data holds the number, the architecture and the first argument's low word.
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
REFUSE = _ERRNO | errno.EPERM
UNKNOWN = _ERRNO | errno.ENOSYS

Instruction = Tuple[int, int, int, int]  # code, jump if true, jump if false, operand
#: What a zygote's fork leaves behind, so that the container's cgroup is the root that it sees.
_OWN_CGROUP = ((0x02000000, 0x02000000),)
_FIRST_UNKNOWN = syscalls.LAST_KNOWN + 1


def program(machine: str, *, zygote: bool = False) -> bytes:
    """The filter for this machine: of containers, or of a zygote whose forks must enter them.

    Raises:
        KeyError: no list for this machine.
    """
    known = syscalls.numbers(machine)
    allowed = [number for name, number in known.items() if name not in syscalls.CONDITIONAL]
    answers: Dict[int, List[Instruction]] = {_FIRST_UNKNOWN: [_answer(UNKNOWN)]}
    for first, last in syscalls.ranges(tuple(allowed)):
        answers[first] = [_answer(ALLOW)]
        answers.setdefault(last + 1, [_answer(REFUSE)])
    for name, block in _conditions(zygote=zygote).items():
        answers.setdefault(known[name] + 1, _standing(answers, known[name] + 1))
        answers[known[name]] = block
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, syscalls.ARCHITECTURES[machine]),
        _answer(UNKNOWN),
        (_LOAD, 0, 0, _NUMBER),
        *_tree(sorted({0: [_answer(REFUSE)], **answers}.items())),
    ]
    return b"".join(struct.pack("=HBBI", *one) for one in code)


def own_program(*, zygote: bool = False) -> Optional[bytes]:
    """The filter for the machine that this runs on; None where there is no list for it."""
    machine = os.uname().machine
    return program(machine, zygote=zygote) if machine in syscalls.ARCHITECTURES else None


def _conditions(*, zygote: bool) -> Dict[str, List[Instruction]]:
    families = _one_of(syscalls.FAMILIES)
    personalities = _one_of(syscalls.ranges(syscalls.PERSONALITIES))
    clone = [
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_IF_ANY_BIT, 0, 1, syscalls.NAMESPACE_FLAGS),
        _answer(REFUSE),
        _answer(ALLOW),
    ]
    return {
        "clone": clone,
        "clone3": [_answer(UNKNOWN)],
        "personality": personalities,
        "setns": [_answer(ALLOW if zygote else REFUSE)],
        "socket": families,
        "unshare": _one_of(_OWN_CGROUP if zygote else ()),
    }


def _one_of(allowed: Sequence[Tuple[int, int]]) -> List[Instruction]:
    """The first argument must lie in one of these."""
    answers = {0: [_answer(REFUSE)]}
    for first, last in allowed:
        answers[first] = [_answer(ALLOW)]
        if last < 0xFFFFFFFF:
            answers[last + 1] = [_answer(REFUSE)]
    return [(_LOAD, 0, 0, _FIRST_ARGUMENT), *_tree(sorted(answers.items()))]


def _standing(answers: Dict[int, List[Instruction]], number: int) -> List[Instruction]:
    """What is answered to this number so far."""
    before = [start for start in answers if start <= number]
    return answers[max(before)] if before else [_answer(REFUSE)]


def _tree(answers: Sequence[Tuple[int, List[Instruction]]]) -> List[Instruction]:
    """The answer from each of these numbers on, up to the next one."""
    if len(answers) == 1:
        return list(answers[0][1])
    middle = len(answers) // 2
    below, above = _tree(answers[:middle]), _tree(answers[middle:])
    if len(below) > 0xFF:
        raise ValueError("a jump skips at most 255 instructions, but got %d" % len(below))
    return [(_IF_LEAST, len(below), 0, answers[middle][0]), *below, *above]


def _answer(value: int) -> Instruction:
    return (_RETURN, 0, 0, value)
