"""Keep freed memory in the process, so that the next large tensor does not fault its pages in again."""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt, from malloc.h."""


def keep_freed_memory() -> None:
    """Tell glibc's malloc to serve large blocks from its heap and never to shrink that; elsewhere do nothing.

    By default a block above 32 MiB at most is mapped for itself and given back when freed: an update on
    long episodes then spends much of its time in page faults.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
