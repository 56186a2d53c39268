r"""Potentials and properties from checkpoints."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_sake.checkpoint import load_checkpoint
from torch_sake.models.readout import NUM_ELEMENTS
from torch_sake.models.registry import MODELS, find_model
from torch_sake.potentials.bonds import BondEnergy, Priors
from torch_sake.potentials.description import (
    check_description,
    check_kind,
    trained_states,
)
from torch_sake.potentials.ensemble import Ensemble
from torch_sake.potentials.members import warn_of_members
from torch_sake.potentials.potential import Potential
from torch_sake.potentials.property import Property
from torch_sake.potentials.uncertainty import build_rigidity
from torch_sake.potentials.zbl import ZBLRepulsion
from torch_sake.utils.elements import symbols_of
from torch_sake.utils.inputs import find_checkpoint
from torch_sake.utils.messages import errors_name, in_words
from torch_sake.utils.paths import PathLike
from torch_sake.utils.released import read_card, released_names
from torch_sake.utils.weights import build_with, with_prefix


def pretrained() -> dict[str, str]:
    r"""Returns the potentials that come with the package: by name, what each
    of them is. They are used as :obj:`'pretrained:NAME'` wherever a checkpoint
    is given.

    .. code-block:: python

        from torch_sake import load_potential, pretrained

        pretrained()  # {'xtb-organic': '...'}
        potential = load_potential('pretrained:xtb-organic')
    """
    return {name: read_card(name)['description'] for name in released_names()}


def load_potential(path: PathLike,
                   model: str | type | None = None) -> Potential:
    r"""Returns the trained :class:`~torch_sake.Potential` of a checkpoint.

    Args:
        path (str or os.PathLike): The file, the folder of a training run, or
            :obj:`'pretrained:NAME'`, a potential that comes with the package,
            see :func:`~torch_sake.pretrained`.
        model (str or type, optional): The class, or its import path, such as
            :obj:`"my_package.my_module:MyModel"`, of a model that is not of
            this package: nothing is imported that a file names.
            (default: :obj:`None`)

    Raises:
        ValueError: If there is none, it cannot be used, or it needs a
            :obj:`model`. The error names the file and what is wrong in it.
    """
    return load_predictor(path, 'potential', model=model)[0]


def load_property(path: PathLike,
                  model: str | type | None = None) -> Property:
    r"""Returns the trained :class:`~torch_sake.Property` of a checkpoint, see
    :func:`load_potential`.
    """
    return load_predictor(path, 'property', model=model)[0]


def load_predictor(
    path: PathLike, *kinds: str, model: str | type | None = None
) -> tuple[Potential | Property, dict[str, Tensor], dict[str, Any]]:
    r"""Returns the trained potential, or property, of a checkpoint, with its
    tensors and its description, see :func:`load_potential`.

    Args:
        *kinds (str): What it may be; a :obj:`"potential"` or a
            :obj:`"property"` if not given.
    """
    if model is not None:
        model = find_model(model)
    tensors, description = load_checkpoint(path)
    with errors_name(find_checkpoint(path)):
        check_kind(description, *(kinds or ('potential', 'property')))
        return (build_predictor(tensors, description, model), tensors,
                description)


def load_checkpoints(
    paths: PathLike | Sequence[PathLike], model: str | type | None = None
) -> tuple[Potential | Ensemble, dict[str, str], list[int]]:
    r"""Returns the potential of a checkpoint or the ensemble of several, in
    the highest precision among them, their units, and the elements that all of
    them were trained on. A :obj:`model` is that of all of them, see
    :func:`load_potential`.

    Raises:
        TypeError, ValueError: If these are no paths, or checkpoints do not fit
            together.
    """
    return load_trained(paths, model)[:3]


class Trained(NamedTuple):
    r"""A potential, or several, with their units, the elements and the pairs
    of charge and multiplicity that all of them were trained on; none of these
    if a checkpoint does not say.
    """
    potential: Potential | Ensemble
    units: dict[str, str]
    elements: list[int]
    states: set[tuple[int, int]]


def load_trained(paths: PathLike | Sequence[PathLike],
                 model: str | type | None = None) -> Trained:
    r"""As :func:`load_checkpoints`, with all that is known of a potential."""
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    if not isinstance(paths, (list, tuple)) or not paths:
        raise TypeError(f"'potential' must be a Potential, an Ensemble or the "
                        f"paths of checkpoints (got {type(paths)})")
    potentials, _, descriptions = zip(*(
        load_predictor(path, 'potential', model=model) for path in paths))
    units = descriptions[0]['units']
    for path, description in zip(paths, descriptions):
        if description['units'] != units:
            raise ValueError(f"'{path}' must have the units of the first "
                             f"checkpoint, {units} "
                             f"(got {description['units']})")
    trained = [description['elements'] for description in descriptions]
    elements = sorted(set.intersection(*map(set, trained)))
    if not elements:
        named = dict(zip(map(str, paths), map(symbols_of, trained)))
        raise ValueError(f"Checkpoints must have elements in common (got "
                         f"{named}, atomic numbers {trained})")
    states = set.intersection(*map(trained_states, descriptions))
    if len(paths) == 1:
        return Trained(potentials[0], units, elements, states)
    warn_of_members(list(map(str, paths)), potentials, elements, units)
    # Members are called with the same numbers: those of the most exact one.
    dtypes = {parameter.dtype for potential in potentials
              for parameter in potential.parameters()}
    dtype = max(dtypes, key=lambda dtype: torch.finfo(dtype).bits)
    ensemble = Ensemble([potential.to(dtype) for potential in potentials])
    return Trained(ensemble, units, elements, states)


def build_predictor(tensors: dict[str, Tensor], description: dict[str, Any],
                    model: type | None = None) -> Potential | Property:
    r"""Returns the potential or the property of the tensors called
    :obj:`"potential.*"`, with a model of this package or, where the
    description names another one, the given :obj:`model`.

    Raises:
        TypeError, ValueError: If an entry of the description or a tensor is
            missing, of another type or shape, or not finite.
    """
    check_description(description, 'potential', 'property')
    model_class, arguments = choose_model(description['model'], model)
    prefix = 'potential.'
    state = with_prefix(tensors, prefix)
    if 'potential' in description:
        named = set(description['potential']['names'])
        if named != state.keys():
            raise ValueError(f"The tensors '{prefix}*' must be those that the "
                             f"description names (but for "
                             f"{in_words(sorted(named ^ state.keys()))})")

    def build() -> Potential | Property:
        references = None
        if 'atomic_energies' in state:
            references = torch.zeros(NUM_ELEMENTS, dtype=torch.double)
        return assemble(model_class(**arguments), references, description)

    # Constructors of others may need the values of their tensors:
    return build_with(build, state, arguments, prefix,
                      ours=model_class in MODELS.values())


def choose_model(found: dict[str, Any] | None,
                 given: type | None) -> tuple[type, dict[str, Any]]:
    r"""Returns the class of a model, and its arguments.

    Args:
        found (dict or None): What a description says of it. No code comes from
            there.
        given (type or None): What the user says.

    Raises:
        ValueError: If the user would have to say, or says something else.
    """
    if found is None:
        raise ValueError("The checkpoint must be of a model of torch_sake "
                         "(got the parameters of another one)")
    name, ours = found['name'], MODELS.get(found['name'])
    if ours is None and given is None:
        raise ValueError(f"The checkpoint says that its model is {name!r}, "
                         f"which is not of torch_sake. Nothing is imported "
                         f"that a file names: if it is yours, say so by "
                         f"model={name!r}")
    if ours is not None and given not in (None, ours):
        raise ValueError(f"'model' must be {name!r}, as the checkpoint says "
                         f"(got {given})")
    return given or ours, found['arguments']


def assemble(model: torch.nn.Module, references: Tensor | None,
             description: dict[str, Any]) -> Potential | Property:
    r"""Returns the potential or the property around a model, as a description
    has it.
    """
    if description.get('kind') == 'property':
        return Property(model, description['energy_scale'], references,
                        description['readout'], description['label'])
    return Potential(model, description['energy_scale'], references,
                     build_prior(description),
                     isolated_atoms=description.get('isolated_atoms'),
                     rigidity=build_rigidity(
                         model, description.get('uncertainty')))


def build_prior(description: dict[str, Any]) -> torch.nn.Module | None:
    r"""Returns the parts of an energy that are not learned."""
    priors: list[torch.nn.Module] = []
    if description.get('prior') is not None:
        priors.append(ZBLRepulsion(**description['prior']))
    if description.get('bonds') is not None:
        energies = torch.zeros(NUM_ELEMENTS, dtype=torch.double)
        priors.append(BondEnergy(energies, **description['bonds']))
    return Priors(priors) if len(priors) > 1 else (priors or [None])[0]
