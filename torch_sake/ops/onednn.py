r"""Whether oneDNN multiplies matrices faster than what torch takes itself."""

import functools
import platform

import torch


def is_faster() -> bool:
    r"""Returns whether large products in single precision are to be those of
    oneDNN in the place of those of MKL.

    Measured with one thread, in GFLOP/s by MKL / by oneDNN: an AMD EPYC
    (Zen 5) 106 / 234 for large matrices; another (Zen 4) 87 / 100 for 4608 x
    256 by 256 x 256, 88 / 93 for 4608 x 64 by 64 x 64 and 93 / 83 for 576 x 64
    by 64 x 128; an Intel Xeon (Sapphire Rapids) 101 / 101, 90 / 86 and 103 /
    74 for the same. On others torch is left as it is.
    """
    return (torch.backends.mkl.is_available()
            and torch.backends.mkldnn.is_available()
            and cpu_vendor() == 'AuthenticAMD')


@functools.cache
def cpu_vendor() -> str:
    r"""Returns the vendor by the processor's own name for it, or an empty
    string if the system does not tell.
    """
    try:
        with open('/proc/cpuinfo') as file:
            for line in file:
                name, _, value = line.partition(':')
                if name.strip() == 'vendor_id':
                    return value.strip()
    except (OSError, UnicodeError):
        pass
    # That of Windows: 'AMD64 Family 25 Model 33 Stepping 0, AuthenticAMD'.
    return platform.processor().partition(', ')[2]
