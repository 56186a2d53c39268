import pytest
import torch

from torch_sake import Potential, VectorSAKE
from torch_sake.checkpoint import save_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    """Writes what a training run leaves behind: a soft random potential with
    walls, in which nothing is bound, but nothing collapses."""
    def write(name, seed=0, scale=0.3):
        torch.manual_seed(seed)
        arguments = {'hidden_channels': 16, 'num_layers': 2, 'num_rbf': 8,
                     'cutoff': 3.0}
        potential = Potential(VectorSAKE(**arguments), scale,
                              torch.zeros(100)).double()
        folder = tmp_path / name
        save_checkpoint(folder / 'best.safetensors', {
            f'potential.{key}': value
            for key, value in potential.state_dict().items()
        }, {'model': {'name': 'VectorSAKE', 'arguments': arguments},
            'prior': {'cutoff': 3.0, 'length': 'Angstrom', 'energy': 'eV'},
            'energy_scale': scale, 'elements': [1, 6, 8, 14],
            'units': {'length': 'Angstrom', 'energy': 'eV'}})
        return str(folder)
    return write


@pytest.fixture
def molecule_file(tmp_path):
    build = pytest.importorskip('ase.build')
    path = tmp_path / 'ethanol.xyz'
    build.molecule('CH3CH2OH').write(path, format='extxyz')
    return str(path)


@pytest.fixture
def crystal_file(tmp_path):
    build = pytest.importorskip('ase.build')
    path = tmp_path / 'si.extxyz'
    build.bulk('Si', cubic=True).write(path, format='extxyz')
    return str(path)
