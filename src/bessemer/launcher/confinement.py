"""The last step before anybody else's code may run in a process.

Every process that is to run a user's code goes through ``confine`` when it sees what the container
sees: the init (before it forks the command), the warm zygote of an environment, the fork of it
that becomes a program, and a command beside a container. Its children inherit all of it.
"""

from __future__ import annotations

from typing import Iterable, Optional

from bessemer.launcher import linux


def confine(program: Optional[bytes], kept: Iterable[int] = ()) -> None:
    """Give up what was inherited and every right, for good.

    Args:
        program: the filter of system calls; None where it is in force already or where the
            machine has none, which the runtime tells.
        kept: descriptors to be left open, beside the standard streams.
    """
    linux.close_all_but(kept)
    linux.join_session_keyring()
    linux.drop_privileges()
    if program is not None:
        linux.install_filter(program)
