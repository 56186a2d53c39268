import csv
import os
import sys

import numpy as np
import pytest
import torch
from torch_geometric.datasets import QM9

from torch_sake.datasets import load_frames, qm9, qm9_frames
from torch_sake.datasets.qm9 import TARGETS
from torch_sake.units import ELECTRONVOLT, ENERGIES, MOLE

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


def test_with_and_without_rdkit(qm9_root, tmp_path, monkeypatch):
    pytest.importorskip('rdkit')
    frames = qm9_frames(qm9_root, 'g')
    assert QM9(qm9_root).raw_file_names[0] == 'gdb9.sdf'
    os.rename(os.path.join(qm9_root, 'processed'), tmp_path / 'processed')
    without_rdkit(monkeypatch)
    others = qm9_frames(qm9_root, 'g')
    assert len(frames) == len(others) == 58
    for data, other in zip(frames, others):
        assert torch.equal(data.z, other.z)
        assert torch.equal(data.pos, other.pos)
        assert torch.equal(data.g, other.g)


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
    path = os.path.join(qm9_root, 'raw', 'qm9_v3.pt')
    content = open(path, 'rb').read()
    open(path, 'wb').write(content[:1000])
    with pytest.raises(ValueError, match='can neither be read nor downloaded'):
        qm9_frames(qm9_root, 'mu')
    open(path, 'wb').write(content)
    assert len(qm9_frames(qm9_root, 'mu')) == 58  # nothing half written


def test_an_interruption_leaves_nothing_half_written(qm9_root, monkeypatch):
    def save(cls, data_list, path):
        open(path, 'wb').write(b'half')
        raise KeyboardInterrupt

    monkeypatch.setattr(QM9, 'save', classmethod(save))
    with pytest.raises(KeyboardInterrupt):
        qm9_frames(qm9_root, 'mu')
    monkeypatch.undo()
    assert len(qm9_frames(qm9_root, 'mu')) == 58
