"""Labels by any calculator of ASE, in processes that can be interrupted."""

import os
import sys
from importlib import metadata

import numpy as np
import pytest

from torch_sake.datasets import processes
from torch_sake.sampling import Structure, check_calculator, label
from torch_sake.sampling.calculator import version_of
from torch_sake.sampling.labeling import _parts

build = pytest.importorskip('ase.build')
EMT = 'ase.calculators.emt:EMT'
# A calculator of a user's own: a spring, which fails for short ones.
SPRING = '''
import numpy as np
from ase.calculators.calculator import Calculator

class Spring(Calculator):
    implemented_properties = ['energy', 'forces']

    def calculate(self, atoms=None, properties=None, changes=None):
        super().calculate(atoms, properties, changes)
        vec = atoms.positions[1] - atoms.positions[0]
        length = np.linalg.norm(vec)
        if length < 0.5:
            raise RuntimeError('SCF not converged')
        force = {scale} * (length - 1.0) * vec / length
        self.results = {{'energy': 0.5 * {scale} * (length - 1.0)**2,
                        'forces': np.stack([force, -force])}}
'''


def pair(length, **arguments):
    return Structure([29, 29], [[0.0, 0.0, 0.0], [length, 0.0, 0.0]],
                     **arguments)


@pytest.fixture
def spring(tmp_path, monkeypatch):
    """Its module lies in the folder that the command is started in."""
    folder = tmp_path / 'here'
    folder.mkdir()
    (folder / 'my_spring.py').write_text(SPRING.format(scale=4.0))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend('')
    # That of another test:
    monkeypatch.delitem(sys.modules, 'my_spring', raising=False)
    return 'my_spring:Spring'


def test_labels(spring, tmp_path, capsys):
    """Numbers that are known. What fails is counted, and nothing else."""
    structures = [pair(1.5, config_type='long'), pair(0.4), pair(20.0),
                  pair(0.75)]
    frames = label(structures, spring, folder=tmp_path / 'parts')
    np.testing.assert_allclose(frames.energy, [0.5, 0.125])
    np.testing.assert_allclose(frames[0].force[0], [2.0, 0.0, 0.0])
    assert frames.info(0)['config_type'] == 'long'
    out = capsys.readouterr().out
    assert '2 frames are labeled. 2 structures failed' in out
    assert 'SCF not converged' in out and 'a force above 50' in out
    assert frames.units == {'length': 'Angstrom', 'energy': 'eV'}


def test_nothing_can_be_labeled(spring, tmp_path):
    with pytest.raises(RuntimeError, match='none of the structures.*SCF not'):
        label([pair(0.4)], spring, folder=tmp_path / 'parts')


def test_dynamics(tmp_path):
    """Labels are those of the calculator, and frames are hot."""
    from ase import Atoms
    from ase.calculators.emt import EMT as Calculator
    cluster = build.bulk('Cu', cubic=True)
    start = Structure(cluster.numbers, cluster.positions, cluster.cell.array,
                      temperature=800.0, num_steps=100, interval=20)
    frames = label([start], EMT, folder=tmp_path)
    assert len(frames) == 5 and frames.has_stress
    for frame in frames:
        atoms = Atoms(frame.z.numpy(), frame.pos.numpy(),
                      cell=frame.cell[0].numpy(), pbc=True,
                      calculator=Calculator())
        assert float(frame.energy) == pytest.approx(
            atoms.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(frame.force, atoms.get_forces(), atol=1e-9)
        np.testing.assert_allclose(frame.stress[0],
                                   atoms.get_stress(voigt=False), atol=1e-9)
    moved = frames[-1].pos - frames[0].pos
    assert moved.norm(dim=1).max() > 0.05


def test_going_on(spring, tmp_path, monkeypatch):
    """Parts that are there are not computed again; numbers do not depend on
    the number of processes, nor on an interruption.
    """
    monkeypatch.setattr('torch_sake.sampling.labeling.PART', 22)
    structures = [pair(1.0 + 0.1 * index, temperature=300.0, num_steps=10)
                  for index in range(6)]
    assert len(list(_parts(structures))) == 3
    whole = label(structures, spring, folder=tmp_path / 'whole',
                  num_processes=1)
    started = []
    init = processes.Process.__init__

    def start(self, name, job):
        started.append(name)
        if len(started) == 3:
            raise KeyboardInterrupt
        init(self, name, job)

    with monkeypatch.context() as patch:
        patch.setattr(processes.Process, '__init__', start)
        with pytest.raises(KeyboardInterrupt):
            label(structures, spring, folder=tmp_path / 'parts',
                  num_processes=1)
    kept = [name for name in os.listdir(tmp_path / 'parts')
            if name.endswith('.npz')]
    assert len(kept) == 2
    assert len(started) == 3
    frames = label(structures, spring, folder=tmp_path / 'parts',
                   num_processes=2)
    for key in ('pos', 'energy', 'force'):
        assert getattr(frames, key).equal(getattr(whole, key))
    # Nothing runs a third time:
    monkeypatch.setattr(processes.Process, '__init__', None)
    again = label(structures, spring, folder=tmp_path / 'parts')
    assert again.energy.equal(whole.energy)
    other = label(structures[:2], spring, folder=tmp_path / 'parts')
    assert other.energy.equal(whole.energy[:2])


def test_another_version(spring, tmp_path, monkeypatch):
    """Labels of before are not those of a calculator that has changed."""
    kept = tmp_path / 'parts'
    assert float(label([pair(1.5)], spring, folder=kept).energy) == 0.5
    (tmp_path / 'here' / 'my_spring.py').write_text(SPRING.format(scale=16.0))
    assert float(label([pair(1.5)], spring, folder=kept).energy) == 2.0
    assert len(list(kept.glob('*.npz'))) == 2


@pytest.mark.parametrize('calculator, package', [('xtb', 'tblite'),
                                                 (EMT, 'ase')])
def test_version_of_a_package(monkeypatch, calculator, package):
    pytest.importorskip(package)
    check_calculator(calculator)
    before = version_of(calculator)
    assert before['version'] == metadata.version(package)
    monkeypatch.setattr(metadata, 'version', {package: '0.0.1'}.get)
    assert version_of(calculator) == {**before, 'version': '0.0.1'}


FAILS = '''import os
from ase.calculators.emt import EMT

class Fails(EMT):
    def calculate(self, *args):
        if 'NOT_THERE' in os.environ:
            raise OSError('a program is not installed')
        super().calculate(*args)
'''


def test_nothing_labeled_is_not_kept(tmp_path, monkeypatch):
    """What was missing may be there the next time."""
    (tmp_path / 'fails_at_first.py').write_text(FAILS)
    monkeypatch.syspath_prepend(tmp_path)
    water = build.molecule('H2O')
    structures = [Structure(water.numbers, water.positions)]
    monkeypatch.setenv('NOT_THERE', '')
    with pytest.raises(RuntimeError, match='not installed'):
        label(structures, 'fails_at_first:Fails', folder=tmp_path / 'parts')
    monkeypatch.delenv('NOT_THERE')
    frames = label(structures, 'fails_at_first:Fails',
                   folder=tmp_path / 'parts')
    assert len(frames) == 1


def test_a_damaged_part(spring, tmp_path):
    label([pair(1.5)], spring, folder=tmp_path / 'parts')
    part, = (tmp_path / 'parts').glob('*.npz')
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.raises(ValueError, match=f'{part.name}.*Delete'):
        label([pair(1.5)], spring, folder=tmp_path / 'parts')


def test_xtb(tmp_path):
    """Ions and radicals have the energies of tblite."""
    tblite = pytest.importorskip('tblite.ase')
    water = build.molecule('H2O')
    states = [(0, None), (1, None), (0, 3), (1, 2)]
    frames = label([Structure(water.numbers, water.positions, charge=charge,
                              spin=spin) for charge, spin in states],
                   folder=tmp_path)
    for index, (charge, spin) in enumerate([(0, 1), (1, 2), (0, 3), (1, 2)]):
        water.calc = tblite.TBLite(method='GFN2-xTB', verbosity=0,
                                   charge=charge, multiplicity=spin)
        assert float(frames[index].energy) == pytest.approx(
            water.get_potential_energy(), abs=1e-6)
        said = frames.info(index)
        assert (said.get('charge', 0), said.get('spin', 1)) == (charge, spin)


@pytest.mark.parametrize('arguments, error, message', [
    (dict(calculator='gfn'), ValueError, "'calculator' must be 'xtb' or"),
    (dict(calculator='no_such_module:It'), ValueError, 'no_such_module'),
    (dict(calculator='ase.units:kB'), TypeError, 'class or function'),
    (dict(calculator='ase:Atoms'), TypeError, 'class or function.*Atoms'),
    (dict(calculator='json:JSONDecoder'), TypeError, 'class or function'),
    (dict(calculator="xtb", elements=[6, 92]), ValueError,
     "must know all elements: .xtb. has no parameters of U"),
    (dict(calculator=EMT, states=[(1, None)]), ValueError, r'\(1, None\)'),
])
def test_wrong_calculators(arguments, error, message):
    with pytest.raises(error, match=message):
        check_calculator(**arguments)


def test_wrong_multiplicity(tmp_path):
    water = build.molecule('H2O')
    with pytest.raises(ValueError, match='multiplicity of their electrons'):
        label([Structure(water.numbers, water.positions, spin=2)],
              folder=tmp_path)
    with pytest.raises(ValueError, match="'structures' must not be empty"):
        label([], folder=tmp_path)
