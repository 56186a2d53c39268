import numpy
import pytest

from torch_sake.datasets import Frames
from torch_sake.learning import LearnConfig, Learner
from torch_sake.training import TrainConfig, Trainer
from torch_sake.utils.units import ASE_UNITS

pytest.importorskip('ase.md.langevinbaoab')
pytest.importorskip('pytorch_lightning')
pytest.importorskip('matplotlib')

EMT = 'ase.calculators.emt:EMT'
TINY = {'batch_size': 4, 'val_interval': 4}


def octahedron():
    from ase import Atoms
    return Atoms('Cu6', 1.8 * numpy.concatenate([numpy.eye(3),
                                                 -numpy.eye(3)]))


def with_labels(atoms):
    from ase.calculators.emt import EMT as Calculator
    from ase.calculators.singlepoint import SinglePointCalculator
    atoms.calc = Calculator()
    atoms.calc = SinglePointCalculator(
        atoms, energy=atoms.get_potential_energy(),
        forces=atoms.get_forces())
    return atoms


@pytest.fixture
def emt_labels():
    """Labels a structure by itself."""
    return with_labels


@pytest.fixture(scope='session')
def begun(tmp_path_factory):
    """Labeled clusters of copper, the structure that simulations start from,
    and two small potentials that were trained on these frames."""
    import ase.io
    folder = tmp_path_factory.mktemp('learning')
    rng = numpy.random.default_rng(0)
    frames = []
    for _ in range(24):
        atoms = octahedron()
        atoms.rattle(0.1, rng=rng)
        frames.append(with_labels(atoms))
    data, start = str(folder / 'cu.extxyz'), str(folder / 'start.extxyz')
    ase.io.write(data, frames)
    ase.io.write(start, octahedron())
    split = str(folder / 'split.npz')
    order = rng.permutation(24)
    numpy.savez(split, train=order[:18], val=order[18:22], test=order[22:])
    runs = []
    for seed in range(2):
        runs.append(str(folder / f'run_{seed}'))
        Trainer(TrainConfig(
            data=data, split=split, seed=seed, num_steps=40, cutoff=4.0,
            learning_rate=0.03, ema_decay=0.5, hidden_channels=8,
            num_layers=1, num_rbf=4, device='cpu', out=runs[-1],
            **TINY)).fit()
    return {'data': data, 'structures': start, 'init': runs}


def label_here(structures, calculator, folder=None, num_processes=None):
    """Labels without a process, which takes a second to start."""
    from ase import Atoms
    labeled = [with_labels(Atoms(one.z, one.pos)) for one in structures]
    return Frames(
        [one.z for one in structures], [one.pos for one in structures],
        [atoms.get_potential_energy() for atoms in labeled],
        [atoms.get_forces() for atoms in labeled], name='here',
        units=ASE_UNITS, source=calculator)


@pytest.fixture
def labels_here(monkeypatch):
    for module in ('labels', 'first'):
        monkeypatch.setattr(f'torch_sake.learning.{module}.label', label_here)


def make_learner(begun, out, **settings):
    return Learner(LearnConfig(**{
        'label': EMT, 'out': str(out), 'device': 'cpu',
        'temperatures': [300.0, 1500.0], 'time': 0.08, 'timestep': 2.0,
        'interval': 2, 'num_walkers': 1, 'num_rounds': 2, 'num_labels': 4,
        'finetune_steps': 8, 'max_force_std': 0.1, 'val_fraction': 0.3,
        **TINY, **begun, **settings}))


@pytest.fixture
def learner(begun, tmp_path):
    """Makes loops of two short rounds."""
    def make(out='loop', **settings):
        return make_learner(begun, tmp_path / out, **settings)
    return make


@pytest.fixture(scope='session')
def whole(begun, tmp_path_factory):
    """A round that nobody stopped."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ('labels', 'first'):
            patch.setattr(f'torch_sake.learning.{module}.label', label_here)
        one = make_learner(begun, tmp_path_factory.mktemp('whole') / 'loop',
                           num_rounds=1)
        assert one.run() == 'over'
    return one
