"""What the hostile programs of this zone share: they try, and tell the truth about what they achieved."""

import ctypes
import json
import os
import sys
from collections.abc import Callable

BAIT = json.loads(sys.argv[1])
_LIBC = ctypes.CDLL(None, use_errno=True)


def tell(line: str) -> None:
    os.write(2, f"{line}\n".encode())


def escaped(what: str) -> None:
    tell(f"ESCAPED: {what}")


def attempt(what: str, action: Callable[[], object]) -> None:
    """Tries it: only an error means that it was held."""
    try:
        result = action()
    except (OSError, ValueError, MemoryError, ImportError) as error:
        tell(f"held: {what} ({error})")
    else:
        escaped(f"{what}: {str(result)[:60]}")


def system_call(number: int, *arguments: int) -> int:
    """A system call of x86-64 by its number. Raises OSError, also where the kernel's own code and not the filter refused.

    EFAULT, EINVAL or EBADF mean that the call itself was reached: those are returned as if they had succeeded.
    """
    ctypes.set_errno(0)
    result = _LIBC.syscall(ctypes.c_long(number), *(ctypes.c_ulong(argument) for argument in arguments))
    error = ctypes.get_errno()
    if result < 0 and error in (1, 13, 38, 97):  # EPERM, EACCES, ENOSYS, EAFNOSUPPORT
        raise OSError(error, os.strerror(error))
    return int(result)


def done() -> None:
    """Every attempt was made; without these words the case proves nothing."""
    tell("tried everything")
