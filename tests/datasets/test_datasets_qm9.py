import csv
import os
import shutil
import sys

import numpy as np
import pytest
import torch
from torch_geometric.datasets import QM9

from torch_sake.datasets import load_frames, qm9_frames
from torch_sake.datasets.frames import qm9, qm9_files
from torch_sake.datasets.frames.qm9 import TARGETS
from torch_sake.utils.units import ELECTRONVOLT, ENERGIES, MOLE

HARTREE = ENERGIES['Hartree'] * 1000  # meV
KCAL = 4184 / MOLE / ELECTRONVOLT * 1000

# The column of the file and its unit in that of the target:
COLUMNS = {
    'mu': ('mu', 1000), 'alpha': ('alpha', 1), 'homo': ('homo', HARTREE),
    'lumo': ('lumo', HARTREE), 'gap': ('gap', HARTREE), 'r2': ('r2', 1),
    'zpve': ('zpve', HARTREE), 'u0': ('u0_atom', KCAL),
    'u': ('u298_atom', KCAL), 'h': ('h298_atom', KCAL),
    'g': ('g298_atom', KCAL), 'cv': ('cv', 1)
}


def read_column(root, name):
    """The labels of the 58 characterized molecules, as they are written."""
    with open(os.path.join(root, 'raw', 'gdb9.sdf.csv')) as file:
        rows = list(csv.DictReader(file))
    return np.array([float(row[name]) for index, row in enumerate(rows)
                     if index not in (3, 7)])


def without_rdkit(monkeypatch):
    monkeypatch.setitem(sys.modules, 'rdkit', None)


@pytest.mark.parametrize('name', TARGETS)
def test_targets(qm9_root, name):
    frames = qm9_frames(qm9_root, name)
    column, factor = COLUMNS[name]
    assert frames.label == name and frames.source == f'qm9:{name}'
    labels = torch.cat([data[name] for data in frames])
    assert labels.dtype == torch.double and len(labels) == 58
    # PyG's constants have seven digits, and its labels those of float32.
    assert np.allclose(labels, factor * read_column(qm9_root, column),
                       rtol=2e-6)


def test_energies_of_atomization_are_those_of_the_references(qm9_root):
    """Where they are large enough to be seen: total energies are rounded."""
    dataset = QM9(qm9_root)
    for name, target in (('u0', 7), ('u', 8), ('h', 9), ('g', 10)):
        frames = qm9_frames(qm9_root, name)
        for data, other in zip(frames, dataset):
            expected = other.y[0, target].double() - dataset.atomref(
                target)[other.z].double().sum()
            assert float(data[name]) == pytest.approx(1000 * float(expected),
                                                      abs=1.5)


def remove_original(root):
    for name in qm9_files.ORIGINAL:
        os.remove(os.path.join(root, 'raw', name))


@pytest.mark.parametrize('rdkit', [True, False])
@pytest.mark.parametrize('original', [True, False])
def test_all_digits_of_pyg(qm9_root, monkeypatch, rdkit, original):
    """Which with rdkit reads the original files, and others without."""
    if rdkit:
        pytest.importorskip('rdkit')
    else:
        without_rdkit(monkeypatch)
    dataset = QM9(qm9_root)
    assert (dataset.raw_file_names[0] == 'gdb9.sdf') == rdkit
    if not original:
        remove_original(qm9_root)
    for name, target in TARGETS.items():
        frames = qm9_frames(qm9_root, name)
        assert len(frames) == len(dataset) == 58
        assert frames.num_atoms.equal(dataset.slices['z'].diff())
        assert frames._data.z.equal(dataset._data.z)
        assert frames._data.pos.equal(dataset._data.pos.double())
        assert frames._data[name].equal(
            dataset._data.y[:, target.column].double() * target.factor)


@pytest.mark.parametrize('file, change, message', [
    ('gdb9.sdf', lambda text: text[:text.rindex('M  END')],
     'molecule 60, cannot be read .it ends early'),
    ('gdb9.sdf', lambda text: text.replace('V2000', 'V3000', 3),
     'molecule 1, cannot be read .it begins with'),
    ('gdb9.sdf', lambda text: text.replace(' C  ', ' Xe ', 1), "'Xe'"),
    ('gdb9.sdf', lambda text: text.replace('gdb_5\n', 'gdb_6\n'),
     'from molecule 5 on'),
    ('gdb9.sdf.csv', lambda text: text[:text.index('gdb_60')],
     'from molecule 60 on'),
    ('gdb9.sdf.csv', lambda text: text.replace('1.0,2.0,3.0', '1.0,a,3.0', 1),
     'molecule 1, cannot be read .*float'),
    ('uncharacterized.txt', lambda text: text.replace('8', 'x'), "'x'"),
])
def test_damaged_original_files(qm9_root, file, change, message):
    path = os.path.join(qm9_root, 'raw', file)
    text = open(path).read()
    open(path, 'w').write(change(text))
    with pytest.raises(ValueError, match=f'neither be read.*{message}'):
        qm9_frames(qm9_root, 'mu')


def test_load_frames_qm9(qm9_root):
    frames = load_frames('qm9:gap', root=qm9_root)
    assert frames.units == {'length': 'Angstrom', 'gap': 'meV'}
    assert (frames.readout, frames.split_seed) == ('mean', 0)
    assert not frames.has_forces and frames[:5].label == 'gap'
    with pytest.raises(ValueError, match="'root'"):
        load_frames('qm9:gap')


def test_molecules_that_are_not_characterized(qm9_root, monkeypatch):
    monkeypatch.setattr(qm9, 'NUM_MOLECULES', 57)
    with pytest.raises(ValueError, match=r'at most 57 molecules.*\(got 58\)'):
        qm9_frames(qm9_root, 'mu')


def test_unknown_targets(qm9_root):
    with pytest.raises(ValueError, match="must be one of .*'alpha'.*'zpve'.*"
                       r"\(got 'U0'\)"):
        load_frames('qm9:U0', root=qm9_root)


def test_failing_download(tmp_path, monkeypatch):
    def download(self):
        raise OSError('no route to host')

    monkeypatch.setattr(QM9, 'download', download)
    with pytest.raises(ValueError, match="no route to host.*qm9_v3.pt.*"
                       "gdb9.sdf.csv.*raw"):
        qm9_frames(tmp_path, 'mu')


def test_damaged_files(qm9_root, monkeypatch):
    without_rdkit(monkeypatch)
    remove_original(qm9_root)
    path = os.path.join(qm9_root, 'raw', 'qm9_v3.pt')
    content = open(path, 'rb').read()
    open(path, 'wb').write(content[:1000])
    with pytest.raises(ValueError, match='can neither be read nor downloaded'):
        qm9_frames(qm9_root, 'mu')
    open(path, 'wb').write(content)
    assert len(qm9_frames(qm9_root, 'mu')) == 58  # nothing half written


@pytest.mark.parametrize('original', [True, False])
def test_nothing_is_written(qm9_root, original):
    """An interruption cannot leave anything half written."""
    if not original:
        remove_original(qm9_root)
    before = sorted(os.walk(qm9_root))
    assert len(qm9_frames(qm9_root, 'mu')) == 58
    assert sorted(os.walk(qm9_root)) == before


def test_download(qm9_root, tmp_path, monkeypatch):
    def download(self):
        for name in os.listdir(os.path.join(qm9_root, 'raw')):
            shutil.copy(os.path.join(qm9_root, 'raw', name), self.raw_dir)

    monkeypatch.setattr(QM9, 'download', download)
    assert len(qm9_frames(tmp_path / 'new', 'mu')) == 58
    assert os.listdir(tmp_path / 'new') == ['raw']
