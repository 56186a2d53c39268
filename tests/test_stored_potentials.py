"""The trained potentials in examples/potentials."""

import os.path as osp
from pathlib import Path

import pytest
import torch

from torch_sake import load_potential
from torch_sake.checkpoint import load_checkpoint
from torch_sake.testing import (
    assert_equivariant_forces,
    assert_forces_match_energy,
)

FOLDER = Path(__file__).parent.parent / 'examples' / 'potentials'


def ethanol():
    return torch.tensor([6, 6, 8, 1, 1, 1, 1, 1, 1]), torch.tensor([
        [0.0072, -0.5687, 0.0], [-1.2854, 0.2499, 0.0], [1.1304, 0.3147, 0.0],
        [0.0392, -1.1972, 0.89], [0.0392, -1.1972, -0.89],
        [-1.3175, 0.8784, 0.89], [-1.3175, 0.8784, -0.89],
        [-2.1422, -0.4239, 0.0], [1.9857, -0.1365, 0.0]])


def acetylacetone():
    # The enol form.
    return torch.tensor([6, 6, 6, 6, 6, 8, 8] + 8 * [1]), torch.tensor([
        [-2.45, -0.85, 0.0], [-1.2, -0.05, 0.0], [0.0, -0.75, 0.0],
        [1.2, -0.05, 0.0], [2.45, -0.85, 0.0], [-1.25, 1.25, 0.0],
        [1.25, 1.22, 0.0], [0.0, -1.83, 0.0], [-0.25, 1.58, 0.0],
        [-3.32, -0.2, 0.0], [-2.47, -1.5, 0.88], [-2.47, -1.5, -0.88],
        [3.32, -0.2, 0.0], [2.47, -1.5, 0.88], [2.47, -1.5, -0.88]])


@pytest.mark.parametrize('name, molecule, energy_unit', [
    ('ethanol', ethanol, 'kcal/mol'), ('acetylacetone', acetylacetone, 'eV')])
def test_stored_potentials(name, molecule, energy_unit):
    path = FOLDER / f'{name}.safetensors'
    _, description = load_checkpoint(path)
    assert description['units'] == {'length': 'Angstrom',
                                    'energy': energy_unit}
    assert not osp.isabs(description['config']['data'])
    potential = load_potential(path).double()
    z, pos = molecule()
    pos = pos.double()
    assert_forces_match_energy(potential, z, pos)
    assert_equivariant_forces(potential, z, pos)
    # A stretched bond pulls its hydrogen back:
    hydrogen = int((z == 1).nonzero()[0])
    lengths = (pos - pos[hydrogen]).norm(dim=1)
    lengths[hydrogen] = torch.inf
    bond = pos[hydrogen] - pos[lengths.argmin()]
    pos[hydrogen] += 0.15 * bond
    _, forces, _ = potential(z, pos)
    assert forces[hydrogen] @ bond < -1.0 * bond.norm()


def test_stored_potentials_are_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2e6
