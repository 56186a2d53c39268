import numpy
import pytest
from torch_geometric.loader import DataLoader

from torch_sake.datasets import Frames
from torch_sake.evaluation.metrics import error_metrics, predict
from torch_sake.training import TrainConfig, Trainer
from torch_sake.training.data import TrainingData
from torch_sake.training.label_statistics import summarize


def strained_copper(force=None, energy=None, stress=True, num_frames=12):
    """One-atom cells, by a harmonic equation of state."""
    generator = numpy.random.default_rng(0)
    lengths = numpy.linspace(1.7, 1.95, num_frames)
    cells = lengths[:, None, None] * (1 - numpy.eye(3))
    strain = (lengths / 1.8)**3 - 1
    arrays = {}
    if stress:
        arrays['stress'] = 0.87 * strain[:, None, None] * numpy.eye(3)
    if force is not None:
        arrays['force'] = force * generator.normal(size=(num_frames, 3))
    values = 5 * strain**2 if energy is None else (
        energy * generator.normal(size=num_frames))
    return Frames(z=numpy.full(num_frames, 29), pos=numpy.zeros(
        (num_frames, 3)), energy=values - 45e3, num_atoms=1, cell=cells,
        pbc=numpy.ones((num_frames, 3), dtype=bool), name='copper',
        source='copper',
        units={'length': 'Angstrom', 'energy': 'eV'}, **arrays)


def scale_of(frames):
    return summarize(DataLoader(frames, batch_size=5)).scale


def test_noise_of_forces_is_no_scale():
    zero = scale_of(strained_copper(force=0.0))
    assert 0.1 < zero < 10
    with pytest.warns(UserWarning, match='The forces are only .* for noise. '
                      'The scale of training comes from the stresses'):
        noise = scale_of(strained_copper(force=1e-6))
    assert noise == zero  # those of the other labels
    with pytest.warns(UserWarning, match='for noise'):
        energies = scale_of(strained_copper(force=1e-6, stress=False))
    assert 0.01 < energies < zero
    # Forces that are none of these set the scale by themselves:
    frames = strained_copper(force=0.3)
    assert scale_of(frames) == pytest.approx(
        float(frames.force.square().mean().sqrt()), rel=1e-12)


@pytest.mark.filterwarnings('error')
def test_a_few_wrong_labels_make_no_noise_of_forces():
    # Of -45,000 eV each. Most frames say otherwise.
    frames = strained_copper(force=0.3, num_frames=40)
    expected = scale_of(frames)
    frames.energy[[3, 17]] = 0.0
    frames.stress[5] *= 1e6
    assert scale_of(frames) == expected


def test_noise_is_named_with_units():
    units = {'length': 'Angstrom', 'energy': 'eV'}
    loader = DataLoader(strained_copper(force=1e-6), batch_size=5)
    with pytest.warns(UserWarning, match=(
            r'The forces are only .* eV/Angstrom on average, where the '
            r'stresses of most frames say [\d.]+ eV per atom: they')):
        summarize(loader, units=units)
    with pytest.warns(UserWarning, match=(
            r'where the energies of most frames say .* The scale of training '
            r'comes from the energies')):
        summarize(DataLoader(strained_copper(force=1e-6, stress=False),
                             batch_size=5), units=units)


@pytest.mark.filterwarnings('error')
def test_stresses_in_another_unit_are_no_scale(tmp_path):
    """The look at labels says so, and forces are not called noise."""
    frames = strained_copper(force=0.02, num_frames=40)
    expected = scale_of(frames)
    frames.stress *= 1602.18
    config = TrainConfig(data='x', out=str(tmp_path / 'run'), num_train=30,
                         num_val=10, cutoff=4.0)
    data = TrainingData.from_config(config, frames)
    assert any('kbar' in str(remark) for remark in data.remarks)
    assert data.scale == pytest.approx(expected, rel=0.3)


def test_noise_of_energies_is_no_scale():
    virial = scale_of(strained_copper(energy=0.0))
    assert 0.1 < virial < 10
    with pytest.warns(UserWarning, match='for noise'):
        assert scale_of(strained_copper(energy=1e-7)) == virial
    # Rounding of equal energies is not even noise:
    assert scale_of(strained_copper(energy=1e-12)) == virial
    assert scale_of(strained_copper(energy=1e-12, stress=False)) == 1.0
    # Energies alone set the scale by themselves:
    assert scale_of(strained_copper(stress=False)) == pytest.approx(
        float(strained_copper().energy.std(correction=0)), rel=1e-6)


@pytest.mark.filterwarnings('ignore:The .* for noise')
@pytest.mark.slow
def test_noise_of_forces_does_not_spoil_energies(tmp_path):
    ase_io = pytest.importorskip('ase.io')
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    errors = []
    for force in (0.0, 1e-6):
        frames = strained_copper(force=force, num_frames=40)
        structures = []
        for data in frames:
            atoms = Atoms(data.z.numpy(), data.pos.numpy(), pbc=True,
                          cell=data.cell[0].numpy())
            atoms.calc = SinglePointCalculator(
                atoms, energy=float(data.energy), forces=data.force.numpy(),
                stress=data.stress[0].numpy().ravel()[[0, 4, 8, 5, 2, 1]])
            structures.append(atoms)
        path = str(tmp_path / f'{force}.extxyz')
        ase_io.write(path, structures)
        trainer = Trainer(TrainConfig(
            data=path, out=str(tmp_path / f'run-{force}'), num_train=30,
            num_val=10, num_test=0, hidden_channels=32, num_layers=1,
            cutoff=4.0, learning_rate=1e-2, num_steps=200, compile=False))
        trainer.fit()
        outputs = predict(trainer.average.module, trainer.data.batches('val'),
                          'cpu')
        errors.append(error_metrics(outputs)['energy_mae'])
    zero, noise = errors
    assert zero < 0.05 and noise < 2 * zero
