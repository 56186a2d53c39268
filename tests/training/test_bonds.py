"""The energies of bonds that runs with isolated atoms begin with."""

import pytest
import torch

from torch_sake import BondEnergy, ZBLRepulsion, load_potential
from torch_sake.checkpoint import load_checkpoint, save_checkpoint
from torch_sake.datasets import Frames

pytest.importorskip('pytorch_lightning')
from torch_sake.potentials.bonds import Priors
from torch_sake.training import TrainConfig, Trainer

ATOMS = {1: -10.0, 6: -40.0, 8: -70.0}
BONDS = {1: -2.0, 6: -8.0, 8: -3.0}
MOLECULES = [[8, 1, 1], [6, 1, 1, 1, 1], [6, 8, 1, 1], [6, 8]]


def table(values):
    out = torch.zeros(100).double()
    out[list(values)] = torch.tensor(list(values.values())).double()
    return out


@pytest.fixture
def frames():
    """Energies of isolated atoms and of bonds, and nothing else."""
    generator = torch.Generator().manual_seed(0)
    bonds, z, pos, energy = BondEnergy(table(BONDS), 4.0).double(), [], [], []
    for index in range(24):
        z.append(torch.tensor(MOLECULES[index % len(MOLECULES)]))
        pos.append(1.2 * torch.randn(len(z[-1]), 3, generator=generator,
                                     dtype=torch.double))
        energy.append(float(table(ATOMS)[z[-1]].sum() + bonds(
            z[-1], pos[-1], torch.zeros_like(z[-1]))))
    return Frames([one.numpy() for one in z], [one.numpy() for one in pos],
                  energy, name='some', source='some',
                  units={'length': 'Angstrom', 'energy': 'eV'})


@pytest.fixture
def run(frames, tmp_path):
    def train(**changes):
        settings = {'atomic_energies': {'H': -10.0, 'C': -40.0, 'O': -70.0},
                    'num_train': 16, 'num_val': 8, 'num_steps': 2,
                    'zbl': False,
                    'cutoff': 4.0, 'hidden_channels': 8, 'num_layers': 1,
                    'out': str(tmp_path / 'run'), **changes}
        return Trainer(TrainConfig('some', **settings), frames=frames)
    return train


def test_energies_of_bonds_are_found(run):
    prior = run().potential.prior
    assert isinstance(prior, BondEnergy) and prior.cutoff == 4.0
    numbers = list(BONDS)
    # Radii and distances are those of the run, in single precision.
    assert torch.allclose(prior.energies.double()[numbers],
                          table(BONDS)[numbers], atol=1e-4)


@pytest.mark.parametrize('changes', [{}, {'zbl': True}], ids=str)
def test_checkpoint(run, changes):
    trainer = run(**changes)
    trainer.fit()
    out = trainer.config.out
    potential, prior = load_potential(out), trainer.potential.prior
    assert type(potential.prior) is type(prior)
    if changes:
        assert isinstance(prior, Priors) and isinstance(prior[0], ZBLRepulsion)
    for name, value in prior.state_dict().items():
        assert torch.equal(potential.prior.state_dict()[name], value)
    for number, energy in ATOMS.items():
        alone = potential.energy(torch.tensor([number]), torch.zeros(1, 3))
        assert alone.item() == pytest.approx(energy, abs=1e-5)
    more = run(**changes, resume=True, num_steps=4)
    more.fit()
    assert more.step == 4
    # An entry that is wrong:
    tensors, description = load_checkpoint(out)
    description['bonds']['length'] = 'furlong'
    save_checkpoint(out + '/other.safetensors', tensors, description)
    with pytest.raises(ValueError, match=r"'bonds.length' must be one of"):
        load_potential(out + '/other.safetensors')


def test_only_with_isolated_atoms(run):
    assert run(atomic_energies='fit').potential.prior is None


def test_one_composition_does_not_tell_its_elements_apart(tmp_path):
    """Lengths that vary a little are no information about elements."""
    generator = torch.Generator().manual_seed(0)
    rest = torch.tensor([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]).double()
    noise = 0.05 * torch.randn(24, 3, 3, generator=generator).double()
    energy = -90.0 - 9.6 + 0.1 * torch.randn(24, generator=generator)
    frames = Frames(24 * [[8, 1, 1]], [*(rest + noise).numpy()],
                    energy.tolist(), name='some', source='some',
                    units={'length': 'Angstrom', 'energy': 'eV'})
    potential = Trainer(TrainConfig(
        'some', num_train=16, num_val=8, num_steps=2, hidden_channels=8,
        atomic_energies={'H': -10.0, 'O': -70.0}, num_layers=1, zbl=False,
        out=str(tmp_path / 'run')), frames=frames).potential
    bonds = potential.prior
    energies = bonds.energies[[1, 8]]
    assert -10.0 < energies.min() and energies.max() < 0.0
    z, batch = torch.tensor([8, 1, 1]), torch.zeros(3, dtype=torch.long)
    assert float(bonds(z, rest.float(), batch)) == pytest.approx(-9.6, abs=0.2)
