"""Each assertion about molecules catches a potential that breaks its rule."""

import math

import pytest
import torch

from torch_sake import Potential, VectorSAKE, ZBLRepulsion
from torch_sake.testing import (
    assert_bonds_hold,
    assert_dissociates,
    assert_repulsive,
    assert_smooth_scan,
    assert_stable_dynamics,
)
from torch_sake.testing.structures import molecule_of

BOHR = 0.529177210903  # Angstrom
LENGTHS = {(1, 1): 1.6, (1, 6): 1.09, (6, 6): 1.5}
DEPTHS = {(1, 1): 0.0, (1, 6): 4.5, (6, 6): 3.6}  # H and H have no bond
STEEPNESS = 2.0
# H3C-CH2-CH3 without two hydrogens of the last carbon:
Z = torch.tensor([6, 6, 6, 1, 1, 1, 1, 1, 1])


def propane():
    """A chain of carbons, with hydrogens above and below."""
    pos = torch.tensor([[0, 0, 0], [1.25, 0.83, 0], [2.5, 0, 0],
                        [-0.6, 0.35, 0.85], [-0.6, 0.35, -0.85],
                        [0.1, -1.09, 0], [1.25, 1.5, 0.85],
                        [1.25, 1.5, -0.85], [3.4, 0.63, 0]]).double()
    return Z, pos


class Pairs(torch.nn.Module):
    """A sum over pairs of atoms, of Morse's form if not given."""
    def __init__(self, change=None, atomic_energies=None):
        super().__init__()
        self.change = change
        self.energies = atomic_energies or {1: -13.0, 6: -1000.0}

    def forward(self, z, pos, batch):
        i, j = torch.triu_indices(z.numel(), z.numel(), 1)
        keep = batch[i] == batch[j]
        i, j = i[keep], j[keep]
        dist = (pos[i] - pos[j]).norm(dim=1)
        kinds = [tuple(sorted(pair)) for pair in zip(z[i].tolist(),
                                                     z[j].tolist())]
        length = torch.tensor([LENGTHS[kind] for kind in kinds]).to(pos)
        depth = torch.tensor([DEPTHS[kind] for kind in kinds]).to(pos)
        factor = torch.exp(-STEEPNESS * (dist - length))
        # Purely repulsive where there is no bond:
        energy = depth * (factor.square() - 2 * factor) + (
            (depth == 0) * torch.exp(-4 * (dist - 1.0)))
        if self.change is not None:
            energy = self.change(energy, dist, length, depth)
        out = pos.new_zeros(int(batch.max()) + 1)
        single = torch.tensor([self.energies[int(number)] for number in z])
        return out.index_add(0, batch[i], energy).index_add(
            0, batch, single.to(pos))


def model(change=None):
    return Potential(Pairs(change))


# Structures and pairs of atoms:

def test_structures():
    pytest.importorskip('ase')
    from ase.build import molecule
    ethanol = molecule('CH3CH2OH')
    found = molecule_of(ethanol, 'Bohr')
    assert found.pos.dtype == torch.double and len(found.bonds) == 8
    assert torch.allclose(found.pos * BOHR,
                          torch.from_numpy(ethanol.positions))
    assert found.name(0, 2) == '0 (C) and 2 (O)'
    assert found.side_of((1, 0)) == [0, 6, 7, 8]  # CH3
    assert found.side_of((0, 1)) == [1, 2, 3, 4, 5]
    pos = found.pulled((0, 1), torch.tensor([2.0, 9.0]).double())
    assert torch.allclose((pos[:, 0] - pos[:, 1]).norm(dim=1),
                          torch.tensor([2.0, 9.0]).double())
    # Ring and pairs without a bond:
    ring = molecule_of(molecule('C3H6_D3h'), 'Angstrom')
    assert ring.side_of((0, 1)) is None and ring.side_of((3, 6)) == [6]
    with pytest.raises(ValueError, match="'bonds' must not be in a ring"):
        assert_bonds_hold(model(), molecule('C3H6_D3h'), [(0, 1)])
    ethanol.pbc = True
    with pytest.raises(ValueError, match="'structure' must not be periodic"):
        molecule_of(ethanol, 'Angstrom')


@pytest.mark.parametrize('arguments, error, match', [
    ((3.0, ), TypeError, "'structure' must be ase.Atoms, or atomic numbers"),
    (((Z, torch.zeros(2, 3)), ), ValueError, "'pos' must have shape"),
    ((propane(), [(0, 9)]), ValueError, "must be pairs of two of 9 atoms"),
    ((propane(), [(0, 0)]), ValueError, "must be pairs of two of 9 atoms"),
    ((propane(), [(0, 1, 2)]), ValueError, "must be pairs of two of 9"),
    ((propane(), []), ValueError, "of which 'structure' has none"),
], ids=str)
def test_wrong_structures(arguments, error, match):
    for function in (assert_repulsive, assert_bonds_hold):
        with pytest.raises(error, match=match):
            function(model(), *arguments)


def test_wrong_numbers():
    some = propane()
    for function, changes, match in (
        (assert_repulsive, {'shortest': 3.0}, "'shortest' must be positive"),
        (assert_repulsive, {'length': 'm'}, "'length' must be one of"),
        (assert_bonds_hold, {'longest': 1.0}, "'longest' must be above 1.25"),
        (assert_dissociates, {'atomic_energies': {'C': 1.0}},
         r"none of the atomic numbers \[1\]"),
        (assert_smooth_scan, {'atoms': [0]}, "must be two or four atoms"),
        (assert_smooth_scan, {'atoms': [3, 1, 0, 2]}, 'with a bond in the'),
        (assert_smooth_scan, {'atoms': [0, 1], 'start': 3.0},
         "'end' must be above 'start'"),
        (assert_smooth_scan, {'atoms': [0, 1], 'num_points': 9},
         "'num_points' must be at least 50"),
        (assert_stable_dynamics, {'temperature': 0.0}, "'temperature' must"),
        (assert_stable_dynamics, {'time': 1.0}, "'time' must be at least 50"),
        (assert_stable_dynamics, {'ensemble': 'npt'}, "'ensemble' must be"),
        (assert_stable_dynamics, {'energy': 'cal'}, "'energy' must be one"),
    ):
        with pytest.raises(ValueError, match=match):
            function(model(), some, **changes)


# Pressed atoms:

def test_repulsive():
    assert_repulsive(model(), propane())
    assert_repulsive(model(), propane(), [(3, 4), (0, 2)])
    assert_repulsive(Potential(VectorSAKE(8, num_layers=1, num_rbf=5),
                               prior=ZBLRepulsion()).double(), propane())


def test_not_repulsive():
    # It turns around below 0.4 Angstrom:
    def soft(energy, dist, length, depth):
        return energy - 1e5 * (0.4 - dist).clamp(min=0)**2

    with pytest.raises(AssertionError, match=(
            r"'energy' of 0 \(C\) and 1 \(C\), pressed together, must rise: "
            r"it goes from .* at a distance of 0.3.* to .* Angstrom")):
        assert_repulsive(model(soft), propane())
    assert_repulsive(model(soft), propane(), shortest=0.42)
    with pytest.raises(AssertionError, match="must be finite"):
        assert_repulsive(model(lambda energy, *_: energy / 0.0), propane())
    with pytest.raises(AssertionError, match="pressed together"):
        assert_repulsive(model(lambda energy, *_: 0 * energy), propane())


# Bonds that are pulled apart:

def test_bonds_hold():
    assert_bonds_hold(model(), propane())
    assert_bonds_hold(model(), propane(), [(0, 1), (0, 3)], longest=9.0)


@pytest.mark.parametrize('change, match', [
    # A bond that comes off at 2 Angstrom, and one that never was:
    (lambda energy, dist, length, depth: energy - 20 * (
        dist - 2.2).clamp(min=0, max=0.1) * (depth > 4),
     r"'energy' of 0 \(C\) and 3 \(H\), pulled apart, must not fall by more "
     r"than 0.02 of its rise, .*: it goes from .* at a length of 2\..* to .*"),
    (lambda energy, *_: -energy.clamp(max=0), "pulled apart, must"),
    (lambda energy, dist, *_: -10 * dist, "pulled apart, must rise: it is"),
], ids=['falls', 'hill', 'pushes'])
def test_bonds_that_do_not_hold(change, match):
    with pytest.raises(AssertionError, match=match):
        assert_bonds_hold(model(change), propane())


def test_small_falls_are_allowed():
    def change(energy, dist, *_):
        return energy - 0.3 * (dist - 2.6).clamp(min=0, max=1.0)

    assert_bonds_hold(model(change), propane(), [(0, 3)], tol=0.5)
    with pytest.raises(AssertionError, match='must not fall'):
        assert_bonds_hold(model(change), propane(), [(0, 3)], tol=0.05)


# Molecules that are taken apart:

ATOMS = {'H': -13.0, 6: -1000.0}


def test_dissociates():
    assert_dissociates(model(), propane())
    assert_dissociates(model(), propane(), ATOMS)


@pytest.mark.parametrize('change, energies, match', [
    (lambda energy, dist, *_: energy + 1 / (dist + 1), ATOMS,
     r"'energy' of 0 \(C\) and 1 \(C\), 50 Angstrom apart must be the sum"),
    (None, {**ATOMS, 'H': -13.1}, 'an isolated atom of the atomic number 1 '),
    (lambda energy, *_: energy * math.nan, None, 'must be finite'),
])
def test_does_not_dissociate(change, energies, match):
    with pytest.raises(AssertionError, match=match):
        assert_dissociates(model(change), propane(), energies)


# Scans:

@pytest.mark.parametrize('atoms', [[0, 1], [0, 3], [3, 4], [3, 0, 1, 2]])
def test_smooth_scan(atoms):
    assert_smooth_scan(model(), propane(), atoms)


@pytest.mark.parametrize('change, output', [
    (lambda dist: 1e-2 * (dist > 1.7), 'energy'),  # a jump
    (lambda dist: 0.5 * (dist - 1.7).clamp(min=0), 'energy|forces'),  # a kink
    (lambda dist: 0.5 * (dist - 1.7).abs(), 'energy|forces'),
    (lambda dist: 1e-2 * (dist - 1.7).clamp(min=0), 'forces'),
], ids=['jump', 'kink', 'both sides', 'small kink'])
def test_rough_scans(change, output):
    def rough(energy, dist, length, depth):
        return energy + change(dist) * (depth > 0)

    with pytest.raises(AssertionError, match=(
            f"'({output})' along the distance of 0 .C. and 1 .C. must be "
            f"smooth: the second difference at 1.")):
        assert_smooth_scan(model(rough), propane(), [0, 1], num_points=800,
                           force_tol=1e-4)
    with pytest.raises(AssertionError, match="along the turn of 3 .H. and"):
        # Atoms that pass each other in a turn:
        assert_smooth_scan(model(lambda energy, dist, length, depth: energy + (
            depth == 0) * 0.1 * (dist - 2.5).abs()), propane(), [3, 0, 1, 6])


def test_scans_that_show_nothing():
    constant = model(lambda energy, *_: 0 * energy)
    with pytest.raises(AssertionError, match='too small to be told'):
        assert_smooth_scan(constant, propane(), [0, 1])


# Dynamics:

def network(z, pos, batch=None, stiffness=20.0, weak=()):
    """Springs between all atoms of propane that are close to each other."""
    pos = pos.detach().requires_grad_()
    begin = propane()[1]
    i, j = torch.triu_indices(9, 9, 1)
    length = (begin[i] - begin[j]).norm(dim=1)
    near = length < 2.7
    for atom in weak:
        near &= (i != atom) & (j != atom)
    i, j, length = i[near], j[near], length[near]
    dist = (pos[i] - pos[j]).norm(dim=1)
    energy = stiffness / 2 * (dist - length).square().sum()
    return energy.view(1), -torch.autograd.grad(energy, pos)[0], None


@pytest.mark.parametrize('ensemble', ['nvt', 'nve'])
def test_stable_dynamics(ensemble):
    pytest.importorskip('ase')
    for temperature in (100, 1000):
        assert_stable_dynamics(network, propane(), temperature, time=100,
                               ensemble=ensemble)


def test_units_of_dynamics():
    units = pytest.importorskip('ase.units')

    # As cold as this, nothing moves in units that are too large or small.
    def in_atomic_units(z, pos, batch=None):
        energy, forces, _ = network(z, pos * units.Bohr)
        return (energy / units.Hartree, forces * units.Bohr / units.Hartree,
                None)

    messages = []
    for potential, structure, names in (
        (network, propane(), {}),
        (in_atomic_units, (Z, propane()[1] / units.Bohr),
         {'length': 'Bohr', 'energy': 'Hartree'}),
    ):
        with pytest.raises(AssertionError, match='it changes by') as error:
            assert_stable_dynamics(potential, structure, 300, time=100,
                                   ensemble='nve', max_drift=0.0, **names)
        drift = str(error.value).split('it changes by')[1].split()[0]
        messages.append(float(drift))
    assert messages[0] == pytest.approx(messages[1], rel=1e-2)


def test_broken_bonds():
    pytest.importorskip('ase')

    def weak(z, pos, batch=None):
        return network(z, pos, weak=[8])

    with pytest.raises(AssertionError, match=(
            r"The bond of 2 \(C\) and 8 \(H\) must hold: it is .* Angstrom "
            r"long after .* fs at 3000 K, with an energy of .* eV .it began")):
        assert_stable_dynamics(weak, propane(), 3000, time=500)
    with pytest.raises(AssertionError, match='must be finite'):
        assert_stable_dynamics(model(lambda energy, *_: energy * math.nan),
                               propane(), 300)


def test_drift():
    pytest.importorskip('ase')

    def heating(z, pos, batch=None):
        energy, forces, _ = network(z, pos)
        turn = torch.tensor([0.0, 0.0, 0.05]).to(pos).expand_as(pos)
        return energy, forces + torch.linalg.cross(turn, pos - pos.mean(0)), 0

    with pytest.raises(AssertionError, match='The energy must be kept: from'):
        assert_stable_dynamics(heating, propane(), 300, time=200,
                               ensemble='nve')
    assert_stable_dynamics(heating, propane(), 300, time=200, ensemble='nve',
                           max_drift=100.0)
