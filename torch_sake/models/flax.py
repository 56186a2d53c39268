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
    layers = [_Layer(arrays, f'd{index}') for index in range(num_layers)]

    state: dict[str, Tensor] = {}
    _copy_map(arrays, 'embedding_in', state, 'lin_in')
    for index, layer in enumerate(layers):
        layer.fill(state, f'stack.convs.{index}')
    _copy_map(arrays, 'embedding_out/layers_0', state, 'mlp_out.0')
    _copy_map(arrays, 'embedding_out/layers_2', state, 'mlp_out.2')

    hidden_channels, in_channels = state['lin_in.weight'].shape
    filter_inputs = layers[0].get('edge_model/mlp_in/kernel').size(0)
    settings = {
        'in_channels': in_channels,
        'hidden_channels': hidden_channels,
        'out_channels': state['mlp_out.2.weight'].size(0),
        'num_layers': num_layers,
        'heads': layers[0].get('semantic_attention_mlp/layers_0/bias').numel(),
        'num_rbf': layers[0].get('edge_model/kernel/means').numel(),
        'edge_dim': (filter_inputs - 2 * hidden_channels) or None,
        'update_pos': [layer.updates_pos for layer in layers],
        # The first layer that moves nodes has a gate for velocities that come
        # from outside, those after it have one in any case.
        'vel_input': next((layer.has_gate for layer in layers
                           if layer.updates_pos), False),
    }
    return settings, state


class _Layer:
    r"""The parameters of one official layer."""
    def __init__(self, arrays: Arrays, prefix: str):
        self.arrays = arrays
        self.prefix = prefix

    def get(self, name: str) -> Tensor:
        return _get(self.arrays, f'{self.prefix}/{name}')

    @property
    def updates_pos(self) -> bool:
        return f'{self.prefix}/v_mixing/kernel' in self.arrays

    @property
    def has_gate(self) -> bool:
        return f'{self.prefix}/velocity_mlp/layers_0/kernel' in self.arrays

    def fill(self, state: dict[str, Tensor], prefix: str) -> None:
        for source, target in LAYER_MAPS.items():
            if (source in OPTIONAL_MAPS and f'{self.prefix}/{source}/kernel'
                    not in self.arrays):
                continue
            _copy_map(self.arrays, f'{self.prefix}/{source}', state,
                      f'{prefix}.{target}')
        self._fill_edge_embedding(state, f'{prefix}.edge_embedding')
        self._order_heads(state, prefix)

    def _order_heads(self, state: dict[str, Tensor], prefix: str) -> None:
        r"""In the official messages the index of the head runs fastest, here
        it runs slowest, which is quicker to multiply out.
        """
        heads = self.get('semantic_attention_mlp/layers_0/bias').numel()
        weight = state[f'{prefix}.lin_coefficients.weight']
        order = torch.arange(weight.size(1)).view(-1, heads).t().flatten()
        state[f'{prefix}.lin_coefficients.weight'] = weight[:, order]
        weight = state[f'{prefix}.mlp_node.0.weight']
        before = self.get('edge_model/mlp_out/layers_0/bias').numel()
        weight[:, before:before + order.numel()] = weight[:, before + order]

    def _fill_edge_embedding(self, state: dict[str, Tensor],
                             prefix: str) -> None:
        r"""The maps of :math:`[h_j, h_i, a_{ij}]` fall into their parts."""
        filters = self.get('edge_model/mlp_in/kernel')  # [2F + A, K]
        hidden = self.get('edge_model/mlp_out/layers_0/kernel')
        num_inputs, num_rbf = filters.shape
        hidden_channels = hidden.size(1)
        if hidden.size(0) != num_inputs + num_rbf + 1:
            raise ValueError(
                f"'{self.prefix}/edge_model/mlp_out/layers_0/kernel' must "
                f"have {num_inputs + num_rbf + 1} rows (got {hidden.size(0)})")
        both = torch.cat([filters, hidden[:num_inputs]], dim=1).t()
        source, target, edge = both.split(
            [hidden_channels, hidden_channels,
             num_inputs - 2 * hidden_channels], dim=1)
        state[f'{prefix}.lin_source.weight'] = source.contiguous()
        state[f'{prefix}.lin_target.weight'] = target.contiguous()
        if edge.size(1) > 0:
            state[f'{prefix}.lin_edge.weight'] = edge.contiguous()
        state[f'{prefix}.lin_target.bias'] = torch.cat([
            self.get('edge_model/mlp_in/bias'),
            self.get('edge_model/mlp_out/layers_0/bias')
        ])
        state[f'{prefix}.lin_radial.weight'] = hidden[num_inputs:].t(
        ).contiguous()
        state[f'{prefix}.basis.means'] = self.get('edge_model/kernel/means')
        state[f'{prefix}.basis.betas'] = self.get('edge_model/kernel/betas')


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
