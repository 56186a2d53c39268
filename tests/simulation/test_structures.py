import numpy
import pytest
import torch
from torch_geometric.data import Data

import torch_sake.simulation.structures
from torch_sake.checkpoint import save_checkpoint
from torch_sake.simulation.structures import lost_atoms, read_structure

ase = pytest.importorskip('ase')


@pytest.mark.parametrize('pbc', [[True, True, False], None])
def test_first_frame_is_in_angstrom(tmp_path, monkeypatch, pbc):
    data = Data(z=torch.tensor([8, 1]), pos=torch.rand(2, 3).double())
    if pbc is not None:
        data.cell = torch.rand(1, 3, 3).double()
        data.pbc = torch.tensor([pbc])
    monkeypatch.setattr(torch_sake.simulation.structures, 'load_config_frames',
                        lambda config: [data])
    path = tmp_path / 'best.safetensors'
    save_checkpoint(path, {}, {'config': {}, 'units': {
        'length': 'nm', 'energy': 'kJ/mol'}})
    atoms = read_structure(None, path)
    assert atoms.numbers.tolist() == [8, 1]
    assert numpy.allclose(atoms.positions, 10 * data.pos.numpy())
    assert atoms.pbc.tolist() == (pbc or 3 * [False])
    if pbc is not None:
        assert numpy.allclose(atoms.cell.array, 10 * data.cell[0].numpy())


def test_first_frame_is_that_of_a_potential(tmp_path):
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
