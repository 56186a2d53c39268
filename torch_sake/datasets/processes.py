r"""Processes that compute arrays, as many at once as there are processors."""

import json
import os
import os.path as osp
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

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


class Job(NamedTuple):
    r"""What a process does.

    Args:
        script (str): A file that is run on its own. It prints one character
            for each frame to the standard output, an error to the other, and
            writes arrays to the :obj:`.npz` file of its last argument.
        argument (str): The argument before that one.
        keys (list of str): The names of the arrays.
        num_frames (int): How many characters it prints.
        name (str): What messages call it.
        places (list of str): Further folders to import from.
    """
    script: str
    argument: str
    keys: tuple[str, ...]
    num_frames: int
    name: str
    places: tuple[str, ...] = ()


def run_jobs(jobs: dict[str, Job], save: Save, what: str,
             num_processes: int | None = None) -> None:
    r"""Runs jobs in parallel processes of one thread each and calls
    :obj:`save` with the name and the arrays of each as soon as it is complete.
    If one fails, the others are stopped.

    Args:
        jobs (dict): The jobs, by name.
        save (callable): Takes a name and its arrays.
        what (str): What the bar of progress is called.
        num_processes (int, optional): The number of processes at once, that of
            the processors if not given. (default: :obj:`None`)

    Raises:
        RuntimeError: If a job fails.
    """
    num_processes = min(len(jobs), num_processes or os.cpu_count() or 1)
    num_frames = sum(job.num_frames for job in jobs.values())
    waiting, running = list(jobs.items()), []
    try:
        with tqdm(total=num_frames, desc=what, unit='frame',
                  mininterval=1.0) as bar:
            while waiting or running:
                while waiting and len(running) < num_processes:
                    running.append(Process(*waiting.pop(0)))
                time.sleep(0.1)
                for process in list(running):
                    done = process.is_done()
                    bar.update(process.num_new_frames())
                    if done:
                        save(process.name, read_arrays(process.result,
                                                       process.job.keys))
                        process.stop()
                        running.remove(process)
    finally:
        for process in running:
            process.stop()


class Process:
    r"""A job in a process of its own. It is not one of multiprocessing, which
    would run the script of the caller again.
    """
    def __init__(self, name: str, job: Job):
        self.name = name
        self.job = job
        self.num_seen = 0
        self.folder = tempfile.TemporaryDirectory()
        self.result = osp.join(self.folder.name, 'result.npz')
        self.output = osp.join(self.folder.name, 'output')
        self.errors = osp.join(self.folder.name, 'errors')
        places = [*filter(osp.isabs, sys.path), *job.places]
        with open(self.output, 'wb') as output, \
                open(self.errors, 'wb') as errors:
            self.process = subprocess.Popen(
                [sys.executable, '-I', '-c', START, osp.abspath(job.script),
                 json.dumps(places), job.argument, self.result],
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
            raise RuntimeError(message or f"{self.job.name} ended with status "
                                          f"{status}")
        return status == 0

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        self.folder.cleanup()
