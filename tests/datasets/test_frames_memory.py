"""The memory of those who read and write frames that do not fit in it."""

import multiprocessing
import os
import subprocess
import sys

import pytest
import torch
from torch_geometric.loader import DataLoader

from torch_sake.datasets import Frames, FramesOnDisk, write_frames
from torch_sake.datasets.frames.split import epoch_order

NUM_FRAMES = int(os.environ.get('TORCH_SAKE_FRAMES', 20000))
NUM_ATOMS, BLOCK, MB = 20, 1000, 2**20

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'),
                                reason='reads /proc')


def memory(process):
    """Returns the resident memory in MB."""
    with open(f'/proc/{process}/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / MB


def blocks(num_frames, report):
    generator = torch.Generator().manual_seed(0)
    for _ in range(0, num_frames, BLOCK):
        pos, force = torch.randn(2, BLOCK * NUM_ATOMS, 3, dtype=torch.double,
                                 generator=generator)
        yield Frames(torch.full((BLOCK * NUM_ATOMS, ), 6), pos,
                     pos.new_zeros(BLOCK), force, num_atoms=NUM_ATOMS,
                     name='synthetic', source='synthetic',
                     units={'length': 'Angstrom', 'energy': 'eV'})
        report.append(memory(os.getpid()))


def write(path, connection):
    report = []
    write_frames(blocks(NUM_FRAMES, report), path)
    connection.send(report)


@pytest.mark.slow
def test_memory_is_flat(tmp_path):
    # In a process of its own: one of many tests has large holes in its memory.
    process = subprocess.run(
        [sys.executable, __file__, str(tmp_path / 'synthetic.frames')],
        capture_output=True, text=True, timeout=600)
    assert process.returncode == 0, process.stdout + process.stderr


def check(path):
    # Processes of their own, which nothing else allocates memory in.
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    writer = context.Process(target=write, args=(path, sender))
    writer.start()
    assert receiver.poll(300), 'The writer has not ended'
    written = receiver.recv()
    writer.join(60)

    frames = FramesOnDisk(path)
    order = epoch_order(NUM_FRAMES, seed=0, epoch=0)
    loader = iter(DataLoader(frames[order], batch_size=50, num_workers=1,
                             multiprocessing_context=context, timeout=300))
    worker, = (process.pid for process in loader._workers)
    read, seen = [], 0
    for number, data in enumerate(loader):
        seen += data.num_graphs
        if number % 20 == 0 and seen < NUM_FRAMES - 500:
            read.append(memory(worker))
    assert seen == NUM_FRAMES
    size = os.path.getsize(path) / MB
    for name, values in (('writer', written), ('worker', read)):
        # After the first part, in which libraries are loaded.
        rest = values[len(values) // 4:]
        print(f'{NUM_FRAMES} frames, {size:.0f} MB: {name} {values[0]:.1f} MB '
              f'at first, {rest[0]:.1f} MB after a quarter, '
              f'{max(rest):.1f} MB at most, {rest[-1]:.1f} MB at the end')
        assert max(rest) - rest[0] < min(4, 0.3 * size)


if __name__ == '__main__':
    check(sys.argv[1])
