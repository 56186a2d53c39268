import inspect
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_sake.checkpoint import load_checkpoint
from torch_sake.models import EGNN, GNN, LinearDynamics, RadialField, SAKENet
from torch_sake.models.stack import CONVS
from torch_sake.utils.checks import (
    check_edge_index,
    check_finite,
    check_pos,
    check_tensor,
    values_are_visible,
)
from torch_sake.utils.hints import (
    Count,
    PositiveFloat,
    PositiveInt,
    check_entry,
)
from torch_sake.utils.inputs import find_checkpoint
from torch_sake.utils.messages import errors_name, in_words
from torch_sake.utils.paths import PathLike
from torch_sake.utils.plain_checks import (
    check_option,
    check_positive_float,
    require,
)
from torch_sake.utils.weights import build_with, with_prefix

MODELS = {'SAKENet': SAKENet, 'EGNN': EGNN, 'GNN': GNN,
          'RadialField': RadialField, 'Linear': LinearDynamics}
SMALL = 0.01  # of what layers of SAKENet first do to velocities


class Arguments(TypedDict):
    model: Literal[tuple(MODELS)]
    in_channels: Count
    edge_dim: Count
    num_dimensions: PositiveInt
    time: PositiveFloat
    length: PositiveFloat
    hidden_channels: PositiveInt
    num_layers: PositiveInt
    conv: Literal[tuple(CONVS)]
    cutoff: PositiveFloat | None
    avg_num_neighbors: PositiveFloat
    has_velocity: bool


class ForecasterDescription(TypedDict):
    r"""What the description of a checkpoint must hold."""
    arguments: Arguments


class Forecaster(torch.nn.Module):
    r"""A model that says where things will be after a time :math:`T`, with
    the inputs of Satorras et al. (arXiv:2102.09844): node features and speeds
    at the nodes, edge features and squared distances at the edges.

    Inside, positions are in units of a length :math:`L`, and time in units of
    the step of a layer, :math:`T` over the number of layers: before it has
    learned anything, SAKENet, whose layers add velocities to positions,
    predicts about a constant velocity.

    Args:
        model (str): A name of :class:`~torch_sake.forecasting.DynamicsConfig`.
        in_channels (int): Size of the node features, zero if there are none.
        edge_dim (int): Size of the edge features, zero if there are none.
        num_dimensions (int): Number of dimensions.
        time (float): The time :math:`T`, in the unit of the velocities.
        length (float): The length :math:`L`.
        hidden_channels (int): Size of the hidden features.
        num_layers (int): Number of layers.
        conv (str, optional): The kind of layer of SAKENet.
            (default: :obj:`"vector"`)
        cutoff (float, optional): The cutoff of SAKENet.
            (default: :obj:`None`)
        avg_num_neighbors (float, optional): The average number of neighbors.
            (default: :obj:`8.0`)
        has_velocity (bool, optional): Whether the model has learned
            velocities. If not, predicted velocities are differences of
            positions over the time. (default: :obj:`False`)
    """
    def __init__(self, model: str, in_channels: int, edge_dim: int,
                 num_dimensions: int, time: float, length: float,
                 hidden_channels: int, num_layers: int, conv: str = 'vector',
                 cutoff: float | None = None,
                 avg_num_neighbors: float = 8.0, has_velocity: bool = False):
        super().__init__()
        check_option('model', model, MODELS)
        self.arguments = dict(
            model=model, in_channels=in_channels, edge_dim=edge_dim,
            num_dimensions=num_dimensions, time=time, length=length,
            hidden_channels=hidden_channels, num_layers=num_layers, conv=conv,
            cutoff=cutoff, avg_num_neighbors=avg_num_neighbors,
            has_velocity=has_velocity)
        self.time = check_positive_float('time', time)
        self.length = check_positive_float('length', length)
        self.has_velocity = has_velocity
        self.num_steps = 1 if model in ('GNN', 'Linear') else num_layers
        options = dict(
            in_channels=in_channels + 1, hidden_channels=hidden_channels,
            out_channels=1, num_layers=num_layers, edge_dim=edge_dim + 1,
            num_dimensions=num_dimensions, conv=conv,
            cutoff=None if cutoff is None else cutoff / length)
        taken = inspect.signature(MODELS[model]).parameters
        options = {name: options[name] for name in options if name in taken}
        if model == 'SAKENet' and conv == 'vector':
            options['avg_num_neighbors'] = avg_num_neighbors
        self.model = MODELS[model](**options)
        if model == 'SAKENet':
            with torch.no_grad():
                for layer in self.model.stack.convs:
                    layer.lin_vel.weight *= SMALL
                    layer.mlp_vel[-1].weight *= SMALL

    def forward(self, data: Data) -> tuple[Tensor, Tensor]:
        r"""Returns the positions and velocities after the time :math:`T`.

        Args:
            data (torch_geometric.data.Data): What there is, with :obj:`pos`,
                :obj:`vel`, :obj:`edge_index` and the features
                :obj:`x` and :obj:`edge_attr` of training.

        Shapes:
            - **output:** positions :math:`(N, D)`, velocities :math:`(N, D)`

        Raises:
            TypeError, ValueError: If something is missing, of the wrong type
                or shape, or, where looking is free, not finite.
        """
        self._check(data)
        pos = data.pos / self.length
        # The way of a step of a layer:
        unit = self.length * self.num_steps / self.time
        vel = data.vel / unit
        source, target = data.edge_index
        square = (pos[source] - pos[target]).square().sum(dim=1, keepdim=True)
        edge_attr = square.log1p()
        if data.edge_attr is not None:
            edge_attr = torch.cat([data.edge_attr, edge_attr], dim=1)
        x = vel.norm(dim=1, keepdim=True)
        if data.x is not None:
            x = torch.cat([data.x, x], dim=1)
        _, new_pos, new_vel = self.model(x, pos, data.edge_index, vel=vel,
                                         edge_attr=edge_attr)
        if not self.has_velocity:
            new_vel = (new_pos - pos) / self.num_steps
        return self.length * new_pos, unit * new_vel

    def _check(self, data: Data) -> None:
        if not isinstance(data, Data):
            raise TypeError(f"'data' must be of torch_geometric.data.Data "
                            f"(got {type(data)})")
        missing = [key for key in ('pos', 'vel', 'edge_index')
                   if data.get(key) is None]
        require(not missing, f"'data' must have 'pos', 'vel' and 'edge_index' "
                             f"(it has no {missing})")
        known = self.arguments
        num_nodes, num_dimensions = check_pos(
            data.pos, num_dimensions=known['num_dimensions']
            if known['model'] == 'GNN' else None).shape
        check_edge_index(data.edge_index, num_nodes)
        sizes = {'vel': (num_nodes, num_dimensions)}
        for key, rows, size in (
                ('x', num_nodes, known['in_channels']),
                ('edge_attr', data.edge_index.size(1), known['edge_dim'])):
            value = data.get(key)
            require((value is None) == (size == 0),
                    f"'data' must have '{key}' of {size} features, as it had "
                    f"in training (got {getattr(value, 'shape', None)})")
            if size > 0:
                sizes[key] = (rows, size)
        for key, size in sizes.items():
            check_tensor(key, data[key], size, data.pos.dtype)
            if values_are_visible(data[key]):
                check_finite(key, data[key])

    def __repr__(self) -> str:
        return (f"{self.__class__.__name__}({self.model}, time={self.time}, "
                f"length={self.length:.4g})")


def load_forecaster(path: PathLike) -> Forecaster:
    r"""Returns the trained :class:`Forecaster` of a checkpoint.

    Args:
        path (str or os.PathLike): The file, or the folder of a run, of which
            the best checkpoint is taken.

    Raises:
        ValueError: If there is none, or it is not one of a forecaster.
    """
    tensors, description = load_checkpoint(path)
    with errors_name(find_checkpoint(path)):
        return build_forecaster(tensors, description)


def build_forecaster(tensors: dict[str, Tensor],
                     description: dict[str, Any]) -> Forecaster:
    r"""Returns the forecaster of the tensors called :obj:`"forecaster.*"`."""
    kind = description.get('kind')
    require(kind == 'dynamics', f"The checkpoint must be of kind 'dynamics' "
                                f"(got one of kind {in_words(kind)})")
    check_entry('', description, ForecasterDescription)
    arguments, prefix = description['arguments'], 'forecaster.'
    return build_with(lambda: Forecaster(**arguments),
                      with_prefix(tensors, prefix), arguments, prefix)
