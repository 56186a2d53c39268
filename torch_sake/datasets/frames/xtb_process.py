import json
import os
import os.path as osp
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec

import numpy as np

from torch_sake.datasets.frames import xtb_walker
from torch_sake.datasets.frames.xtb_walker import ARRAYS, Walker
from torch_sake.utils.files import read_arrays

Save = Callable[[str, dict[str, np.ndarray]], None]
# An isolated Python (-I) does not look into the folder it was started in. It
# gets the other places of this one, such as a checkout in PYTHONPATH, between
# the standard library and the packages of its own.
START = '''
import json, runpy, site, sys
packages = site.getsitepackages()
sys.path[:] = [*(path for path in sys.path if path not in packages),
               *json.loads(sys.argv.pop(2)), *packages]
runpy.run_path(sys.argv[1], run_name='__main__')
'''


def run_walkers(walkers: dict[str, Walker], save: Save) -> None:
    r"""Runs walkers in parallel processes, as many as there are processors,
    and calls :obj:`save` with the name and the arrays of each as soon as it is
    complete. If one fails, the others are stopped.

    Raises:
        ImportError: If tblite is missing.
        RuntimeError: If a walker fails.
    """
    if not walkers:
        return
    if find_spec('tblite') is None or find_spec('tqdm') is None:
        raise ImportError("Generating frames needs tblite and tqdm: "
                          "pip install 'torch-sake[train]'")
    from tqdm import tqdm

    num_processes = min(len(walkers), os.cpu_count() or 1)
    num_frames = sum(walker.num_frames for walker in walkers.values())
    waiting, running = list(walkers.items()), []
    try:
        with tqdm(total=num_frames, desc='GFN2-xTB', unit='frame',
                  mininterval=1.0) as bar:
            while waiting or running:
                while waiting and len(running) < num_processes:
                    running.append(_Process(*waiting.pop(0)))
                time.sleep(0.1)
                for process in list(running):
                    done = process.is_done()
                    bar.update(process.num_new_frames())
                    if done:
                        save(process.name, read_arrays(process.result, ARRAYS))
                        process.stop()
                        running.remove(process)
    finally:
        for process in running:
            process.stop()


class _Process:
    r"""A walker in a process of its own. It is not one of multiprocessing,
    which would run the script of the caller again.
    """
    def __init__(self, name: str, walker: Walker):
        self.name = name
        self.walker = walker
        self.num_seen = 0
        self.folder = tempfile.TemporaryDirectory()
        self.result = osp.join(self.folder.name, 'result.npz')
        self.output = osp.join(self.folder.name, 'output')
        self.errors = osp.join(self.folder.name, 'errors')
        with open(self.output, 'wb') as output, \
                open(self.errors, 'wb') as errors:
            self.process = subprocess.Popen(
                [sys.executable, '-I', '-c', START,
                 osp.abspath(xtb_walker.__file__),
                 json.dumps(list(filter(osp.isabs, sys.path))),
                 json.dumps(asdict(walker)), self.result],
                stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                cwd=self.folder.name,
                env={**os.environ, 'OMP_NUM_THREADS': '1'})

    def num_new_frames(self) -> int:
        # The process prints one character for each.
        num_seen, self.num_seen = self.num_seen, osp.getsize(self.output)
        return self.num_seen - num_seen

    def is_done(self) -> bool:
        status = self.process.poll()
        if status:
            with open(self.errors, errors='replace') as errors:
                message = errors.read().strip()
            raise RuntimeError(
                message or f"Walker {self.walker.index} of "
                f"'{self.walker.formula}' ended with status {status}")
        return status == 0

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        self.folder.cleanup()
