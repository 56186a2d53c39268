import platform
import subprocess
import sys

import pytest

resource = pytest.importorskip('resource')

SCRIPT = '''
import resource, torch
import torch_sake.models  # as commands do
from torch_sake.cli.memory import keep_memory
if {keep}:
    assert keep_memory()
for _ in range(10):
    torch.ones(1 << 24)  # 64 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
'''


@pytest.mark.slow
def test_memory_is_kept():
    if platform.libc_ver()[0] != 'glibc':
        pytest.skip('The C library is not that of GNU')
    pages = [int(subprocess.run(
        [sys.executable, '-c', SCRIPT.format(keep=keep)], check=True,
        capture_output=True, text=True, timeout=300).stdout)
        for keep in (False, True)]
    # All but the first of ten tensors are spared the new pages.
    size = (1 << 26) // resource.getpagesize()
    assert pages[0] - pages[1] > 5 * size
