"""What the kernels take from a GPU, compiled for it without one."""

import os
import os.path as osp
import subprocess
import sys

import pytest

SCRIPT = osp.join(osp.dirname(__file__), 'kernel_resources.py')
SHARED = 99 * 1024  # bytes, of the least of the cards since sm_80


@pytest.mark.parametrize('arch', [80, 90])
def test_kernels_fit(arch):
    triton = pytest.importorskip('triton')
    tools = osp.join(osp.dirname(triton.__file__), 'backends', 'nvidia', 'bin')
    if not all(osp.exists(osp.join(tools, name)) for name in
               ('ptxas', 'cuobjdump')):
        pytest.skip('This build of Triton has no tools of NVIDIA')
    sizes = ['highest', 4, 64, 256, 3]
    process = subprocess.run(
        [sys.executable, SCRIPT, str(arch), *map(str, sizes)],
        env=dict(os.environ, TRITON_INTERPRET='0'), text=True,
        capture_output=True)
    assert process.returncode == 0, process.stderr
    rows = [line.split() for line in process.stdout.splitlines()]
    assert [row[0] for row in rows] == 2 * ['node_kernel', 'edge_kernel',
                                            'weight_kernel']
    for _, _, shared, _, spilled in rows:
        assert 0 < int(shared) <= SHARED
        assert int(spilled) == 0  # of the default sizes, all are in registers
