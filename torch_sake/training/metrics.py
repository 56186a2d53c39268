from typing import Dict, Iterable, List, Tuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_sake.models import MoleculeModel
from torch_sake.potential import Potential

Metrics = Dict[str, float]

NAMES = ('energy', 'energy_per_atom', 'force')


def batch_size(potential: Potential, data: Data) -> Dict[str, int]:
    r"""Returns the number of graphs as an argument of the package's own
    models, which spares them a look at :obj:`data.batch`.
    """
    if isinstance(potential.model, MoleculeModel):
        return {'batch_size': data.num_graphs}
    return {}


@torch.no_grad()
def predict(potential: Potential, loader: Iterable[Data], dtype: torch.dtype,
            device: torch.device) -> Dict[str, Tensor]:
    r"""Returns the predictions and the labels of all frames, in float64.

    Shapes:
        - **output:** :obj:`"energy"` and :obj:`"energy_label"` and
          :obj:`"num_atoms"` :math:`(M)`, :obj:`"force"` and
          :obj:`"force_label"` :math:`(N, 3)`
    """
    parts: Dict[str, List[Tensor]] = {}
    for data in loader:
        data = data.to(device)
        energy, forces, _ = potential(data.z, data.pos.to(dtype), data.batch,
                                      **batch_size(potential, data))
        for key, value in (('energy', energy), ('force', forces),
                           ('energy_label', data.energy),
                           ('force_label', data.force),
                           ('num_atoms', data.ptr.diff())):
            parts.setdefault(key, []).append(value.double().cpu())
    return {key: torch.cat(values) for key, values in parts.items()}


def error_metrics(outputs: Dict[str, Tensor]) -> Metrics:
    r"""Returns mean absolute and root mean square errors of energies, energies
    per atom and force components, from the outputs of :func:`predict`.
    """
    energy = outputs['energy'] - outputs['energy_label']
    errors = dict(zip(NAMES, (energy, energy / outputs['num_atoms'],
                              outputs['force'] - outputs['force_label'])))
    metrics = {}
    for name, error in errors.items():
        metrics[f'{name}_mae'] = float(error.abs().mean())
        metrics[f'{name}_rmse'] = float(error.square().mean().sqrt())
    return metrics


def trivial_outputs(outputs: Dict[str, Tensor],
                    energy: Tensor) -> Dict[str, Tensor]:
    r"""The outputs of the predictor that knows the composition only: the given
    energies, zero forces.
    """
    return dict(outputs, energy=energy,
                force=torch.zeros_like(outputs['force_label']))


def format_table(title: str, rows: List[Tuple[str, Metrics]],
                 units: Dict[str, str]) -> str:
    r"""Returns a table of errors, one predictor a row."""
    energy, length = units['energy'], units['length']
    columns = (('energy', f'energy [{energy}]'),
               ('energy_per_atom', f'energy per atom [{energy}]'),
               ('force', f'force [{energy}/{length}]'))
    lines = [title, ' ' * 26 + ''.join(f'{head:>30}' for _, head in columns),
             ' ' * 26 + f'{"MAE":>18}{"RMSE":>12}' * len(columns)]
    for label, metrics in rows:
        lines.append(f'{label:<26}' + ''.join(
            f'{metrics[name + "_mae"]:>18.4f}{metrics[name + "_rmse"]:>12.4f}'
            for name, _ in columns))
    return '\n'.join(lines)
