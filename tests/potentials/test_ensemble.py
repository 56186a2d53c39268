import warnings

import pytest
import torch

from torch_sake import SAKE, Ensemble, Potential
from torch_sake.checkpoint import save_checkpoint
from torch_sake.potentials.load import load_checkpoints

Z = torch.tensor([8, 1, 1, 6, 1])
BATCH = torch.tensor([0, 0, 0, 1, 1])


@pytest.fixture
def ensemble():
    return Ensemble([
        Potential(SAKE(8, num_layers=2, heads=2, num_rbf=5, cutoff=2.5),
                  atomic_energies=torch.randn(100)).double()
        for _ in range(3)])


def test_means_of_the_members(ensemble):
    inputs = Z, 1.5 * torch.randn(5, 3).double(), BATCH
    for name, arguments in (('energy', inputs), ('site_energies', inputs),
                            ('references', (*inputs, 2))):
        members = [getattr(potential, name)(*arguments)
                   for potential in ensemble.potentials]
        assert torch.allclose(getattr(ensemble, name)(*arguments),
                              sum(members) / 3, rtol=1e-12)
    assert torch.allclose(ensemble(*inputs)[0], ensemble.energy(*inputs),
                          rtol=1e-12)


def test_what_it_was_called():
    with pytest.raises(TypeError, match="'torch_sake.Ensemble'"):
        Potential.ensemble([])


def test_all_members_are_compiled(ensemble):
    ensemble.compile()
    assert all(potential.compiled for potential in ensemble.potentials)
    for compiled in (ensemble, *ensemble.potentials):
        with pytest.raises(TypeError, match="'kernels' went with 0.2.0"):
            compiled.compile(kernels=True)


@pytest.fixture
def checkpoint(tmp_path):
    def write(name, dtype, elements):
        arguments = {'hidden_channels': 8, 'num_layers': 1, 'cutoff': 2.5}
        potential = Potential(SAKE(**arguments)).to(dtype)
        path = tmp_path / f'{name}.safetensors'
        save_checkpoint(path, {
            f'potential.{key}': value
            for key, value in potential.state_dict().items()
        }, {'model': {'name': 'SAKE', 'arguments': arguments},
            'energy_scale': 1.0, 'elements': elements,
            'units': {'length': 'Angstrom', 'energy': 'eV'}})
        return path
    return write


def test_checkpoints_of_different_precision(checkpoint):
    paths = [checkpoint('single', torch.float, [1, 6, 8]),
             checkpoint('double', torch.double, [1, 8])]
    for order in (paths, paths[::-1]):
        ensemble, _, elements = load_checkpoints(order)
        assert elements == [1, 8]
        assert {parameter.dtype for parameter in ensemble.parameters()} == {
            torch.double}
        assert ensemble(Z[:3], torch.randn(3, 3).double())[1].shape == (3, 3)
    potential, _, elements = load_checkpoints(paths[0])
    assert next(potential.parameters()).dtype == torch.float
    assert elements == [1, 6, 8]


def test_checkpoints_without_a_common_element(checkpoint):
    paths = [checkpoint('a', torch.float, [6]),
             checkpoint('b', torch.float, [1, 8])]
    with pytest.raises(ValueError, match=r"elements in common \(got .*a.safe"):
        load_checkpoints(paths)


def write_member(path, seed, hydrogen=None, unit='eV'):
    arguments = {'hidden_channels': 8, 'num_layers': 1, 'cutoff': 2.5}
    torch.manual_seed(seed)
    energies = None
    if hydrogen is not None:
        energies = torch.zeros(100)
        energies[1] = hydrogen
    potential = Potential(SAKE(**arguments), atomic_energies=energies)
    save_checkpoint(path, {
        f'potential.{key}': value
        for key, value in potential.state_dict().items()
    }, {'model': {'name': 'SAKE', 'arguments': arguments},
        'energy_scale': 1.0, 'elements': [1, 8],
        'units': {'length': 'Angstrom', 'energy': unit}})
    return str(path)


def test_members_that_do_not_make_an_ensemble(tmp_path):
    def said(*paths):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            load_checkpoints(paths)
        return [str(warning.message) for warning in caught]

    a, b, c = (write_member(tmp_path / f'{name}.safetensors', seed, energy)
               for name, seed, energy in (('a', 0, -13.6), ('b', 1, -13.0),
                                          ('c', 2, -0.5)))
    same = write_member(tmp_path / 'same.safetensors', 0, -13.6)
    assert said(a, b) == []
    line, = said(a, b, a)
    assert f"'{a}' and '{a}' are the same potential" in line
    line, = said(a, same)
    assert f"'{a}' and '{same}' are the same" in line
    line, = said(a, b, c)
    assert f"'{a}' and '{c}' have atomic energies of H of -13.6 and" in line
    small = [write_member(tmp_path / f'{seed}.safetensors', seed, 300.0 * seed,
                          'meV') for seed in (3, 4)]
    assert said(*small) == []
    bare = [write_member(tmp_path / f'bare{seed}.safetensors', seed)
            for seed in (5, 6)]
    assert said(*bare) == []
