from typing import Callable, Dict

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from torch_sake.training.metrics import Metrics, known_rows

HUBER_DELTA = 0.1


def huber(error: Tensor) -> Tensor:
    r"""Returns the Huber loss of each component."""
    return huber_loss(error, torch.zeros_like(error), reduction='none',
                      delta=HUBER_DELTA)


# Of the errors [M, C] of M energies, forces or stresses of C components; one
# number for each row:
PENALTIES: Dict[str, Callable[[Tensor], Tensor]] = {
    'norm': lambda error: torch.linalg.vector_norm(error, dim=1),
    'l1': lambda error: error.abs().mean(dim=1),
    'l2': lambda error: error.square().mean(dim=1),
    'huber': lambda error: huber(error).mean(dim=1),
}


class WeightedLoss:
    r"""The weighted sum of a penalty :math:`\ell` of the errors of each
    property :math:`y` (energies, forces, stresses), each in a unit of its own

    .. math::
        \mathcal{L} = \sum_y w_y \, \ell \left( \frac{y - \hat{y}}{u_y}
        \right)

    in the mean over the rows of the labels without NaN. The penalty is the
    length of the error (:obj:`"norm"`; that of an energy is its absolute
    value), or the mean absolute value (:obj:`"l1"`), square (:obj:`"l2"`) or
    Huber loss, with a threshold of 0.1 units (:obj:`"huber"`), of its
    components.

    Args:
        penalty (str): The penalty.
        weights (dict): The weight of each property :math:`w_y`.
        units (dict): The unit of each property :math:`u_y`.
        energy_per_atom (bool, optional): If set to :obj:`True`, errors of
            energies are divided by the number of atoms.
            (default: :obj:`False`)
    """
    def __init__(self, penalty: str, weights: Dict[str, float],
                 units: Dict[str, float], energy_per_atom: bool = False):
        self.penalty = PENALTIES[penalty]
        self.weights = weights
        self.units = units
        self.energy_per_atom = energy_per_atom

    def __call__(self, outputs: Dict[str, Tensor], labels: Dict[str, Tensor],
                 num_atoms: Tensor) -> Tensor:
        r"""Returns the loss.

        Args:
            outputs (dict): The predictions; others than those of
                :obj:`weights` do not count.
            labels (dict): The labels.
            num_atoms (torch.Tensor): The number of atoms of each graph.
        """
        loss = 0.0
        for name, weight in self.weights.items():
            if name not in outputs:
                continue
            output, label = outputs[name], labels[name]
            error = (output - label.to(output.dtype)).view(label.size(0), -1)
            if name == 'energy' and self.energy_per_atom:
                error = error / num_atoms.unsqueeze(1)
            # Without a choice of rows, which a GPU would have to wait for:
            known = known_rows(label)
            error = torch.where(known.unsqueeze(1), error / self.units[name],
                                0.0)
            loss = loss + weight * self.penalty(error).sum() / known.sum()
        return loss

    def score(self, metrics: Metrics) -> float:
        r"""Returns the weighted sum of mean absolute errors in their units,
        by which validations are compared.
        """
        return sum(weight * metrics.get(f'{name}_mae', 0.0) / self.units[name]
                   for name, weight in self.weights.items())
