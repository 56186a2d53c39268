import ctypes
import platform

# Of mallopt, in malloc.h of glibc:
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_memory() -> bool:
    r"""Has the C library keep the memory that tensors on the CPU give back,
    and returns whether it does, which only that of GNU can.

    Otherwise large tensors get new pages from the system each time, which it
    fills with zeros first. With systems of thousands of atoms this takes most
    of the time.
    """
    if platform.libc_ver()[0] != 'glibc':
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))
