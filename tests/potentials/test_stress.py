import pytest
import torch

from torch_sake import SAKE, Potential, VectorSAKE


def sake():
    return Potential(SAKE(8, num_layers=2, heads=2, num_rbf=5, cutoff=2.5))


def vector_sake():
    return Potential(VectorSAKE(8, num_layers=2, num_rbf=5, cutoff=2.5))


def crystal():
    torch.manual_seed(5)
    cell = 3 * torch.eye(3).double() + 0.4 * torch.rand(3, 3).double()
    pos = 5 * torch.rand(5, 3).double()  # partly outside
    return torch.randint(1, 9, (5, )), pos, cell, torch.tensor([True] * 3)


def test_stress_in_a_cell_of_the_other_hand():
    z, pos, cell, pbc = crystal()
    potential = vector_sake().double()
    stress = potential(z, pos, None, cell, pbc, True)[2]
    other = potential(z, pos, None, cell[[1, 0, 2]], pbc, True)[2]
    assert torch.allclose(other, stress, atol=1e-10)


@pytest.mark.parametrize('build', [sake, vector_sake])
def test_graphs_without_atoms_at_the_end_of_a_batch(build):
    potential = build().double()
    z, pos, cell, pbc = crystal()
    energy, _, stress = potential(
        z, pos, torch.zeros_like(z), cell.expand(2, 3, 3), pbc.expand(2, 3),
        compute_stress=True)
    expected = potential(z, pos, None, cell, pbc, True)
    assert torch.allclose(energy[:1], expected[0])
    assert energy.tolist()[1:] == [0.0] and not stress[1].any()
    assert torch.allclose(stress[:1], expected[2], atol=1e-10)


def test_stress_of_a_slab_beside_a_crystal():
    z, pos, cell, pbc = crystal()
    slab = cell.clone()
    slab[2] = 0.0
    potential = vector_sake().double()
    _, _, stress = potential(
        z.repeat(2), pos.repeat(2, 1), torch.arange(2).repeat_interleave(5),
        torch.stack([cell, slab]), torch.tensor([[True] * 3,
                                                 [True, True, False]]), True)
    assert stress[0].abs().max() > 1e-3 and not stress[1].any()
