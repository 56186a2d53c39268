"""What is said of a simulation that is over, and of labels that failed."""

from types import SimpleNamespace

import numpy
import pytest

from torch_sake.datasets import Frames
from torch_sake.learning import LearnConfig
from torch_sake.learning.labels import compute_labels
from torch_sake.learning.walks import Outcome, is_above, judge
from torch_sake.simulation.report import UNCERTAINTY
from torch_sake.simulation.soundness import Soundness
from torch_sake.utils.files import write_json
from torch_sake.utils.units import ASE_UNITS

ase = pytest.importorskip('ase')
ase_io = pytest.importorskip('ase.io')


def water(bond=0.96):
    return ase.Atoms('OH2', [[0, 0, 0], [bond, 0, 0], [-0.24, 0.93, 0]])


@pytest.fixture
def over(tmp_path):
    """A simulation of 20 steps of 0.5 fs, of which every tenth is kept."""
    def make(bonds, uncertainties, temperatures=None, step=20):
        path = str(tmp_path / 'trajectory.extxyz')
        ase_io.write(path, [water(bond) for bond in bonds])
        rows = {'step': [10.0 * index for index in range(len(bonds))],
                'temperature [K]': temperatures or len(bonds) * [300.0],
                UNCERTAINTY: uncertainties}
        return SimpleNamespace(
            records=SimpleNamespace(rows=lambda: rows, trajectory=path),
            soundness=Soundness(water(), 3.0), step=step,
            config=SimpleNamespace(timestep=0.5))
    return make


def test_no_doubt(over):
    assert judge(over([1.0, 1.1], [0.1, 0.2], step=19), 0.3, None) == Outcome(
        19, 2, 0.0095, None)


def test_doubt(over):
    outcome = judge(over([1.0, 1.1, 1.2], [0.1, 0.2, 0.4]), 0.3, 'stopped')
    assert (outcome.step, outcome.num_frames, outcome.time) == (20, 3, 0.01)
    assert outcome.reason == 'unsure: 0.4 eV/Angstrom, above 0.3'
    assert is_above(numpy.nan, 1.0) and is_above(numpy.inf, 1.0)
    assert not is_above(1.0, 1.0)


@pytest.mark.parametrize('bonds, temperatures, words', [
    ([1.0, 5.0, 1.0], None, 'the structure has come apart'),
    ([1.0, 0.3, 1.0], None, 'closer than any bond'),
    ([1.0, 1.0, 1.0], [300.0, 2e4, 300.0], 'The temperature is 20000 K'),
])
def test_what_is_no_structure_is_in_doubt(over, bonds, temperatures, words):
    """Also where the potential is sure, and what comes after it is nothing.
    """
    outcome = judge(over(bonds, [0.1, 0.1, 0.1], temperatures), 0.3, None)
    assert (outcome.step, outcome.num_frames) == (10, 2)
    assert outcome.reason.startswith('unsound: ')
    assert words in outcome.reason


def test_who_could_not_go_on(over):
    outcome = judge(over([1.0, 1.1], [0.1, 0.1]), 0.3, 'A force is NaN')
    assert outcome == Outcome(10, 2, 0.005, 'stopped: A force is NaN')


def test_outcome_is_kept(tmp_path):
    assert Outcome.read(str(tmp_path)) is None
    one = {'step': 1, 'num_frames': 2, 'time': 0.1, 'reason': None}
    write_json(tmp_path / 'outcome.json', one)
    assert Outcome.read(str(tmp_path)) == Outcome(**one)
    write_json(tmp_path / 'outcome.json', {**one, 'step': 'x'})
    with pytest.raises(TypeError, match="'step' must be"):
        Outcome.read(str(tmp_path))


def test_failed_labels_are_left_out(monkeypatch):
    """Those that are left belong to the right structures."""
    asked = [water(1 + 0.05 * index) for index in range(4)]
    for index, atoms in enumerate(asked):
        atoms.info.update(config_type='learn_1', temperature=float(index))
    seen = []

    def label(structures, calculator, folder, num_processes):
        seen.extend(structures)
        kept = [structures[index] for index in (3, 0)]
        return Frames([one.z for one in kept],
                      [one.pos - one.pos.mean(axis=0) for one in kept],
                      [3.0, 0.0], [numpy.full((3, 3), energy)
                                   for energy in (3.0, 0.0)],
                      name='x', units=ASE_UNITS, source='x')

    def failing(*args, **kwargs):
        raise RuntimeError('labeled none of the structures: 4 by SCF')

    asked[1].info['charge'] = 1
    config = LearnConfig('a.xyz', 'xtb', 'b.xyz')
    monkeypatch.setattr('torch_sake.learning.labels.label', label)
    found = compute_labels(config, 'here', asked)
    assert [atoms.info['temperature'] for atoms in found] == [0.0, 3.0]
    assert [atoms.get_potential_energy() for atoms in found] == [0.0, 3.0]
    assert [atoms.get_forces()[0, 0] for atoms in found] == [0.0, 3.0]
    assert [(one.charge, one.spin) for one in seen] == [
        (0, None), (1, None), (0, None), (0, None)]
    monkeypatch.setattr('torch_sake.learning.labels.label', failing)
    with pytest.raises(ValueError, match="'label' must label structures "
                                         r"\(labeled none"):
        compute_labels(config, 'here', asked)
