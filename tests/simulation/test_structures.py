import os

import numpy
import pytest
import torch
from torch_geometric.data import Data

from torch_sake.checkpoint import save_checkpoint
from torch_sake.simulation.soundness import lost_atoms
from torch_sake.simulation.structures import read_structure

ase = pytest.importorskip('ase')


@pytest.mark.parametrize('pbc', [[True, True, False], None])
def test_structure_of_a_checkpoint_is_in_angstrom(tmp_path, pbc):
    data = Data(z=torch.tensor([8, 1]), pos=torch.rand(2, 3).double())
    if pbc is not None:
        data.cell = torch.rand(1, 3, 3).double()
        data.pbc = torch.tensor([pbc])
    path = tmp_path / 'best.safetensors'
    save_checkpoint(path, {
        f'structure.{key}': value for key, value in data.to_dict().items()
    }, {'config': {}, 'units': {'length': 'nm', 'energy': 'kJ/mol'}})
    atoms = read_structure(None, path)
    assert atoms.numbers.tolist() == [8, 1]
    assert numpy.allclose(atoms.positions, 10 * data.pos.numpy())
    assert atoms.pbc.tolist() == (pbc or 3 * [False])
    if pbc is not None:
        assert numpy.allclose(atoms.cell.array, 10 * data.cell[0].numpy())


@pytest.mark.parametrize('data', ['water_file', 'copper_file'])
def test_first_frame_of_a_run(data, request, tmp_path):
    pytest.importorskip('pytorch_lightning')
    import ase.io

    from torch_sake.training import TrainConfig, Trainer
    path, out = request.getfixturevalue(data), tmp_path / 'run'
    Trainer(TrainConfig(path, num_train=12, num_val=4, num_steps=1,
                        hidden_channels=4, num_layers=1, num_rbf=4,
                        out=str(out))).fit()
    expected = ase.io.read(path, 0)
    os.remove(path)
    for name in ('best.safetensors', 'last.safetensors'):
        atoms = read_structure(None, out / name)
        assert atoms.numbers.tolist() == expected.numbers.tolist()
        assert numpy.array_equal(atoms.positions, expected.positions)
        assert numpy.array_equal(atoms.cell.array, expected.cell.array)
        assert atoms.pbc.tolist() == expected.pbc.tolist()
        assert atoms.calc is None


def test_checkpoint_without_a_structure(tmp_path):
    path = tmp_path / 'best.safetensors'
    save_checkpoint(path, {}, {'config': {'data': 'xtb:H2'}})
    with pytest.raises(ValueError, match="best.safetensors': 'structure' "
                       'must be given, as the checkpoint holds none'):
        read_structure(None, path)


@pytest.mark.parametrize('change, message', [
    (dict(z=torch.tensor([8, 200])), "'z' must lie between 1 and 118"),
    (dict(z=torch.tensor([8.0, 1.0])), "'z' must be of integer type"),
    (dict(pos=torch.zeros(3, 3)), "'pos' of all frames must have shape"),
    (dict(pos=torch.full((2, 3), torch.nan)), "'pos' must be finite"),
    (dict(z=torch.zeros(0).long(), pos=torch.zeros(0, 3)), 'no atoms'),
    (dict(cell=torch.zeros(1, 3, 3), pbc=torch.ones(1, 3)), "cell"),
    (dict(cell=torch.zeros(1, 3)), "'cell' of all frames must have shape"),
], ids=str)
def test_wrong_structures_of_a_checkpoint(tmp_path, change, message):
    structure = {'z': torch.tensor([8, 1]), 'pos': torch.rand(2, 3).double(),
                 **change}
    path = tmp_path / 'best.safetensors'
    save_checkpoint(path, {
        f'structure.{key}': value for key, value in structure.items()
    }, {'units': {'length': 'nm', 'energy': 'kJ/mol'}})
    with pytest.raises((TypeError, ValueError),
                       match=f"best.safetensors': 'structure'.*{message}"):
        read_structure(None, path)


def test_structure_is_that_of_a_potential(tmp_path):
    path = tmp_path / 'best.safetensors'
    save_checkpoint(path, {}, {'kind': 'property'})
    with pytest.raises(ValueError, match='must be of a potential'):
        read_structure(None, path)


def test_structures_of_a_file(tmp_path, monkeypatch):
    import ase.io
    path = tmp_path / 'two.xyz'
    ase.io.write(path, [ase.Atoms('H'), ase.Atoms('He')], format='extxyz')
    monkeypatch.setenv('HOME', str(tmp_path))
    for name, expected in ((str(path), 'He'), (f'{path}@0', 'H'),
                           (path, 'He'), ('~/two.xyz@1', 'He')):
        atoms = read_structure(name, 'checkpoint')
        assert atoms.get_chemical_formula() == expected
    with pytest.raises(ValueError, match="one that the file has .*two.xyz@2"):
        read_structure(f'{path}@2', 'checkpoint')


def test_labels_are_not_handed_on(tmp_path):
    r"""What was computed for a structure is not true of others."""
    import ase.io
    from ase.constraints import FixAtoms
    atoms = ase.Atoms('OH', [[0, 0, 0], [0, 0, 1]], cell=3 * numpy.eye(3),
                      pbc=True, constraint=FixAtoms([0]), tags=[1, 2],
                      masses=[18, 2], momenta=numpy.ones((2, 3)))
    atoms.info.update(REF_energy=-1.0, virial=numpy.ones((3, 3)))
    atoms.arrays['REF_forces'] = numpy.ones((2, 3))
    for name in ('labeled.xyz', 'labeled.traj'):
        ase.io.write(tmp_path / name, atoms)
        read = read_structure(str(tmp_path / name), 'checkpoint')
        assert read.calc is None and not read.info
        assert 'REF_forces' not in read.arrays
        assert read.cell.array.tolist() == atoms.cell.array.tolist()
        assert read.pbc.all() and len(read.constraints) == 1
        assert numpy.allclose(read.get_momenta(), 1)
    assert read.get_masses().tolist() == [18, 2]
    assert read.get_tags().tolist() == [1, 2]


def test_lost_atoms():
    atoms = ase.Atoms('H4', [[0, 0, 0], [0, 0, 1], [0, 0, 9], [0, 5, 0]],
                      cell=[50, 5.5, 50])
    assert lost_atoms(atoms, 2.0) == [2, 3]
    atoms.pbc = [False, True, False]  # where one of them is an image
    assert lost_atoms(atoms, 2.0) == [2]
    assert lost_atoms(atoms, 9.0) == []
    assert lost_atoms(ase.Atoms('H'), 2.0) == []


def test_lost_atoms_are_named(checkpoint, tmp_path, capsys):
    pytest.importorskip('jsonargparse')
    pytest.importorskip('ase.md.langevinbaoab')
    from torch_sake.cli import main
    for distance in (1.0, 50.0):
        structure = str(tmp_path / f'{distance}.xyz')
        ase.Atoms('OHH', [[0, 0, 0], [0, 0, 1], [0, distance, 0]]).write(
            structure, format='extxyz')
        assert main(['md', '--checkpoint', checkpoint('run'), '--structure',
                     structure, '--num_steps', '1', '--out',
                     str(tmp_path / str(distance))]) == 0
        assert ('Atoms [2] have no neighbor' in capsys.readouterr().out) == (
            distance > 3)


def test_initial_charges(tmp_path):
    import warnings

    import ase.io
    from ase.build import molecule
    atoms = molecule('H2O')
    atoms.set_initial_charges([1, 0, 0])
    path = str(tmp_path / 'ion.xyz')
    ase.io.write(path, atoms)
    with pytest.warns(UserWarning, match=r"ion.xyz', frame .*: the initial "
                      'charges add up to 1'):
        read_structure(path, None)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert read_structure(path, None, charge=1).info[
            'charge'] == 1
