r"""Runs that start from the potential of another one."""

import inspect
import os.path as osp
import warnings
from dataclasses import replace

import torch

from torch_sake.datasets.frames.charges import Pairs
from torch_sake.evaluation.metrics import Predictor, predict_label
from torch_sake.evaluation.report import check_units
from torch_sake.models import MoleculeModel
from torch_sake.models.registry import MODELS
from torch_sake.potentials.description import trained_states
from torch_sake.potentials.load import load_predictor
from torch_sake.training.bonds import fit_bonds
from torch_sake.training.config import MODEL_ARGUMENTS, TrainConfig
from torch_sake.training.data import TrainingData
from torch_sake.training.references import AtomicEnergyFit, batch_weights
from torch_sake.utils.elements import symbol_of
from torch_sake.utils.inputs import LAST, find_checkpoint
from torch_sake.utils.plain_checks import require
from torch_sake.utils.released import digest_of


class Pretrained:
    r"""The potential, or property, that a run starts from, with the moving
    average of its weights. It keeps its architecture, its scale and the
    embeddings and energies of its elements: before the first step, it says of
    these what it said before. Elements that are new to it have the embeddings
    that its own run began with.

    Args:
        config (TrainConfig): The run. One that goes on finds all of this in
            its own folder, and does not need the file it began with.
        init (str, optional): The checkpoint, that of the configuration if not
            given. (default: :obj:`None`)

    Raises:
        ValueError: If there is no checkpoint of a model of this package.
    """
    def __init__(self, config: TrainConfig, init: str | None = None):
        self.resumed = config.resume
        path = osp.join(config.out, LAST) if self.resumed else (
            init or config.init)
        potential, _, description = load_predictor(path)
        self.potential = potential.train()
        self.potential.rigidity = None  # of other weights
        self.units = description['units']
        self.readout = description.get('readout', 'add')
        self.elements = description['elements']
        self.states = trained_states(description)
        if self.resumed:
            self.elements = description.get('old_elements', self.elements)
        self.origin = description.get('init')  # of all that follow
        self.released = description.get('released')
        if self.released is not None:
            self.origin = {**self.released,
                           'sha256': digest_of(find_checkpoint(path))}
        self.description = {'model': description['model'],
                            'prior': description.get('prior'),
                            'bonds': description.get('bonds'),
                            'old_elements': self.elements}
        if 'pretraining' in description:
            self.description['pretraining'] = description['pretraining']
        if self.origin is not None:
            self.description['init'] = self.origin

    def settle(self, config: TrainConfig) -> TrainConfig:
        r"""Returns the settings, with the architecture of the potential.

        Raises:
            ValueError: If they say otherwise. Those that are as by default
                are taken as not given.
        """
        model = self.description['model']
        parameters = inspect.signature(MODELS[model['name']]).parameters
        settings = {'model': model['name'],
                    'zbl': self.description['prior'] is not None}
        for key in MODEL_ARGUMENTS:
            default = parameters[key].default if key in parameters else None
            settings[key] = model['arguments'].get(key, default)
        for key, value in settings.items():
            given = getattr(config, key)
            require(given in (value, getattr(TrainConfig, key)),
                    f"'{key}' must be that of the potential of 'init', "
                    f"{value!r} (got {given!r})")
        num_layers = len(self.potential.model.stack.convs)
        require(config.freeze is None or config.freeze <= num_layers,
                f"'freeze' must be at most the number of layers of the "
                f"potential of 'init', {num_layers} (got {config.freeze})")
        return replace(config, **settings)

    def adapt(self, data: TrainingData, config: TrainConfig) -> TrainingData:
        r"""Prepares the potential for the data, and returns these with its
        scale, its atomic energies and its elements.

        Raises:
            ValueError: If the labels and their units are not those of the
                potential.
        """
        check_units(data.frames.units, self.units)
        require(data.frames.readout == self.readout,
                f"The readout of the data must be that of the checkpoint, "
                f"{self.readout!r} (got {data.frames.readout!r})")
        new = sorted(set(data.elements) - set(self.elements))
        if not self.resumed:
            if data.isolated_atoms is not None:
                replace_atomic_energies(self.potential, data)
                if self.released or config.pretrain:
                    # Whose bonds are of another method.
                    fit_bonds(self.potential, data, learned=True)
            else:
                self._shift(data, config, new)
            if self.readout == 'add':  # means and moments have one zero
                warn_of_another_zero(self.potential, data)
        if config.freeze is not None:
            freeze_layers(self.potential.model, config.freeze, new)
        return replace(data, scale=self.potential.energy_scale *
                       data.moment_size,
                       atomic_energies=self.potential.atomic_energies,
                       isolated_atoms=self.potential.isolated_atoms,
                       elements=sorted({*self.elements, *new}),
                       states=self._states(data))

    def _shift(self, data: TrainingData, config: TrainConfig,
               new: list[int]) -> None:
        r"""Fits the energies of new elements or, where the potential is of
        another level of theory, of all.
        """
        every = config.refit or config.pretrain is not None
        shift_atomic_energies(self.potential, data,
                              data.elements if every else new)
        if self.released and not config.refit and abs(mean_error(
                self.potential, data)) > self.potential.energy_scale:
            print(f"'{config.init}' is of another zero of energy than the "
                  f"data: 'refit' is taken as true")
            shift_atomic_energies(self.potential, data, data.elements)
            warn_of_fitted(self.potential, data.elements)
        elif config.refit:
            warn_of_fitted(self.potential, data.elements)

    def _states(self, data: TrainingData) -> Pairs:
        r"""Returns the charges and multiplicities that are known then."""
        if self.potential.model.electronic is None:
            return data.states
        return [list(pair) for pair in sorted(
            {*self.states, *map(tuple, data.states)})]


@torch.no_grad()
def shift_atomic_energies(potential: Predictor, data: TrainingData,
                          elements: list[int]) -> None:
    r"""Adds to the atomic energies of some elements what comes closest, by
    least squares, to the errors of the potential's energies of the training
    frames. Among equals it is the shift of least norm. The references of a
    property are shifted in the same way; a dipole moment has none.

    Args:
        potential (Potential or Property): The potential.
        data (TrainingData): The data.
        elements (list of int): The atomic numbers.
    """
    if not elements or potential.atomic_energies is None:
        return
    fit, shifted = AtomicEnergyFit(), torch.tensor(elements)
    for part in data.batches('train'):
        error = part[data.frames.label] - predict_label(potential, part)
        atoms = torch.isin(part.z, shifted)
        weight = batch_weights(data.frames.readout, part)
        fit.add(part.z[atoms], part.batch[atoms], error, weight[atoms])
    potential.atomic_energies += fit.solve()[0]


def warn_of_fitted(potential: Predictor, elements: list[int]) -> None:
    r"""Warns if energies of isolated atoms are none any more."""
    isolated = sorted({*elements} & {*(potential.isolated_atoms or ())})
    if isolated:
        warnings.warn(f"The energies of isolated atoms of "
                      f"{', '.join(map(symbol_of, isolated))} are fitted by "
                      f"'refit': 'atomic_energies' would give them")


@torch.no_grad()
def replace_atomic_energies(potential: Predictor, data: TrainingData) -> None:
    r"""Gives the elements of the training frames the energies of isolated
    atoms that are known for these, of another level of theory, say. What the
    potential says of bonds stays.

    Args:
        potential (Potential): The potential.
        data (TrainingData): The data.

    Raises:
        ValueError: If the potential says nothing of isolated atoms: what it
            calls energies of elements is a fit.
    """
    known = potential.isolated_atoms
    require(known is not None,
            "'atomic_energies' must be 'fit' for the potential of 'init', "
            "which was trained without energies of isolated atoms")
    elements = torch.tensor(data.isolated_atoms)
    potential.atomic_energies[elements] = data.atomic_energies[elements]
    potential.isolated_atoms = {*known, *data.isolated_atoms}


@torch.no_grad()
def mean_error(potential: Predictor, data: TrainingData) -> float:
    r"""Returns the mean difference of the labels of the first training frames
    from what the potential says, per atom.
    """
    part = next(iter(data.batches('train')))
    error = part[data.frames.label] - predict_label(potential, part)
    return float((error / part.ptr.diff()).nanmean())


def warn_of_another_zero(potential: Predictor, data: TrainingData) -> None:
    r"""Warns if the labels of the first training frames differ, in the mean
    per atom, from those of the potential by more than its scale (in which
    forces are of the order of one per Angstrom): no weights should learn that.
    """
    label, mean = data.frames.label, mean_error(potential, data)
    if abs(mean) > potential.energy_scale:
        warnings.warn(f"The labels '{label}' of the data are {mean:.4g} "
                      f"{data.frames.units[label]} per atom away from what "
                      f"the potential of 'init' says: data of another "
                      f"level of theory or composition need 'refit'")


def freeze_layers(model: MoleculeModel, num_layers: int,
                  new_elements: list[int]) -> None:
    r"""Makes the embeddings of atoms and charges and the first layers of a
    model keep their weights in training. Those embeddings that belong to new
    elements do learn.

    Args:
        model (MoleculeModel): The model.
        num_layers (int): The number of layers.
        new_elements (list of int): The atomic numbers.
    """
    for conv in model.stack.convs[:num_layers]:
        conv.requires_grad_(False)
    if model.electronic is not None:
        model.electronic.requires_grad_(False)
    weight = model.embedding.weight
    if not new_elements:
        weight.requires_grad_(False)
        return
    # Rows without a gradient stay as they are: no step of Adam decays weights.
    learns = torch.zeros(weight.size(0), 1, dtype=torch.bool)
    learns[new_elements] = True
    weight.register_hook(
        lambda grad: torch.where(learns.to(grad.device), grad, 0.0))
