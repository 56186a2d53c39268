import os

# One thread, before anything reads this: sums of several threads differ in
# their last digits from run to run, and small tests gain nothing by them.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

# Examples are drawn anew each time; a failure is printed and comes back.
settings.register_profile('default', deadline=None, max_examples=20,
                          print_blob=True)
settings.load_profile('default')


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(12345)


@pytest.fixture
def water_file(tmp_path) -> str:
    """30 frames of water-like molecules of springs, in eV and Angstrom."""
    ase_io = pytest.importorskip('ase.io')
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    rest = numpy.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    generator = numpy.random.default_rng(0)
    frames = []
    for _ in range(30):
        pos = rest + generator.normal(0, 0.05, rest.shape)
        energy, forces = -2000.0, numpy.zeros((3, 3))
        for i, j in ((0, 1), (0, 2), (1, 2)):
            vec, length = pos[j] - pos[i], numpy.linalg.norm(rest[j] - rest[i])
            stretch = numpy.linalg.norm(vec) - length
            energy += 10 * stretch**2
            pull = 20 * stretch * vec / numpy.linalg.norm(vec)
            forces[i] += pull
            forces[j] -= pull
        atoms = Atoms('OH2', pos)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        frames.append(atoms)
    path = str(tmp_path / 'water.extxyz')
    ase_io.write(path, frames)
    return path


@pytest.fixture
def energy_file(water_file, tmp_path) -> str:
    """The same frames without forces."""
    import ase.io
    frames = ase.io.read(water_file, ':')
    for atoms in frames:
        del atoms.calc.results['forces']
    path = str(tmp_path / 'energies.extxyz')
    ase.io.write(path, frames)
    return path


@pytest.fixture
def copper_file(tmp_path) -> str:
    """24 frames of copper with forces and stresses by EMT, of which six have
    no stress, and a molecule among them."""
    ase_io = pytest.importorskip('ase.io')
    from ase import Atoms
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.calculators.singlepoint import SinglePointCalculator
    generator = numpy.random.default_rng(0)
    frames = []
    for index in range(24):
        atoms = bulk('Cu', cubic=True)
        if index == 3:
            atoms = Atoms('Cu2', [[0, 0, 0], [2.3, 0, 0]])
        atoms.set_cell(atoms.cell.array * generator.uniform(0.96, 1.04),
                       scale_atoms=True)
        atoms.rattle(0.1, rng=generator)
        atoms.calc = EMT()
        results = {'energy': atoms.get_potential_energy(),
                   'forces': atoms.get_forces()}
        if index % 4 != 3:
            results['stress'] = atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    path = str(tmp_path / 'copper.extxyz')
    ase_io.write(path, frames)
    return path
