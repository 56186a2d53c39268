"""The processes that generate frames import nothing from the folder that the
command was started in.
"""

import json
import os.path as osp
import sys
import time

import pytest

from torch_sake.datasets import xtb_frames
from torch_sake.datasets.frames import xtb_process
from torch_sake.datasets.frames.xtb_walker import Walker
from torch_sake.datasets.processes import Process

# All but the builtin modules that the walkers and their start import first:
MODULES = ('json', 'runpy', 'site', 'dataclasses', 'typing', 'numpy', 'ase',
           'tblite')


@pytest.fixture
def hostile_folder(tmp_path, marker, monkeypatch):
    folder = tmp_path / 'working'
    folder.mkdir()
    for name in MODULES:
        (folder / f'{name}.py').write_text(f'open({str(marker)!r}, "w")\n')
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
def test_imports_of_a_walker(hostile_folder, tmp_path, monkeypatch):
    pytest.importorskip('tblite.ase')
    monkeypatch.syspath_prepend('')  # as in a notebook
    frames = xtb_frames('H2', 1, num_walkers=1, root=tmp_path / 'data')
    assert frames[0].z.tolist() == [1, 1]


def test_places_of_this_process_are_known(hostile_folder, tmp_path,
                                          monkeypatch):
    """A module of a checkout in PYTHONPATH, or of an editable install."""
    places = tmp_path / 'checkout'
    places.mkdir()
    (places / 'some_checkout.py').write_text('')
    (places / 'json.py').write_text('raise ImportError("not the library")')
    script = tmp_path / 'script.py'
    script.write_text(
        'import json, sys, numpy, some_checkout\n'
        'with open(sys.argv[-1], "w") as file:\n'
        '    json.dump([numpy.__file__, some_checkout.__file__], file)\n')
    monkeypatch.syspath_prepend(str(places))
    monkeypatch.syspath_prepend('')
    monkeypatch.setattr(xtb_process.xtb_walker, '__file__', str(script))
    process = Process('name', xtb_process.job_of(
        Walker('H2', 1, 300.0, 0, 0)))
    try:
        while not process.is_done():
            time.sleep(0.01)
        found = json.load(open(process.result))
    finally:
        process.stop()
    assert found == [sys.modules['numpy'].__file__,
                     str(places / 'some_checkout.py')]
    assert not osp.exists(process.folder.name)
