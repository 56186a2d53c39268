r"""Parameters of the official implementation (flax) as those of
:class:`~torch_sake.SAKENet`.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy
import torch
from torch import Tensor

Arrays = dict[str, Tensor]

# Where a map of the official layer goes as it is, kernel transposed:
LAYER_MAPS = {
    'edge_model/mlp_out/layers_2': 'edge_embedding.lin_out',
    'semantic_attention_mlp/layers_0': 'attention.lin',
    'x_mixing/layers_0': 'lin_coefficients',
    'post_norm_mlp/layers_0': 'mlp_norm.0',
    'post_norm_mlp/layers_2': 'mlp_norm.2',
    'node_mlp/layers_0': 'mlp_node.0',
    'node_mlp/layers_2': 'mlp_node.2',
    'v_mixing': 'lin_vel',
    'velocity_mlp/layers_0': 'mlp_vel.0',
    'velocity_mlp/layers_2': 'mlp_vel.2',
}
OPTIONAL_MAPS = ('v_mixing', 'velocity_mlp/layers_0', 'velocity_mlp/layers_2')
# The same for the maps around the layers:
OTHER_MAPS = {
    'embedding_in': 'lin_in',
    'embedding_out/layers_0': 'mlp_out.0',
    'embedding_out/layers_2': 'mlp_out.2',
}


def read_flax(
    params: Mapping[str, Any] | str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    r"""Returns the arguments of :class:`~torch_sake.SAKENet` and its
    :obj:`state_dict`, see :meth:`~torch_sake.SAKENet.from_flax`.
    """
    arrays = _flatten(params)
    names = {name.split('/')[0] for name in arrays}
    num_layers = sum(name[0] == 'd' and name[1:].isdigit() for name in names)
    if num_layers == 0:
        raise ValueError("'params' must hold the layers 'd0', 'd1', ... of "
                         f"an official model (got {sorted(names)})")
    state: Arrays = {}
    for source, target in OTHER_MAPS.items():
        _copy_map(arrays, source, state, target)
    for index in range(num_layers):
        _read_layer(arrays, f'd{index}', state, f'stack.convs.{index}')

    hidden_channels, in_channels = state['lin_in.weight'].shape
    filter_inputs = arrays['d0/edge_model/mlp_in/kernel'].size(0)
    moves, has_gate = ([f'd{index}/{name}/kernel' in arrays
                        for index in range(num_layers)]
                       for name in ('v_mixing', 'velocity_mlp/layers_0'))
    settings = {
        'in_channels': in_channels,
        'hidden_channels': hidden_channels,
        'out_channels': state['mlp_out.2.weight'].size(0),
        'num_layers': num_layers,
        'heads': arrays['d0/semantic_attention_mlp/layers_0/bias'].numel(),
        'num_rbf': arrays['d0/edge_model/kernel/means'].numel(),
        'edge_dim': (filter_inputs - 2 * hidden_channels) or None,
        'update_pos': moves,
        # The first layer that moves nodes has a gate for velocities that come
        # from outside, those after it have one in any case.
        'vel_input': any(moves) and has_gate[moves.index(True)],
    }
    return settings, state


def _read_layer(arrays: Arrays, source: str, state: Arrays,
                target: str) -> None:
    for name, ours in LAYER_MAPS.items():
        if name not in OPTIONAL_MAPS or f'{source}/{name}/kernel' in arrays:
            _copy_map(arrays, f'{source}/{name}', state, f'{target}.{ours}')
    _read_edge_embedding(arrays, f'{source}/edge_model', state,
                         f'{target}.edge_embedding')
    # In the official messages the index of the head runs fastest, here it runs
    # slowest, which is quicker to multiply out.
    heads = _get(arrays, f'{source}/semantic_attention_mlp/layers_0/bias'
                 ).numel()
    weight = state[f'{target}.lin_coefficients.weight']
    order = torch.arange(weight.size(1)).view(-1, heads).t().flatten()
    state[f'{target}.lin_coefficients.weight'] = weight[:, order]
    weight = state[f'{target}.mlp_node.0.weight']
    before = _get(arrays, f'{source}/edge_model/mlp_out/layers_0/bias').numel()
    weight[:, before:before + order.numel()] = weight[:, before + order]


def _read_edge_embedding(arrays: Arrays, source: str, state: Arrays,
                         target: str) -> None:
    r"""The maps of :math:`[h_j, h_i, a_{ij}]` fall into their parts."""
    filters = _get(arrays, f'{source}/mlp_in/kernel')  # [2F + A, K]
    hidden = _get(arrays, f'{source}/mlp_out/layers_0/kernel')
    num_inputs, num_rbf = filters.shape
    if hidden.size(0) != num_inputs + num_rbf + 1:
        raise ValueError(f"'{source}/mlp_out/layers_0/kernel' must have "
                         f"{num_inputs + num_rbf + 1} rows "
                         f"(got {hidden.size(0)})")
    both = torch.cat([filters, hidden[:num_inputs]], dim=1).t()
    size = hidden.size(1)
    parts = both.split([size, size, num_inputs - 2 * size], dim=1)
    for name, part in zip(('source', 'target', 'edge'), parts):
        if part.size(1) > 0:
            state[f'{target}.lin_{name}.weight'] = part.contiguous()
    state[f'{target}.lin_target.bias'] = torch.cat([
        _get(arrays, f'{source}/{name}/bias')
        for name in ('mlp_in', 'mlp_out/layers_0')])
    state[f'{target}.lin_radial.weight'] = hidden[num_inputs:].t().contiguous()
    for name in ('means', 'betas'):
        state[f'{target}.basis.{name}'] = _get(arrays,
                                               f'{source}/kernel/{name}')


def _flatten(params: Mapping[str, Any] | str) -> Arrays:
    if isinstance(params, (str, os.PathLike)):
        with numpy.load(params, allow_pickle=False) as file:
            arrays = {
                key[len('param/'):]: file[key]
                for key in file.files if key.startswith('param/')
            }
        if not arrays:
            raise ValueError(f"'params' must be a file with keys 'param/...' "
                             f"(got {params})")
    elif isinstance(params, Mapping):
        arrays = {}
        stack = [('', params.get('params', params))]
        while stack:
            prefix, level = stack.pop()
            for key, value in level.items():
                if isinstance(value, Mapping):
                    stack.append((f'{prefix}{key}/', value))
                else:
                    arrays[f'{prefix}{key}'] = value
    else:
        raise TypeError(f"'params' must be a nested dictionary or a path "
                        f"(got {type(params)})")
    return {
        name: torch.from_numpy(numpy.array(value))
        for name, value in arrays.items()
    }


def _get(arrays: Arrays, name: str) -> Tensor:
    if name not in arrays:
        raise ValueError(f"'params' must hold '{name}', as the official "
                         f"'DenseSAKEModel' does")
    return arrays[name]


def _copy_map(arrays: Arrays, source: str, state: dict[str, Tensor],
              target: str) -> None:
    state[f'{target}.weight'] = _get(arrays, f'{source}/kernel').t(
    ).contiguous()
    if f'{source}/bias' in arrays:
        state[f'{target}.bias'] = arrays[f'{source}/bias']
