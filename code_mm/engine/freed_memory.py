"""Training on a CPU without asking the system for the same memory again and again."""

import ctypes
import os
import platform

# Of malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_SET_BY_THE_USER = ('MALLOC_TRIM_THRESHOLD_', 'MALLOC_MMAP_MAX_', 'MALLOC_MMAP_THRESHOLD_')
_NEVER = -1


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed, for the next step of the same sizes.

    By default glibc gives every large block back to the system, and each new one is filled with
    zeros, page by page, at its first touch; with several threads these page faults wait for each
    other. A training step frees and asks for the same blocks all the time
    (docs/performance.md has the effect). The process keeps its peak memory until it ends.

    Returns:
        bool: Whether it was done: not with another C library or another allocator in its place,
        nor where the user set glibc's own variables (``MALLOC_TRIM_THRESHOLD_`` ...).
    """
    chosen = [name for name in (*_SET_BY_THE_USER, 'LD_PRELOAD') if os.environ.get(name)]
    if chosen or 'malloc' in os.environ.get('GLIBC_TUNABLES', ''):
        return False
    if platform.libc_ver()[0] != 'glibc':
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))
