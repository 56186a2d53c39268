from typing import Dict, Iterable, List, Tuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_sake.models import MoleculeModel
from torch_sake.potential import Potential

Metrics = Dict[str, float]


def predict_batch(potential: Potential, data: Data,
                  dtype: torch.dtype) -> Dict[str, Tensor]:
    r"""Returns the predictions of the labels that the frames have: of
    energies alone, which costs less, where there are no forces.

    Shapes:
        - **output:** :obj:`"energy"` :math:`(B)`, :obj:`"force"`
          :math:`(N, 3)` *(optional)*
    """
    inputs = (data.z, data.pos.to(dtype), data.batch)
    # Spares the package's own models a look at the graphs:
    sizes = {}
    if isinstance(potential.model, MoleculeModel):
        sizes = {'batch_size': data.num_graphs}
    if 'force' not in data:
        return {'energy': potential.energy(*inputs, **sizes)}
    energy, forces, _ = potential(*inputs, **sizes)
    return {'energy': energy, 'force': forces}


@torch.no_grad()
def predict(potential: Potential, loader: Iterable[Data], dtype: torch.dtype,
            device: torch.device) -> Dict[str, Tensor]:
    r"""Returns the predictions and the labels of all frames, in float64.
    Without labels of forces, there are no predictions of them.

    Shapes:
        - **output:** :obj:`"energy"` and :obj:`"energy_label"` and
          :obj:`"num_atoms"` :math:`(M)`, :obj:`"force"` and
          :obj:`"force_label"` :math:`(N, 3)` *(optional)*
    """
    parts: Dict[str, List[Tensor]] = {}
    for data in loader:
        data = data.to(device)
        values = {'num_atoms': data.ptr.diff()}
        for key, value in predict_batch(potential, data, dtype).items():
            values.update({key: value, f'{key}_label': data[key]})
        for key, value in values.items():
            parts.setdefault(key, []).append(value.double().cpu())
    return {key: torch.cat(values) for key, values in parts.items()}


def error_metrics(outputs: Dict[str, Tensor]) -> Metrics:
    r"""Returns mean absolute and root mean square errors of energies, energies
    per atom and, if there are any, force components, from the outputs of
    :func:`predict`.
    """
    energy = outputs['energy'] - outputs['energy_label']
    errors = {'energy': energy,
              'energy_per_atom': energy / outputs['num_atoms']}
    if 'force' in outputs:
        errors['force'] = outputs['force'] - outputs['force_label']
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
    trivial = dict(outputs, energy=energy)
    if 'force' in outputs:
        trivial['force'] = torch.zeros_like(outputs['force'])
    return trivial


def format_table(title: str, rows: List[Tuple[str, Metrics]],
                 units: Dict[str, str]) -> str:
    r"""Returns a table of errors, one predictor a row."""
    energy, length = units['energy'], units['length']
    columns = (('energy', f'energy [{energy}]'),
               ('energy_per_atom', f'energy per atom [{energy}]'),
               ('force', f'force [{energy}/{length}]'))
    columns = [(name, head) for name, head in columns
               if f'{name}_mae' in rows[0][1]]
    lines = [title, ' ' * 26 + ''.join(f'{head:>30}' for _, head in columns),
             ' ' * 26 + f'{"MAE":>18}{"RMSE":>12}' * len(columns)]
    for label, metrics in rows:
        lines.append(f'{label:<26}' + ''.join(
            f'{metrics[name + "_mae"]:>18.4f}{metrics[name + "_rmse"]:>12.4f}'
            for name, _ in columns))
    return '\n'.join(lines)
