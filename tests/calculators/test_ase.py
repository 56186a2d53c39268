import numpy
import pytest
import torch

from torch_sake import Ensemble, Potential, VectorSAKE, load_potential
from torch_sake.checkpoint import load_checkpoint, save_checkpoint

pytest.importorskip('ase')

from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.fd import (
    calculate_numerical_forces,
    calculate_numerical_stress,
)
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from torch_sake.calculators import SAKECalculator


def potential(seed=0, cutoff=3.5):
    torch.manual_seed(seed)
    model = VectorSAKE(16, num_layers=2, num_rbf=8, cutoff=cutoff)
    return Potential(model, 2.0, -torch.arange(100.0)).double()


@pytest.fixture(params=['molecule', 'crystal', 'layer'])
def atoms(request):
    if request.param == 'molecule':
        atoms = molecule('CH3CH2OH')
    else:
        atoms = bulk('Si', cubic=True)
    if request.param == 'layer':
        atoms.set_cell(atoms.cell.array + [[0, 0, 0], [1, 0, 0], [0, 0, 9]])
        atoms.pbc = [True, True, False]
    atoms.rattle(0.1, seed=1)
    atoms.calc = SAKECalculator(potential())
    return atoms


def test_forces_and_stress_are_slopes(atoms):
    forces = atoms.get_forces()
    expected = calculate_numerical_forces(atoms, eps=1e-4)
    assert numpy.abs(forces).max() > 1e-2
    assert numpy.allclose(forces, expected, atol=1e-6)
    if atoms.pbc.any():
        stress = atoms.get_stress()
        assert numpy.abs(stress).max() > 1e-4
        expected = calculate_numerical_stress(atoms, eps=1e-5)
        assert numpy.allclose(stress, expected, atol=1e-7)


def test_energies_of_atoms_sum_up(atoms):
    energies = atoms.get_potential_energies()
    assert energies.shape == (len(atoms), )
    assert energies.sum() == pytest.approx(atoms.get_potential_energy())


def test_same_as_the_potential():
    atoms = molecule('CH3CH2OH')
    atoms.calc = SAKECalculator(potential())
    z = torch.tensor(atoms.numbers)
    energy, forces, _ = potential()(z, torch.tensor(atoms.positions))
    assert atoms.get_potential_energy() == pytest.approx(float(
        energy.detach()), abs=1e-12)
    assert numpy.allclose(atoms.get_forces(), forces.detach(), atol=1e-12)


def test_units():
    atoms = molecule('CH3CH2OH')
    atoms.calc = SAKECalculator(potential())
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()

    class InOtherUnits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = potential().model

        def forward(self, z, pos, batch):
            ev = 2.0 * self.model(z, pos * units.Bohr, batch)
            ev = ev - z.sum()
            return ev / (units.kcal / units.mol)

    atoms.calc = SAKECalculator(
        Potential(InOtherUnits()).double(),
        units={'length': 'Bohr', 'energy': 'kcal/mol'})
    assert atoms.get_potential_energy() == pytest.approx(energy, rel=1e-7)
    assert numpy.allclose(atoms.get_forces(), forces, atol=1e-6)


def test_units_of_the_stress():
    atoms = bulk('C', cubic=True)
    atoms.rattle(0.05, seed=0)
    atoms.calc = SAKECalculator(potential(), units={'length': 'Bohr',
                                                    'energy': 'kcal/mol'})
    stress = atoms.get_stress()
    assert numpy.abs(stress).max() > 1e-5
    expected = calculate_numerical_stress(atoms, eps=1e-5)
    assert numpy.allclose(stress, expected, rtol=1e-4, atol=1e-8)


def test_dtype():
    own = potential()
    atoms = molecule('CH3CH2OH')
    atoms.calc = SAKECalculator(own)
    expected = atoms.get_forces()
    atoms.calc = SAKECalculator(own, dtype=torch.float32)
    error = numpy.abs(atoms.get_forces() - expected).max()
    assert 0 < error < 1e-4
    assert next(own.parameters()).dtype == torch.double


def test_neighbor_lists_follow_the_atoms():
    atoms = bulk('Si', cubic=True)
    atoms.calc = SAKECalculator(potential())
    generator = numpy.random.default_rng(0)
    for _ in range(30):
        atoms.positions += generator.normal(0, 0.1, (8, 3))
        atoms.set_cell(atoms.cell.array * 1.005, scale_atoms=True)
        forces = atoms.get_forces()
        fresh = Atoms(atoms)
        fresh.calc = SAKECalculator(potential())
        assert numpy.allclose(forces, fresh.get_forces(), atol=1e-12)
    assert atoms.calc.evaluator.neighbors.num_searches < 30


def test_optimizer():
    atoms = bulk('Si')
    atoms.calc = SAKECalculator(potential())
    atoms.rattle(0.2, seed=0)
    before = atoms.get_potential_energy()
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=200)
    assert atoms.get_potential_energy() < before
    assert numpy.abs(atoms.get_forces()).max() < 0.01


def checkpoint(path, seed=0, elements=(1, 6, 8), cutoff=3.5, energy='eV'):
    """What a training run leaves behind."""
    arguments = {'hidden_channels': 16, 'num_layers': 2, 'num_rbf': 8,
                 'cutoff': cutoff}
    save_checkpoint(path, {
        f'potential.{key}': value
        for key, value in potential(seed, cutoff).state_dict().items()
    }, {'model': {'name': 'VectorSAKE', 'arguments': arguments},
        'energy_scale': 2.0, 'elements': list(elements),
        'units': {'length': 'Angstrom', 'energy': energy}})
    return str(path)


def test_checkpoints(tmp_path):
    path = checkpoint(tmp_path / 'a.safetensors')
    atoms = molecule('CH3CH2OH')
    atoms.calc = SAKECalculator(path)
    energy = atoms.get_potential_energy()
    assert atoms.calc.results['energy'] == energy
    atoms.calc = SAKECalculator(load_potential(path))
    assert atoms.get_potential_energy() == energy
    path = checkpoint(tmp_path / 'b.safetensors', energy='kcal/mol')
    atoms.calc = SAKECalculator(path)
    assert atoms.get_potential_energy() == pytest.approx(
        energy * units.kcal / units.mol)

    atoms = molecule('SiH4')
    atoms.calc = SAKECalculator(path)
    with pytest.raises(ValueError, match=r"atomic numbers \[14\], which the"):
        atoms.get_potential_energy()
    with pytest.raises(ValueError, match="'units' must not be given"):
        SAKECalculator(path, units={'length': 'Bohr', 'energy': 'eV'})
    tensors, description = load_checkpoint(path)
    save_checkpoint(path, tensors, dict(description, kind='dynamics'))
    with pytest.raises(ValueError, match="of a potential .*kind 'dynamics'"):
        SAKECalculator(path)
    description['model'] = None
    save_checkpoint(path, tensors, description)
    with pytest.raises(ValueError, match='must be of a model of torch_sake'):
        SAKECalculator(path)


def test_ensembles(tmp_path):
    paths = [checkpoint(tmp_path / f'{seed}.safetensors', seed)
             for seed in range(3)]
    atoms = molecule('CH3CH2OH')
    singles = []
    for path in paths:
        atoms.calc = SAKECalculator(path)
        singles.append((atoms.get_potential_energy(), atoms.get_forces()))
    energies, forces = map(numpy.stack, zip(*singles))
    for source in (paths, Ensemble([load_potential(path) for path in paths])):
        atoms.calc = SAKECalculator(source)
        assert atoms.get_potential_energy() == pytest.approx(energies.mean())
        assert numpy.allclose(atoms.get_forces(), forces.mean(axis=0))
        assert atoms.calc.results['energy_std'] == pytest.approx(
            energies.std(ddof=1))
        assert numpy.allclose(atoms.calc.results['forces_std'],
                              forces.std(axis=0, ddof=1))
        assert atoms.get_potential_energies().sum() == pytest.approx(
            energies.mean())
    crystal = bulk('C', cubic=True)
    crystal.calc = SAKECalculator(paths)
    assert numpy.allclose(crystal.get_stress(),
                          calculate_numerical_stress(crystal, eps=1e-5),
                          atol=1e-7)

    with pytest.raises(ValueError, match='at least two'):
        Ensemble([potential()])
    with pytest.raises(ValueError, match='the same cutoff'):
        Ensemble([potential(), potential(cutoff=3.0)])
    with pytest.raises(TypeError, match='of type Potential'):
        Ensemble([potential(), potential().model])
    other = checkpoint(tmp_path / 'o.safetensors', energy='meV')
    with pytest.raises(ValueError, match='must have the units of the first'):
        SAKECalculator([paths[0], other])


def test_bad_input():
    with pytest.raises(TypeError, match="'potential' must be a Potential"):
        SAKECalculator(potential().model)
    with pytest.raises(ValueError, match='There is no checkpoint'):
        SAKECalculator('absent')
    with pytest.raises(ValueError, match="'energy' must be one of"):
        SAKECalculator(potential(), units={'length': 'Bohr', 'energy': 'cal'})
    atoms = molecule('H2O')
    atoms.calc = SAKECalculator(potential())
    atoms.positions[1, 2] = numpy.nan
    with pytest.raises(ValueError, match="'pos' must be finite .* row 1"):
        atoms.get_forces()
    broken = potential()
    with torch.no_grad():
        broken.model.embedding.weight[8] = torch.inf
    atoms = molecule('H2O')
    atoms.calc = SAKECalculator(broken)
    with pytest.raises(ValueError, match='force on atom 0 is not finite'):
        atoms.get_forces()


def test_all_pairs():
    atoms = molecule('CH3CH2OH')
    atoms.calc = SAKECalculator(potential(cutoff=None))
    expected = calculate_numerical_forces(atoms, eps=1e-4)
    assert numpy.allclose(atoms.get_forces(), expected, atol=1e-6)
    atoms.cell, atoms.pbc = [9, 9, 9], True
    with pytest.raises(ValueError, match="'cutoff' must be given"):
        atoms.get_forces()


def test_tools_of_ase(tmp_path):
    from ase.eos import EquationOfState
    from ase.phonons import Phonons
    crystal = bulk('Si')
    crystal.calc = SAKECalculator(potential())
    BFGS(FrechetCellFilter(crystal), logfile=None).run(fmax=1e-4, steps=300)
    volumes, energies = [], []
    for stretch in numpy.linspace(0.99, 1.01, 5):
        copy = crystal.copy()
        copy.calc = crystal.calc
        copy.set_cell(crystal.cell * stretch, scale_atoms=True)
        volumes.append(copy.get_volume())
        energies.append(copy.get_potential_energy())
    volume, _, modulus = EquationOfState(volumes, energies).fit()
    assert volume == pytest.approx(crystal.get_volume(), rel=1e-3)
    assert modulus > 0
    phonons = Phonons(crystal, crystal.calc, supercell=(2, 2, 2), delta=0.01,
                      name=str(tmp_path / 'phonons'))
    phonons.run()
    phonons.read(acoustic=True)
    energies = phonons.band_structure([[0, 0, 0]])[0]
    assert numpy.abs(energies[:3]).max() < 1e-4  # translations


def test_stress_of_one_structure_does_not_break_the_energy_of_another():
    from ase.build import graphene
    from ase.calculators.calculator import PropertyNotImplementedError

    calculator = SAKECalculator(potential())
    layer, crystal = graphene(), bulk('Si', cubic=True)
    assert layer.cell.rank == 2
    for atoms in (layer, molecule('CH3OH')):
        atoms.rattle(0.1, seed=1)
        energy = SAKECalculator(potential()).get_potential_energy(atoms)
        calculator.get_stress(crystal)
        assert calculator.get_potential_energy(atoms) == energy
        with pytest.raises(PropertyNotImplementedError, match="must have a "
                           "volume for the stress"):
            calculator.get_stress(atoms)
        assert calculator.get_potential_energy(atoms) == energy


@pytest.mark.parametrize('pbc', [False, True])
def test_atoms_far_away_in_single_precision(pbc):
    atoms = bulk('Si', cubic=True) if pbc else molecule('CH3CH2OH')
    atoms.rattle(0.1, seed=1)
    atoms.calc = SAKECalculator(potential(), dtype=torch.float32)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.positions += [1e4, -2e4, 3e4]
    assert abs(atoms.get_potential_energy() - energy) < 1e-4
    assert numpy.abs(atoms.get_forces() - forces).max() < (
        2e-5 * numpy.abs(forces).max())


def test_types_and_devices():
    for dtype in ('float64', torch.long):
        with pytest.raises(TypeError, match="'dtype' must be a type of num"):
            SAKECalculator(potential(), dtype=dtype)
    with pytest.raises(ValueError, match="'device' must be"):
        SAKECalculator(potential(), device='cuda:99')
    with pytest.raises(ValueError, match="'device' must be"):
        SAKECalculator(potential(), device='nvidia')
    auto = SAKECalculator(potential(), device='auto').evaluator.device
    assert (auto.type == 'cuda') == torch.cuda.is_available()
