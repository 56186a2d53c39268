"""Conversions that are killed, without a moment to clean up."""

import multiprocessing
import os
import random
import signal
import time

import pytest

from torch_sake.datasets import FramesOnDisk, convert_frames
from torch_sake.utils.files import INCOMPLETE

pytest.importorskip('ase')

NUM_KILLS = int(os.environ.get('TORCH_SAKE_KILLS', 3))


@pytest.mark.skipif(os.name == 'nt', reason='POSIX signals')
@pytest.mark.slow
def test_killed_conversion_starts_clean(water_file, tmp_path, monkeypatch):
    from torch_sake.datasets.frames import convert
    monkeypatch.setattr(convert, 'BLOCK', 300)
    source, out = str(tmp_path / 'large.extxyz'), str(tmp_path / 'out')
    with open(water_file) as file:
        content = file.read()
    with open(source, 'w') as file:
        file.write(100 * content)  # 3000 frames
    os.mkdir(out)
    path = os.path.join(out, 'large.frames')
    context = multiprocessing.get_context('fork')

    def start():
        process = context.Process(target=convert_frames, args=(source, path))
        process.start()
        return process

    began = time.time()
    start().join(300)
    duration = time.time() - began
    with open(path, 'rb') as file:
        expected = file.read()
    os.remove(path)

    delays, left = [], 0
    for _ in range(NUM_KILLS):
        delays.append(random.uniform(0, 1.1) * duration)
        process = start()
        process.join(delays[-1])
        process.kill()
        process.join(60)
        assert process.exitcode in (0, -signal.SIGKILL), delays
        # There is no file, or all of it.
        names = os.listdir(out)
        left += sum(name.startswith(INCOMPLETE) for name in names)
        if os.path.exists(path):
            assert len(FramesOnDisk(path)) == 3000
            with open(path, 'rb') as file:
                assert file.read() == expected, delays
            os.remove(path)
    convert_frames(source, path)
    with open(path, 'rb') as file:
        assert file.read() == expected, delays
    assert os.listdir(out) == ['large.frames']  # and nothing of the others
    print(f'{NUM_KILLS} kills after {[round(delay, 2) for delay in delays]} s '
          f'of {duration:.2f} s, of which {left} left something behind')
