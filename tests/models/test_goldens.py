"""Parity with the official implementation: the files hold its parameters,
inputs and outputs (float32).
"""

import os
from pathlib import Path

import numpy
import pytest
import torch

from torch_sake import SAKENet, neighbor_list

HERE = Path(__file__).resolve().parents[1] / 'goldens'
SHARED = Path(os.environ.get('TORCH_SAKE_SHARED',
                             HERE.parents[2] / 'shared')) / 'goldens'
FILES = sorted(HERE.glob('*.npz')) + sorted(
    path for path in SHARED.glob('*.npz') if not (HERE / path.name).exists())


def largest_errors(path):
    """Returns the largest error of each output, float32."""
    golden = {
        key: torch.from_numpy(value)
        for key, value in numpy.load(path).items()
        if key in ('h', 'x', 'v', 'he', 'out_h', 'out_x', 'out_v', 'grad_x')
    }
    num_graphs, num_nodes, _ = golden['h'].shape
    batch = torch.arange(num_graphs).repeat_interleave(num_nodes)
    x, pos = golden['h'].flatten(0, 1), golden['x'].flatten(0, 1)
    vel = golden['v'].flatten(0, 1) if 'v' in golden else None
    pos.requires_grad_()
    edge_index = edge_attr = None
    if 'he' in golden:
        edge_index, _ = neighbor_list(pos, None, batch)
        source, target = edge_index % num_nodes
        edge_attr = golden['he'][batch[edge_index[1]], target, source]

    net = SAKENet.from_flax(path)
    out, new_pos, new_vel = net(x, pos, edge_index, vel, edge_attr, batch)
    outputs = {'out_h': out, 'out_x': new_pos, 'out_v': new_vel,
               'grad_x': torch.autograd.grad(out.sum(), pos)[0]}
    return {
        key: float((value.detach() - golden[key].flatten(0, 1)).abs().max())
        for key, value in outputs.items() if key in golden
    }


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_parity(path):
    for key, error in largest_errors(path).items():
        assert error < 2e-5, key


def test_from_flax_of_nested_dict():
    path = HERE / 'one_layer.npz'
    nested = {}
    for key, value in numpy.load(path).items():
        if key.startswith('param/'):
            *parents, name = key.split('/')[1:]
            level = nested
            for parent in parents:
                level = level.setdefault(parent, {})
            level[name] = value
    expected = SAKENet.from_flax(path).state_dict()
    for params in (nested, {'params': nested}):
        state_dict = SAKENet.from_flax(params).state_dict()
        assert state_dict.keys() == expected.keys()
        for key, value in state_dict.items():
            assert torch.equal(value, expected[key])


def test_from_flax_names_what_is_missing(tmp_path):
    arrays = dict(numpy.load(HERE / 'one_layer.npz'))
    del arrays['param/d0/x_mixing/layers_0/kernel']
    numpy.savez(tmp_path / 'part.npz', **arrays)
    with pytest.raises(ValueError, match='d0/x_mixing/layers_0/kernel'):
        SAKENet.from_flax(tmp_path / 'part.npz')
    numpy.savez(tmp_path / 'other.npz', x=numpy.zeros(3))
    with pytest.raises(ValueError, match="keys 'param/...'"):
        SAKENet.from_flax(tmp_path / 'other.npz')
    with pytest.raises(TypeError, match="'params' must be"):
        SAKENet.from_flax(3)


if __name__ == '__main__':  # prints the table of largest errors
    keys = ('out_h', 'out_x', 'out_v', 'grad_x')
    print(f"{'file':<14}" + ''.join(f'{key:>10}' for key in keys))
    for path in FILES:
        errors = largest_errors(path)
        print(f'{path.stem:<14}' + ''.join(
            f'{errors[key]:>10.1e}' if key in errors else f"{'-':>10}"
            for key in keys))
