r"""Errors of forecasts: one horizon ahead beside trivial predictors, several
horizons ahead, and what becomes of energy and momentum.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from torch_sake.datasets import NBody
from torch_sake.datasets.motion.particles import pairs
from torch_sake.forecasting.data import Batches

EVAL_BATCH_SIZE = 500
Predictor = Callable[[Data], tuple[Tensor, Tensor]]


class Rollout(NamedTuple):
    r"""Predictions, each of which is the input of the next.

    Shapes:
        - way: positions of input and predictions :math:`(K + 1, N, D)`
        - velocities at the end, predicted :math:`(N, D)`
        - mean squared error of a coordinate at the end
    """
    way: Tensor
    vel: Tensor
    mse: float


@torch.no_grad()
def roll_out(predict: Predictor, dataset: InMemoryDataset,
             num_horizons: int) -> Rollout:
    r"""Predicts the targets of a data set, which are :obj:`num_horizons`
    horizons ahead, by as many predictions, each from the positions and
    velocities that the one before has predicted.
    """
    parts = []
    for data in Batches(dataset, EVAL_BATCH_SIZE):
        way = [data.pos]
        for _ in range(num_horizons):
            data.pos, data.vel = predict(data)
            way.append(data.pos)
        parts.append((torch.stack(way), data.vel))
    ways, velocities = zip(*parts)
    way = torch.cat(ways, dim=1)
    error = (way[-1] - dataset._data.y).square().mean()
    return Rollout(way, torch.cat(velocities), float(error))


def trivial_predictors(train: InMemoryDataset) -> dict[str, Predictor]:
    r"""Returns predictors that learn next to nothing: no motion, constant
    velocity, and constant velocity for the time that fits the training
    systems best.
    """
    data = train._data
    fitted = float((data.vel * (data.y - data.pos)).sum() /
                   data.vel.square().sum())
    times = {'no motion': 0.0, 'constant velocity': train.time,
             'fitted velocity': fitted}
    return {name: lambda data, time=time: (data.pos + time * data.vel,
                                           data.vel)
            for name, time in times.items()}


def energy_and_momentum(pos: Tensor, vel: Tensor,
                        charge: Tensor) -> tuple[Tensor, Tensor]:
    r"""Returns the energy :math:`\sum_i |\vec{v}_i|^2 / 2 + \sum_{i<j} q_i q_j
    / r_{ij}` and the momentum of systems of charged particles of mass 1.

    Shapes:
        - **input:** positions and velocities :math:`(S, n, D)`, charges
          :math:`(S, n)`
        - **output:** energies :math:`(S)`, momenta :math:`(S, D)`
    """
    row, column = pairs(pos.size(1))
    dist = (pos[:, row] - pos[:, column]).norm(dim=2)  # [S, P]
    potential = (charge[:, row] * charge[:, column] / dist).sum(dim=1)
    return (0.5 * vel.square().sum(dim=(1, 2)) + potential, vel.sum(dim=1))


def conservation(rollout: Rollout,
                 dataset: InMemoryDataset) -> dict[str, float]:
    r"""Returns how far energy and momentum are off, of charged particles: the
    median over systems of the absolute difference of the energy and the length
    of that of the momentum, of prediction and truth and, for comparison, of
    truth and input.
    """
    data = dataset._data
    size = int(dataset.slices['pos'][1])
    charge = data.charge.view(-1, size)
    predicted, true, first = (
        energy_and_momentum(*(value.reshape(-1, size, value.size(1))
                              for value in state), charge)
        for state in ((rollout.way[-1], rollout.vel), (data.y, data.y_vel),
                      (data.pos, data.vel)))
    result = {}
    for name, one, other in (('', predicted, true), ('true_', true, first)):
        result[f'{name}energy'] = float((one[0] - other[0]).abs().median())
        result[f'{name}momentum'] = float(
            (one[1] - other[1]).norm(dim=1).median())
    return result


def evaluate(predict: Predictor, train: InMemoryDataset,
             tests: list[InMemoryDataset]
             ) -> tuple[dict[str, Any], Rollout]:
    r"""Returns the errors of a predictor and of the trivial ones on test data
    with targets after one horizon, two, and so on, and the last predictions.
    """
    rows = []
    for number, test in enumerate(tests, 1):
        rollout = roll_out(predict, test, number)
        row = {'horizons': number, 'systems': len(test), 'model': rollout.mse}
        for name, trivial in trivial_predictors(train).items():
            row[name] = roll_out(trivial, test, number).mse
        if isinstance(test, NBody):
            row.update(conservation(rollout, test))
        rows.append(row)
    return {'test_mse': rows[0]['model'], 'rollout': rows}, rollout
