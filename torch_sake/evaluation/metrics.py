import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_sake.datasets.frames.labeled_frames import label_name
from torch_sake.evaluation.predictions import Predicted, Predictions
from torch_sake.models import MoleculeModel
from torch_sake.potentials.ensemble import Ensemble
from torch_sake.potentials.potential import Potential
from torch_sake.potentials.property import Property
from torch_sake.potentials.strain import empty_cells

Metrics = dict[str, float]
Predictor = Potential | Property | Ensemble


def predict_batch(potential: Predictor, data: Data) -> dict[str, Tensor]:
    r"""Returns the predictions of the labels that the frames have: of
    energies alone, which costs less, where there are no forces.

    Shapes:
        - **output:** :obj:`"energy"` (or the name of a property)
          :math:`(B)`, :obj:`"force"` :math:`(N, 3)` *(optional)*,
          :obj:`"stress"` :math:`(B, 3, 3)` *(optional)*
    """
    has_stress = 'stress' in data and bool(known_rows(data.stress).any())
    if 'force' not in data and not has_stress:
        name = potential.name if isinstance(potential, Property) else 'energy'
        return {name: predict_label(potential, data)}
    inputs, sizes = inputs_of(potential, data)
    energy, forces, stress = potential(*inputs, compute_stress=has_stress,
                                       **sizes)
    outputs = {'energy': energy, 'force': forces, 'stress': stress}
    return {key: value for key, value in outputs.items()
            if key in data and value is not None}


def predict_everything(potential: Predictor, data: Data) -> dict[str, Tensor]:
    r"""Returns all that can be predicted of a batch, whatever is labeled: also
    the standard deviations, where there are any, and stresses where there is a
    cell with a volume, zero for molecules among these.

    Shapes:
        - **output:** :obj:`"energy"` (or the name of a property) and
          :obj:`"energy_std"` :math:`(B)`, :obj:`"force"` and
          :obj:`"force_std"` :math:`(N, 3)`, :obj:`"stress"`
          :math:`(B, 3, 3)`
    """
    if isinstance(potential, Property):
        return {potential.name: predict_label(potential, data)}
    inputs, sizes = inputs_of(potential, data)
    has_volume = 'cell' in data and not bool(empty_cells(data.cell).all())
    return _with_std(potential, *inputs, compute_stress=has_volume, **sizes)


def _with_std(potential: Potential | Ensemble, *args,
              **kwargs) -> dict[str, Tensor]:
    names = ['energy', 'force', 'stress', 'energy_std']
    if potential.has_force_uncertainty:
        names.append('force_std')
    call = potential.statistics if potential.has_uncertainty else potential
    return {name: value for name, value in zip(names, call(*args, **kwargs))
            if value is not None}


def predict_batch_with_std(potential: Predictor,
                           data: Data) -> dict[str, Tensor]:
    r"""Returns what :func:`predict_batch` returns, with :obj:`"energy_std"`
    and :obj:`"force_std"` of potentials that have uncertainties.
    """
    if isinstance(potential, Property) or not potential.has_uncertainty:
        return predict_batch(potential, data)
    inputs, sizes = inputs_of(potential, data)
    has_stress = 'stress' in data and bool(known_rows(data.stress).any())
    if 'force' not in data and not has_stress:
        return dict(zip(('energy', 'energy_std'),
                        potential.energy_statistics(*inputs, **sizes)))
    return _with_std(potential, *inputs, compute_stress=has_stress, **sizes)


def predict_label(potential: Predictor, data: Data) -> Tensor:
    r"""Returns the predictions of the energies, or of the property, alone,
    :math:`(B)`.
    """
    inputs, sizes = inputs_of(potential, data)
    if isinstance(potential, Property):
        return potential(*inputs, **sizes)
    return potential.energy(*inputs, **sizes)


def inputs_of(potential: Predictor,
              data: Data) -> tuple[list[Tensor], dict[str, Any]]:
    r"""Returns the arguments of a potential for a batch."""
    inputs = [data.z, data.pos, data.batch]
    if 'cell' in data:
        inputs += [data.cell, data.pbc]
    # Spares the package's own models a look at the graphs:
    sizes = {name: data[name] for name in ('charge', 'spin') if name in data}
    if isinstance(getattr(potential, 'model', None), MoleculeModel):
        sizes['batch_size'] = data.num_graphs
    return inputs, sizes


def known_rows(label: Tensor) -> Tensor:
    r"""Returns which rows of a label are known, those without NaN."""
    return ~label.view(label.size(0), -1).isnan().any(dim=1)


def labeled(outputs: dict[str, Tensor], data: Data) -> Predictions:
    r"""Returns those predictions of a batch that have labels."""
    properties, stds = {}, {}
    for key, value in outputs.items():
        if key in data:
            known = known_rows(data[key])
            properties[key] = Predicted(
                value[known].double(), data[key][known].double(),
                known.nonzero().flatten())
            if f'{key}_std' in outputs:
                stds[key] = outputs[f'{key}_std'][known].double()
    return Predictions(data.ptr.diff(), data.z, properties, stds)


def predict_labels(potential: Predictor, data: Data) -> Predictions:
    r"""Returns the predictions of a batch, of all that is labeled."""
    return labeled(predict_batch(potential, data), data)


@torch.no_grad()
def predict(potential: Predictor, loader: Iterable[Data],
            device: torch.device,
            write: Callable[[Data, dict[str, Tensor]], None] | None = None,
            ) -> Predictions:
    r"""Returns the predictions of all frames, with their uncertainties if
    there are any, and their labels. Without labels of forces or of stresses,
    there are no predictions of them.

    Args:
        potential (Potential, Property or Ensemble): What predicts.
        loader (iterable): The batches.
        device (torch.device): Where to compute.
        write (callable, optional): A function that gets each batch and all
            that can be predicted of it, see :func:`predict_everything`.
            (default: :obj:`None`)
    """
    parts = []
    for data in loader:
        data = data.to(device)
        if write is None:
            part = labeled(predict_batch_with_std(potential, data), data)
        else:
            outputs = predict_everything(potential, data)
            write(data, outputs)
            part = labeled(outputs, data)
        parts.append(part.cpu())
    return Predictions.cat(parts)


def sum_errors(outputs: Predictions, properties: Sequence[str]) -> Tensor:
    r"""Returns the number, the sum of the absolute values and the sum of the
    squares of the errors of each of :obj:`properties`: sums of parts of the
    frames add up.

    Shapes:
        - **output:** :math:`(P, 3)`
    """
    errors = outputs.errors()
    sums = torch.zeros(len(properties), 3, dtype=torch.double,
                       device=outputs.num_atoms.device)
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


def error_metrics(outputs: Predictions) -> Metrics:
    r"""Returns mean absolute and root mean square errors of all properties,
    those of forces and stresses by component.
    """
    properties = list(outputs.errors())
    return metrics_of_sums(sum_errors(outputs, properties), properties)


def trivial_labels(potential: Predictor, loader: Iterable[Data]) -> Tensor:
    r"""Returns what there is without the model: energies (or properties) that
    follow from the references of single atoms alone, :math:`(M)`.
    """
    return torch.cat([
        potential.references(data.z, data.pos, data.batch, data.num_graphs)
        for data in loader])


def trivial_outputs(outputs: Predictions, trivial: Tensor,
                    label: str) -> Predictions:
    r"""The predictions of who knows the composition only: the given energies
    or properties, zero forces and stresses.
    """
    return replace(outputs, properties={
        name: rows._replace(value=trivial[rows.index] if name == label else
                            torch.zeros_like(rows.value))
        for name, rows in outputs.properties.items()})


def units_of_properties(units: dict[str, str]) -> dict[str, str]:
    r"""Returns the unit of each property that errors are reported of."""
    if 'energy' not in units:
        label = label_name(units)
        return {label: units[label]}
    energy, length = units['energy'], units['length']
    return {'energy': energy, 'energy_per_atom': energy,
            'force': f'{energy}/{length}', 'stress': f'{energy}/{length}^3'}
