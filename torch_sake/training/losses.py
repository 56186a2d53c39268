from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from torch_sake.evaluation.metrics import Metrics, known_rows
from torch_sake.runs.distributed import num_processes, sum_over_processes
from torch_sake.training.config import TrainConfig
from torch_sake.training.data import TrainingData
from torch_sake.utils.plain_checks import check_option

HUBER_DELTA = 0.1


def huber(error: Tensor) -> Tensor:
    r"""Returns the Huber loss of each component."""
    return huber_loss(error, torch.zeros_like(error), reduction='none',
                      delta=HUBER_DELTA)


# Of the errors [M, C] of M energies, forces or stresses of C components; one
# number for each row:
Penalty = Callable[[Tensor], Tensor]
PENALTIES: dict[str, Penalty] = {
    'norm': lambda error: torch.linalg.vector_norm(error, dim=1),
    'l1': lambda error: error.abs().mean(dim=1),
    'l2': lambda error: error.square().mean(dim=1),
    'huber': lambda error: huber(error).mean(dim=1),
}


def find_penalty(penalty: str | Penalty) -> Penalty:
    r"""Returns a penalty, given itself or its name.

    Raises:
        TypeError, ValueError: If it is neither.
    """
    if isinstance(penalty, str):
        return PENALTIES[check_option('loss', penalty, tuple(PENALTIES))]
    if not callable(penalty) or isinstance(penalty, type):
        raise TypeError(f"'loss' must be a function of the errors of a "
                        f"property, a subclass of WeightedLoss or one of "
                        f"{list(PENALTIES)} (got {penalty!r})")
    return penalty


def of_rows(weight: Tensor, name: str, num_atoms: Tensor,
            penalties: Tensor) -> Tensor:
    r"""Returns the weights of frames for the rows of a property: those of
    forces are atoms.
    """
    weight = weight.to(penalties.dtype)
    if name != 'force':
        return weight
    return weight.repeat_interleave(num_atoms, output_size=penalties.size(0))


class WeightedLoss:
    r"""The weighted sum of a penalty :math:`\ell` of the errors of each
    property :math:`y` (energies, forces, stresses), each in a unit of its own

    .. math::
        \mathcal{L} = \sum_y w_y \, \ell \left( \frac{y - \hat{y}}{u_y}
        \right)

    in the mean over the rows of the labels without NaN. Where frames have a
    :obj:`weight`, their penalties are multiplied by it, and those of single
    properties by :obj:`energy_weight`, :obj:`force_weight` and
    :obj:`stress_weight`, where there are such. The penalty is the
    length of the error (:obj:`"norm"`; that of an energy is its absolute
    value), or the mean absolute value (:obj:`"l1"`), square (:obj:`"l2"`) or
    Huber loss, with a threshold of 0.1 units (:obj:`"huber"`), of its
    components.

    Where several processes share the frames of a step, the mean is that over
    the rows of all of them: the mean of what they return is the loss.

    Args:
        penalty (str or callable): The penalty, or one of your own: a function
            of the errors :math:`(M, C)` that returns one number for each row.
        weights (dict): The weight of each property :math:`w_y`.
        units (dict): The unit of each property :math:`u_y`.
        energy_per_atom (bool, optional): If set to :obj:`True`, errors of
            energies are divided by the number of atoms.
            (default: :obj:`False`)
    """
    def __init__(self, penalty: str | Penalty, weights: dict[str, float],
                 units: dict[str, float], energy_per_atom: bool = False):
        self.penalty = find_penalty(penalty)
        self.weights = weights
        self.units = units
        self.energy_per_atom = energy_per_atom

    def __call__(self, outputs: dict[str, Tensor], labels: dict[str, Tensor],
                 num_atoms: Tensor) -> Tensor:
        r"""Returns the loss.

        Args:
            outputs (dict): The predictions; others than those of
                :obj:`weights` do not count.
            labels (dict): The labels, and the weights of frames.
            num_atoms (torch.Tensor): The number of atoms of each graph.
        """
        present = [name for name in self.weights if name in outputs]
        known = {name: known_rows(labels[name]) for name in present}
        counts = self._count(known, num_atoms)
        loss, processes = 0.0, num_processes()
        for name in present:
            output, label = outputs[name], labels[name]
            error = (output - label.to(output.dtype)).view(label.size(0), -1)
            if name == 'energy' and self.energy_per_atom:
                error = error / num_atoms.unsqueeze(1)
            # Without a choice of rows, which a GPU would have to wait for:
            error = torch.where(known[name].unsqueeze(1),
                                error / self.units[name], 0.0)
            penalties = self.penalty(error)
            if penalties.shape != error.shape[:1]:
                raise ValueError(f"'loss' must return one number for each of "
                                 f"{error.size(0)} rows of errors (got shape "
                                 f"{list(penalties.shape)})")
            for entry in ('weight', f'{name}_weight'):
                if entry in labels:
                    penalties = penalties * of_rows(
                        labels[entry], name, num_atoms, penalties)
            loss = loss + processes * self.weights[name] * penalties.sum() / (
                counts[name])
        return loss

    def _count(self, known: dict[str, Tensor],
               num_atoms: Tensor) -> dict[str, Tensor]:
        r"""Returns the number of known rows in all processes."""
        # A process may lack labels that others have: all of them send as many
        # numbers.
        counts = torch.stack([
            known[name].sum() if name in known else num_atoms.new_zeros(())
            for name in self.weights])
        counts = sum_over_processes(counts).clamp(min=1)
        return dict(zip(self.weights, counts))

    def score(self, metrics: Metrics) -> float:
        r"""Returns the weighted sum of mean absolute errors in their units,
        by which validations are compared; those of energies are per atom if
        they are so in the loss.
        """
        score = 0.0
        for name, weight in self.weights.items():
            column = name
            if name == 'energy' and self.energy_per_atom:
                column = 'energy_per_atom'
            score += weight * metrics.get(f'{column}_mae', 0.0) / (
                self.units[name])
        return score


def build_loss(data: TrainingData, config: TrainConfig,
               loss: Penalty | type[WeightedLoss] | None) -> WeightedLoss:
    r"""Returns the loss of a run: its settings say what its parts weigh, its
    data what they are in units of.

    Args:
        data (TrainingData): The data.
        config (TrainConfig): The run.
        loss (callable or type, optional): A penalty, or a class, in the place
            of that of the settings.
    """
    # What is learned, and the weight and the unit of its error:
    weights = {data.frames.label: 1.0}
    units = dict.fromkeys((*weights, 'energy', 'force'), data.scale)
    if 'force' in data.labels:
        weights = {'force': 1.0, 'energy': config.energy_weight}
    if data.volume_per_atom > 0:  # of frames with a stress
        weights['stress'] = config.stress_weight
        units['stress'] = data.scale / data.volume_per_atom
    kind, penalty = WeightedLoss, loss or config.loss
    if isinstance(loss, type) and issubclass(loss, WeightedLoss):
        kind, penalty = loss, config.loss
    return kind(penalty, weights, units, config.energy_per_atom)
