import math
from typing import Dict, Iterable, List, Sequence, Tuple, Union

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from torch_sake.datasets import Frames
from torch_sake.datasets.frames import label_name
from torch_sake.models import MoleculeModel
from torch_sake.potential import Potential
from torch_sake.property import Property

Metrics = Dict[str, float]
Predictor = Union[Potential, Property]


def predict_batch(potential: Predictor, data: Data,
                  dtype: torch.dtype) -> Dict[str, Tensor]:
    r"""Returns the predictions of the labels that the frames have: of
    energies alone, which costs less, where there are no forces.

    Shapes:
        - **output:** :obj:`"energy"` (or the name of a property)
          :math:`(B)`, :obj:`"force"` :math:`(N, 3)` *(optional)*,
          :obj:`"stress"` :math:`(B, 3, 3)` *(optional)*
    """
    inputs = [data.z, data.pos.to(dtype), data.batch]
    if 'cell' in data:
        inputs += [data.cell.to(dtype), data.pbc]
    # Spares the package's own models a look at the graphs:
    sizes = {}
    if isinstance(potential.model, MoleculeModel):
        sizes = {'batch_size': data.num_graphs}
    if isinstance(potential, Property):
        return {potential.name: potential(*inputs[:3], **sizes)}
    has_stress = 'stress' in data and not bool(data.stress.isnan().all())
    if 'force' not in data and not has_stress:
        return {'energy': potential.energy(*inputs, **sizes)}
    energy, forces, stress = potential(*inputs, compute_stress=has_stress,
                                       **sizes)
    outputs = {'energy': energy, 'force': forces, 'stress': stress}
    return {key: value for key, value in outputs.items()
            if key in data and value is not None}


def known_rows(label: Tensor) -> Tensor:
    r"""Returns which rows of a label are known, those without NaN."""
    return ~label.view(label.size(0), -1).isnan().any(dim=1)


def predict_labels(potential: Predictor, data: Data,
                   dtype: torch.dtype) -> Dict[str, Tensor]:
    r"""Returns the predictions and the labels of the rows of a batch that have
    labels, and the numbers of atoms, see :func:`predict`.
    """
    values = {'num_atoms': data.ptr.diff()}
    for key, value in predict_batch(potential, data, dtype).items():
        known = known_rows(data[key])
        values.update({key: value[known], f'{key}_label': data[key][known]})
    return {key: value.double() for key, value in values.items()}


@torch.no_grad()
def predict(potential: Predictor, loader: Iterable[Data], dtype: torch.dtype,
            device: torch.device) -> Dict[str, Tensor]:
    r"""Returns the predictions and the labels of all frames, in float64.
    Without labels of forces or of stresses, there are no predictions of them.

    Shapes:
        - **output:** :obj:`"energy"` (or the name of a property) and
          :obj:`"energy_label"` and :obj:`"num_atoms"` :math:`(M)`,
          :obj:`"force"` and :obj:`"force_label"` :math:`(N, 3)` *(optional)*,
          :obj:`"stress"` and :obj:`"stress_label"` of those frames where it is
          known, :math:`(M, 3, 3)` *(optional)*
    """
    parts: Dict[str, List[Tensor]] = {}
    for data in loader:
        values = predict_labels(potential, data.to(device), dtype)
        for key, value in values.items():
            parts.setdefault(key, []).append(value.cpu())
    return {key: torch.cat(values) for key, values in parts.items()}


def sum_errors(outputs: Dict[str, Tensor],
               properties: Sequence[str]) -> Tensor:
    r"""Returns the number, the sum of the absolute values and the sum of the
    squares of the errors of each of :obj:`properties`, from the outputs of
    :func:`predict` or of a part of the frames: sums of parts add up.

    Shapes:
        - **output:** :math:`(P, 3)`
    """
    errors = {name: outputs[name] - outputs[f'{name}_label']
              for name in properties if name in outputs}
    if 'energy' in errors:
        errors['energy_per_atom'] = errors['energy'] / outputs['num_atoms']
    sums = torch.zeros(len(properties), 3, dtype=torch.double,
                       device=outputs['num_atoms'].device)
    for row, name in zip(sums, properties):
        if name in errors:
            row[0] = errors[name].numel()
            row[1] = errors[name].abs().sum()
            row[2] = errors[name].square().sum()
    return sums


def metrics_of_sums(sums: Tensor, properties: Sequence[str]) -> Metrics:
    r"""Returns mean absolute and root mean square errors from what
    :func:`sum_errors` returns, of all properties with errors.
    """
    metrics = {}
    for name, (number, absolute, square) in zip(properties, sums.tolist()):
        if number > 0:
            metrics[f'{name}_mae'] = absolute / number
            metrics[f'{name}_rmse'] = math.sqrt(square / number)
    return metrics


def error_metrics(outputs: Dict[str, Tensor]) -> Metrics:
    r"""Returns mean absolute and root mean square errors of energies, energies
    per atom and, if there are any, components of forces and stresses, from the
    outputs of :func:`predict`.
    """
    properties = [key for key in outputs if f'{key}_label' in outputs]
    if 'energy' in properties:
        properties.insert(1, 'energy_per_atom')
    return metrics_of_sums(sum_errors(outputs, properties), properties)


def trivial_labels(potential: Predictor, frames: Frames) -> Tensor:
    r"""Returns what there is without the model: energies that follow from the
    composition alone, :math:`(M)`.
    """
    data = next(iter(DataLoader(frames, batch_size=len(frames))))
    return potential.references(data.z, data.pos, data.batch, len(frames))


def trivial_outputs(outputs: Dict[str, Tensor], trivial: Tensor,
                    label: str) -> Dict[str, Tensor]:
    r"""The outputs of the predictor that knows the composition only: the given
    energies or properties, zero forces and stresses.
    """
    zeros = {name: torch.zeros_like(outputs[name])
             for name in ('force', 'stress') if name in outputs}
    return {**outputs, label: trivial, **zeros}


def units_of_properties(units: Dict[str, str]) -> Dict[str, str]:
    r"""Returns the unit of each property that errors are reported of."""
    if 'energy' not in units:
        label = label_name(units)
        return {label: units[label]}
    energy, length = units['energy'], units['length']
    return {'energy': energy, 'energy_per_atom': energy,
            'force': f'{energy}/{length}', 'stress': f'{energy}/{length}^3'}


def format_table(title: str, rows: List[Tuple[str, Metrics]],
                 units: Dict[str, str]) -> str:
    r"""Returns a table of errors, one predictor a row."""
    columns = [(name, f"{name.replace('_', ' ')} [{unit}]")
               for name, unit in units_of_properties(units).items()
               if f'{name}_mae' in rows[0][1]]
    lines = [title, ' ' * 26 + ''.join(f'{head:>30}' for _, head in columns),
             ' ' * 26 + f'{"MAE":>18}{"RMSE":>12}' * len(columns)]
    for label, metrics in rows:
        lines.append(f'{label:<26}' + ''.join(
            f'{metrics[name + "_mae"]:>18.4f}{metrics[name + "_rmse"]:>12.4f}'
            for name, _ in columns))
    return '\n'.join(lines)
