from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torch_sake.potentials.potential import Potential
from torch_sake.potentials.uncertainty import (
    Statistics,
    Uncertainty,
    has_features,
)

# As it was called before single potentials had the same:
EnsembleOutput = Statistics


class Ensemble(torch.nn.Module):
    r"""Several potentials, trained from other seeds or on other data, that
    stand for one: called like a :class:`~torch_sake.Potential`, they give
    means

    .. math::
        \bar{E} = \frac{1}{M} \sum_m E_m, \quad
        \bar{F}_{i \alpha} = \frac{1}{M} \sum_m F_{m i \alpha}

    and by :meth:`statistics` the standard deviations beside them,

    .. math::
        s(E) = \sqrt{\frac{1}{M - 1} \sum_m (E_m - \bar{E})^2}

    for energies and for each component of the forces. Where members were
    trained on the same things and still disagree, none of them knows. What
    each member says of its own uncertainty takes no part in that.

    Args:
        potentials ([Potential]): The members, at least two, all with the same
            cutoff.

    Shapes:
        As those of :class:`~torch_sake.Potential`.

    Raises:
        TypeError, ValueError: If there are fewer than two members, or one of
            them is no potential or has another cutoff.
    """
    def __init__(self, potentials: Sequence[Potential]):
        super().__init__()
        potentials = list(potentials)
        for potential in potentials:
            if not isinstance(potential, Potential):
                raise TypeError(f"'potentials' must be of type Potential "
                                f"(got {type(potential)})")
        if len(potentials) < 2:
            raise ValueError(f"'potentials' must be at least two "
                             f"(got {len(potentials)})")
        cutoffs = {potential.cutoff for potential in potentials}
        if len(cutoffs) > 1:
            raise ValueError(f"'potentials' must have the same cutoff "
                             f"(got {cutoffs})")
        self.potentials = torch.nn.ModuleList(potentials)

    @property
    def cutoff(self) -> float | None:
        r"""The cutoff of the members."""
        return self.potentials[0].cutoff

    def forward(
        self, *args, **kwargs
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        r"""Returns the means. All arguments are those of
        :meth:`torch_sake.Potential.forward`.
        """
        outputs = self.statistics(*args, **kwargs)
        return outputs.energy, outputs.forces, outputs.stress

    def statistics(self, *args, **kwargs) -> Statistics:
        r"""Returns means and standard deviations. All arguments are those of
        :meth:`torch_sake.Potential.forward`.
        """
        energies, forces, stresses = zip(*(
            potential(*args, **kwargs) for potential in self.potentials))
        energies, forces = torch.stack(energies), torch.stack(forces)
        stress = None
        if stresses[0] is not None:
            stress = torch.stack(stresses).mean(dim=0)
        return Statistics(energies.mean(dim=0), forces.mean(dim=0), stress,
                          energies.std(dim=0), forces.std(dim=0))

    @property
    def has_uncertainty(self) -> bool:
        r"""Whether it knows how uncertain it is, which it does."""
        return True

    @property
    def has_force_uncertainty(self) -> bool:
        r"""Whether it knows that of forces."""
        return True

    def energy_statistics(self, *args, **kwargs) -> tuple[Tensor, Tensor]:
        r"""Returns the means of the energies alone and their standard
        deviations, :math:`(B)`, at a lower cost.
        """
        energies = self._stack('energy', args, kwargs)
        return energies.mean(dim=0), energies.std(dim=0)

    @torch.no_grad()
    def uncertainty(self, *args, **kwargs) -> Uncertainty:
        r"""Returns standard deviations alone, see
        :meth:`torch_sake.Potential.uncertainty`. Of an ensemble they cost as
        much as :meth:`statistics` and the energies of atoms.
        """
        outputs = self.statistics(*args, **kwargs)
        atoms = None
        if all(has_features(potential.model) for potential in self.potentials):
            atoms = self._stack('site_energies', args, kwargs).std(dim=0)
        return Uncertainty(outputs.energy_std, outputs.forces_std.norm(dim=1),
                           atoms)

    def energy(self, *args, **kwargs) -> Tensor:
        r"""Returns the means of the energies alone, at a lower cost. All
        arguments are those of :meth:`torch_sake.Potential.energy`.
        """
        return self._mean('energy', args, kwargs)

    def references(self, *args, **kwargs) -> Tensor:
        r"""Returns the means of what there is without the models."""
        return self._mean('references', args, kwargs)

    def site_energies(self, *args, **kwargs) -> Tensor:
        r"""Returns the means of the parts of the energies that the members
        ascribe to each atom, :math:`(N)`.
        """
        return self._mean('site_energies', args, kwargs)

    def _mean(self, name: str, args: tuple, kwargs: dict[str, Any]) -> Tensor:
        return self._stack(name, args, kwargs).mean(dim=0)

    def _stack(self, name: str, args: tuple, kwargs: dict[str, Any]) -> Tensor:
        return torch.stack([getattr(potential, name)(*args, **kwargs)
                            for potential in self.potentials])

    def compile(self, kernels: Any = None) -> None:
        r"""Has the members compiled, see :meth:`torch_sake.Potential.compile`.
        """
        for potential in self.potentials:
            potential.compile(kernels)
