"""Predictions beside labels, in a file that ASE reads."""

import copy
import os

import numpy
import pytest
import torch
from torch_geometric.loader import DataLoader

from torch_sake import Ensemble, Potential, Property, VectorSAKE
from torch_sake.datasets import Frames, read_frames
from torch_sake.datasets.frames.config import LabelConfig
from torch_sake.evaluation.config import EvaluateConfig
from torch_sake.evaluation.metrics import (
    predict,
    predict_batch,
    predict_everything,
)
from torch_sake.evaluation.prediction_file import (
    plain_info,
    prediction_file,
)

ase_io = pytest.importorskip('ase.io')

UNITS = {'length': 'Angstrom', 'energy': 'eV'}


def build(seed=0):
    torch.manual_seed(seed)
    return Potential(VectorSAKE(hidden_channels=4, num_layers=1, cutoff=4.0),
                     atomic_energies=torch.arange(100) / 7)


@pytest.fixture
def mixed(copper_file):
    """Crystals and a molecule, with all labels known, some or none."""
    labeled = list(read_frames(copper_file))[:6]
    return Frames(
        [data.z for data in labeled], [data.pos for data in labeled],
        [data.energy.item() for data in labeled[:4]] + [None, None],
        [None if index in (1, 5) else data.force
         for index, data in enumerate(labeled)],
        cell=[data.cell[0] for data in labeled],
        pbc=[data.pbc[0] for data in labeled],
        stress=[data.stress[0] if index < 5 else numpy.full(
            (3, 3), numpy.nan) for index, data in enumerate(labeled)],
        name='mixed', units=UNITS, source='mixed',
        infos=[{'config_type': 'bulk', 'note': f'{index}'}
               for index in range(6)])


def write(potential, frames, path, size=4, names=None):
    with prediction_file(str(path), frames, names or LabelConfig()) as file:
        return predict(potential, DataLoader(frames, batch_size=size), 'cpu',
                       file.write)


def test_what_is_written_is_read(mixed, tmp_path):
    """Structures, labels where they are known, infos, and the predictions of
    each frame alone."""
    potential = build().double()
    write(potential, mixed, tmp_path / 'out.extxyz')
    images = ase_io.read(tmp_path / 'out.extxyz', ':')
    assert len(images) == len(mixed)
    for index, (atoms, data) in enumerate(zip(images, mixed)):
        assert atoms.positions == pytest.approx(data.pos.numpy(), abs=1e-8)
        assert atoms.numbers.tolist() == data.z.tolist()
        assert atoms.pbc.tolist() == data.pbc[0].tolist()
        assert atoms.info['config_type'] == 'bulk'
        assert atoms.info['note'] == f'{index}'  # a text stays one
        assert atoms.info['SAKE_frame'] == index
        results = {} if atoms.calc is None else atoms.calc.results
        assert ('energy' in results) == (index < 4)
        assert ('forces' in results) == (index not in (1, 5))
        assert ('stress' in results) == (index in (0, 1, 2, 4))
        if index < 4:
            assert results['energy'] == pytest.approx(data.energy.item())
        if 'forces' in results:
            assert results['forces'] == pytest.approx(data.force.numpy(),
                                                      abs=1e-8)
        periodic = bool(data.pbc.any())
        energy, forces, stress = potential(
            data.z, data.pos, cell=data.cell, pbc=data.pbc,
            compute_stress=periodic) if periodic else potential(data.z,
                                                                data.pos)
        assert atoms.info['SAKE_energy'] == pytest.approx(energy.item(),
                                                          abs=1e-8)
        assert atoms.arrays['SAKE_forces'] == pytest.approx(
            forces.detach().numpy(), abs=1e-8)
        assert ('SAKE_stress' in atoms.info) == periodic
        if periodic:
            assert atoms.info['SAKE_stress'] == pytest.approx(
                stress[0].detach().numpy(), abs=1e-10)


def test_errors_are_those_without_a_file(mixed, tmp_path):
    potential = build().double()
    written = write(potential, mixed, tmp_path / 'out.xyz', size=3)
    plain = predict(potential, DataLoader(mixed, batch_size=3), 'cpu')
    assert list(written.properties) == list(plain.properties)
    for name, rows in plain.properties.items():
        for one, other in zip(written[name], rows):
            assert torch.allclose(one.double(), other.double(), atol=1e-12)


def test_uncertainties_of_an_ensemble(mixed, tmp_path):
    ensemble = Ensemble([build(seed) for seed in range(3)]).double()
    write(ensemble, mixed, tmp_path / 'out.extxyz')
    for atoms, data in zip(ase_io.read(tmp_path / 'out.extxyz', ':'), mixed):
        out = ensemble.statistics(data.z, data.pos, cell=data.cell,
                                  pbc=data.pbc)
        for name in ('energy', 'energy_std'):
            assert atoms.info[f'SAKE_{name}'] == pytest.approx(
                getattr(out, name).item(), abs=1e-8)
        for name in ('forces', 'forces_std'):
            assert atoms.arrays[f'SAKE_{name}'] == pytest.approx(
                getattr(out, name).detach().numpy(), abs=1e-8)


def test_labels_keep_their_names(mixed, tmp_path):
    names = LabelConfig(energy_key='dft_energy', forces_key='dft_forces',
                        virial_key='dft_virial')
    write(build(), mixed, tmp_path / 'out.extxyz', names=names)
    atoms, data = ase_io.read(tmp_path / 'out.extxyz', 0), mixed[0]
    assert atoms.calc is None
    assert atoms.info['dft_energy'] == pytest.approx(data.energy.item())
    assert atoms.arrays['dft_forces'] == pytest.approx(data.force.numpy(),
                                                       abs=1e-8)
    assert atoms.info['dft_virial'] == pytest.approx(
        -atoms.cell.volume * data.stress[0].numpy())


def test_labels_that_are_gradients(mixed, tmp_path):
    names = LabelConfig(forces_key='gradient', stress_key='none')
    write(build(), mixed, tmp_path / 'out.extxyz', names=names)
    atoms, data = ase_io.read(tmp_path / 'out.extxyz', 0), mixed[0]
    assert atoms.arrays['gradient'] == pytest.approx(-data.force.numpy(),
                                                     abs=1e-8)
    predicted = build()(data.z, data.pos.float(), cell=data.cell.float(),
                        pbc=data.pbc)[1].detach().numpy()
    assert atoms.arrays['SAKE_forces'] == pytest.approx(predicted, abs=1e-5)


def test_units_of_the_file(mixed, tmp_path):
    """What was converted for the potential comes out as it came in."""
    from ase.units import Bohr, Hartree
    units = {'length': 'Bohr', 'energy': 'Hartree'}
    converted = copy.copy(mixed.in_units(units))
    converted._source_units = None
    write(build(), converted.in_units(UNITS), tmp_path / 'Hartree.extxyz')
    write(build(), mixed, tmp_path / 'eV.extxyz')
    plain, other = (ase_io.read(tmp_path / f'{name}.extxyz', 0)
                    for name in ('eV', 'Hartree'))
    assert other.positions * Bohr == pytest.approx(plain.positions, abs=1e-7)
    assert other.cell.array * Bohr == pytest.approx(plain.cell.array)
    for name, unit in (('energy', Hartree), ('stress', Hartree / Bohr**3)):
        assert other.calc.results[name] * unit == pytest.approx(
            plain.calc.results[name], rel=1e-6)
        assert other.info[f'SAKE_{name}'] * unit == pytest.approx(
            plain.info[f'SAKE_{name}'], rel=1e-4, abs=1e-7)
    for first, second in (
            (other.arrays['SAKE_forces'], plain.arrays['SAKE_forces']),
            (other.get_forces(), plain.get_forces())):
        assert first * Hartree / Bohr == pytest.approx(second, abs=2e-6)


def test_everything_is_predicted_whatever_is_labeled():
    frames = Frames([[1, 8]], [numpy.eye(3)[:2]], [None], name='any',
                    units=UNITS, source='any')
    data = next(iter(DataLoader(frames)))
    assert set(predict_batch(build(), data)) == {'energy'}
    assert set(predict_everything(build(), data)) == {'energy', 'force'}


def test_slabs_without_a_third_vector():
    """Their cell has no volume, and they have no stress."""
    cell = numpy.diag([3.0, 3.0, 0.0])
    frames = Frames([[29], [29]], 2 * [numpy.zeros((1, 3))], [0.0, 0.0],
                    cell=[cell, cell], pbc=2 * [[True, True, False]],
                    name='any', units=UNITS, source='any')
    data = next(iter(DataLoader(frames, batch_size=2)))
    assert 'stress' not in predict_everything(build(), data)


@pytest.mark.parametrize('text', [
    'bulk', '', 'T', '12', '1 2', 'two\nlines', 'a\\b', '"', "it's", '{x}',
    'a=b', '_JSON 1', ' ', 'nan', '5 * 3', 'α'])
def test_texts_stay_as_they_are(text, tmp_path):
    import ase
    atoms = ase.Atoms('H', info=plain_info({'text': text, 'number': 2}))
    ase_io.write(tmp_path / 'a.extxyz', atoms)
    read = ase_io.read(tmp_path / 'a.extxyz')
    assert read.info == {'text': text, 'number': 2}
    assert isinstance(read.info['text'], str)


def test_infos_that_a_file_cannot_have():
    assert plain_info({'SAKE_energy': 1.0, 'pbc': 1, 'stress': 2, 'a=b': 1,
                       'two\nlines': 1, '': 1, 'kept': 1.5}) == {'kept': 1.5}


def test_not_before_it_is_complete(mixed, tmp_path):
    path = tmp_path / 'out.extxyz'
    with pytest.raises(RuntimeError), prediction_file(
            str(path), mixed, LabelConfig()) as file:
        predict(build(), DataLoader(mixed), 'cpu', file.write)
        raise RuntimeError
    assert os.listdir(tmp_path) == ['copper.extxyz']
    write(build(), mixed, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="'predictions' must not exist"):
        write(build(1), mixed, path)
    assert path.read_bytes() == before
    assert not [name for name in os.listdir(tmp_path)
                if name.startswith('.')]


@pytest.mark.parametrize('path', ['out.traj', 'out.db', 'out', 'xyz'])
def test_files_that_would_lose_arrays(path):
    with pytest.raises(ValueError, match="'predictions' must end with"):
        EvaluateConfig('run', predictions=path)


def test_properties_that_are_no_energies(tmp_path):
    frames = Frames([[1, 8], [8]], [numpy.eye(3)[:2], numpy.zeros((1, 3))],
                    [1.5, None], name='any', source='any',
                    units={'length': 'Angstrom', 'gap': 'eV'})
    model = Property(VectorSAKE(hidden_channels=4, num_layers=1), name='gap')
    outputs = write(model, frames, tmp_path / 'out.extxyz', size=2)
    first, second = ase_io.read(tmp_path / 'out.extxyz', ':')
    assert first.info['gap'] == 1.5 and 'gap' not in second.info
    assert first.info['SAKE_gap'] == pytest.approx(
        outputs['gap'].value.item())
    assert set(second.info) == {'SAKE_gap', 'SAKE_frame'}
    assert not any('forces' in name for name in first.arrays)
