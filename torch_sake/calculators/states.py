import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from torch_sake.datasets.frames.charges import (
    NEUTRAL,
    State,
    is_possible,
    names_of,
    state_of,
)
from torch_sake.datasets.frames.initial_charges import (
    describe_unsaid,
    unsaid_charge,
)

WHERE = 'The structure'


class States:
    r"""Which total charges and multiplicities a potential is for.

    Args:
        embeds (bool): Whether it takes any.
        known (list of (int, int)): The pairs of both that it was trained on;
            none if that is not known.
    """
    def __init__(self, embeds: bool, known: Iterable[tuple[int, int]] = ()):
        self.embeds = embeds
        self.known = set(known)
        self._warned: set[Any] = set()

    def said_by(self, info: Mapping[str, Any]) -> State:
        r"""Returns what a structure says of itself. What a potential without
        an embedding is not for, or what is wrong, is left out then, with one
        warning.
        """
        if self.embeds:
            return state_of(info, WHERE)
        try:
            state = state_of(info, WHERE)
        except ValueError as error:  # which makes no difference
            self._warn(str(error), f'{error}. It is left out')
            return State()
        wrong = self._wrong(state)
        if wrong:
            self._warn(state, f"{WHERE} has "
                       + ' and '.join(f'{name} {getattr(state, name)}'
                                      for name in wrong)
                       + f", which the potential does not know of: "
                       f"{self._about()}")
        return state._replace(**dict.fromkeys(wrong))

    def look_at(self, atoms: Any, state: State) -> None:
        r"""Warns once of initial charges that are not read, and of a number
        of electrons that cannot have the multiplicity, if they are embedded.

        Args:
            atoms (ase.Atoms): A structure.
            state (State): What it is computed with.
        """
        if not self.embeds:
            return
        charge = 0 if state.charge is not None else unsaid_charge(atoms)
        if charge:
            self._warn('initial charges', describe_unsaid(WHERE, charge))
        protons, (charge, spin) = int(atoms.numbers.sum()), state.full
        alone = len(atoms) == 1 and charge == 0
        if not alone and not is_possible(protons, state):
            says = f'a spin of {spin}' if state.spin is not None else (
                'no spin, which counts as 1')
            self._warn('parity', f'{WHERE}: {protons - charge} electrons '
                       f'cannot have the multiplicity 2S + 1 = {spin} (it has '
                       f'a charge of {charge} and {says})')

    def inputs(self, charge: Any, spin: Any) -> dict[str, float]:
        r"""Returns the arguments of the potential for a charge and a spin that
        are asked for, either of which may be :obj:`None`.

        Raises:
            ValueError: If they are none, or the potential is not for them.
        """
        given = {'charge': charge, 'spin': spin}
        state = state_of({name: value for name, value in given.items()
                          if value is not None}, 'Arguments')
        if not self.embeds:
            for name in self._wrong(state):
                raise ValueError(f"'{name}' must not be "
                                 f"{getattr(state, name)}: {self._about()}. "
                                 f"Train one with 'embed_charge'")
            return {}
        if self.known and state.full not in self.known:
            self._warn(state, f'The potential was not trained on the charge '
                       f'and spin {names_of([state.full])} (it knows '
                       f'{names_of(self.known)})')
        return {} if state == State() else dict(zip(State._fields, state.full))

    @property
    def _only(self) -> tuple[int, int]:
        r"""The pair that a potential without an embedding is for."""
        return next(iter(self.known), NEUTRAL)

    def _wrong(self, state: State) -> list[str]:
        return [name for name, value, only in zip(State._fields, state,
                                                  self._only)
                if value not in (None, only)]

    def _about(self) -> str:
        words = 'was trained on the charge and spin' if self.known else (
            'is taken to be for the charge and spin')
        return (f'it has no embedding of charge and spin, and {words} '
                f'{names_of([self._only])}')

    def _warn(self, key: Any, message: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            warnings.warn(message)
