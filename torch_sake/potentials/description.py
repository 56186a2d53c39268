r"""What the description of a checkpoint must hold, by its kind."""

from collections.abc import Mapping
from functools import partial
from typing import (
    Annotated,
    Any,
    Literal,
    TypedDict,
)

from torch_sake.models.readout import NUM_ELEMENTS, READOUTS
from torch_sake.models.registry import MODELS
from torch_sake.utils.hints import (
    Count,
    FiniteFloat,
    PositiveFloat,
    PositiveInt,
    check_entry,
)
from torch_sake.utils.messages import in_words
from torch_sake.utils.names import is_import_path
from torch_sake.utils.plain_checks import check_elements, require
from torch_sake.utils.released import Mark, Origin
from torch_sake.utils.units import LENGTHS, check_units, check_units_of_label

Elements = Annotated[list[int], partial(check_elements, end=NUM_ELEMENTS)]
LabelUnits = Annotated[dict[str, str], check_units_of_label]
EnergyUnits = Annotated[dict[str, str], lambda name, value: check_units(value)]


class TensorNames(TypedDict):
    names: list[str]


class ModelArguments(TypedDict, total=False):
    r"""Those that the class of a model would not check."""
    cutoff: PositiveFloat | None
    avg_num_neighbors: PositiveFloat
    num_layers: PositiveInt
    embed_charge: bool
    readout: Literal[READOUTS]


class OwnModel(TypedDict):
    name: Literal[tuple(MODELS)]
    arguments: ModelArguments


class ModelOfUser(TypedDict):
    r"""A model by its import path, which is not imported for that."""
    name: str
    arguments: dict[str, Any]


def check_model(name: str, value: dict[str, Any]) -> None:
    check_entry(name, value, ModelOfUser if is_import_path(value.get('name'))
                else OwnModel)


Model = Annotated[dict[str, Any], check_model]


def check_states(name: str, value: list[list[int]]) -> None:
    require(all(len(pair) == 2 and pair[1] >= 1 for pair in value),
            f"'{name}' must be pairs of a charge and a multiplicity "
            f"(got {in_words(value)})")


States = Annotated[list[list[int]], check_states]


class _OptionalPrior(TypedDict, total=False):
    scale: PositiveFloat  # 1 in older ones


class Prior(_OptionalPrior):
    cutoff: PositiveFloat
    length: str
    energy: str


class _OptionalSettings(TypedDict, total=False):
    root: str | None
    num_frames: PositiveInt | None
    data_seed: Count
    val: str | list[str] | None
    test: str | list[str] | None


class Settings(_OptionalSettings):
    r"""Of those of the run, what the data followed from. Nothing of it is
    opened.
    """
    data: str | list[str]


class RunDescription(TypedDict):
    r"""What those of training runs have beside."""
    config: Settings


class Pretraining(TypedDict):
    r"""What a run learned before its data."""
    calculator: str
    versions: dict[str, str]
    num_frames: PositiveInt
    fingerprint: str


class _Optional(TypedDict, total=False):
    config: Settings
    init: Origin
    released: Mark
    prior: Prior | None
    label: str
    readout: Literal[READOUTS]
    old_elements: Elements
    pretraining: Pretraining
    states: States
    fingerprint: str
    step: Count
    seconds: FiniteFloat
    history: list[dict[str, float]]
    potential: TensorNames
    split: TensorNames


class _Required(_Optional):
    model: Model | None
    energy_scale: PositiveFloat
    elements: Elements


class Bonds(TypedDict):
    cutoff: PositiveFloat
    length: Literal[tuple(LENGTHS)]


class UncertaintyDescription(TypedDict):
    elements: Elements
    has_forces: bool


class _OfPotential(_Required, total=False):
    bonds: Bonds | None
    uncertainty: UncertaintyDescription | None
    isolated_atoms: Elements  # that have exactly their energies


class PotentialDescription(_OfPotential):
    units: EnergyUnits


class PropertyDescription(_Required):
    units: LabelUnits
    label: str
    readout: Literal[READOUTS]


KINDS = {'potential': PotentialDescription, 'property': PropertyDescription}


def check_description(description: Mapping[str, Any], *expected: str) -> None:
    r"""Checks that a description is of one of the expected kinds, of
    :obj:`"potential"` and :obj:`"property"`, and holds all that it must.

    Raises:
        TypeError, ValueError: If it is not. The error has the entry.
    """
    check_kind(description, *expected)
    check_entry('', dict(description),
                KINDS[description.get('kind', 'potential')])


def check_kind(description: Mapping[str, Any], *expected: str) -> None:
    kind = description.get('kind', 'potential')
    if kind not in expected:
        raise ValueError(f"The checkpoint must be of a "
                         f"{' or a '.join(expected)} (got one of kind "
                         f"{in_words(kind)})")


def trained_states(description: Mapping[str, Any]) -> set[tuple[int, int]]:
    r"""Returns the pairs of charge and multiplicity that the description of a
    checkpoint knows of.
    """
    return {tuple(pair) for pair in description.get('states', ())}
