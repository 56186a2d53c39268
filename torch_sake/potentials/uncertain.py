import torch
from torch import Tensor

from torch_sake.ops.autocast import without_autocast
from torch_sake.potentials.energy import EnergyModel
from torch_sake.potentials.parts import total
from torch_sake.potentials.uncertainty import (
    Rigidity,
    Statistics,
    Uncertainty,
    check_has_features,
)


class UncertainEnergy(EnergyModel):
    r"""An energy that knows how uncertain it is, where it has a
    :obj:`rigidity`: the part of a :class:`~torch_sake.Potential` that
    deviations come from.
    """
    rigidity: Rigidity | None

    def _predict(
        self, z: Tensor, pos: Tensor, batch: Tensor | None = None,
        cell: Tensor | None = None, pbc: Tensor | None = None,
        compute_stress: bool = False, **kwargs,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        r"""Returns energies, forces, stresses and features of atoms."""
        raise NotImplementedError

    @property
    def has_uncertainty(self) -> bool:
        r"""Whether it knows how uncertain it is."""
        return self.rigidity is not None

    @property
    def has_force_uncertainty(self) -> bool:
        r"""Whether it knows that of forces, which takes labels of forces."""
        return self.rigidity is not None and self.rigidity.has_forces

    @without_autocast
    def statistics(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        cell: Tensor | None = None,
        pbc: Tensor | None = None,
        compute_stress: bool = False,
        **kwargs,
    ) -> Statistics:
        r"""Returns what :meth:`forward` returns, with standard deviations, in
        one pass. All arguments are those of :meth:`forward`.

        Raises:
            ValueError: If the potential has no uncertainties.
        """
        rigidity = self._get_rigidity()
        energy, forces, stress, features = self._predict(
            z, pos, batch, cell, pbc, compute_stress, return_features=True,
            **kwargs)
        found = rigidity(z, features, batch, energy.numel())
        std = (found.forces / 3**0.5).to(forces.dtype)
        return Statistics(energy, forces, stress, found.energy,
                          std.unsqueeze(1).repeat(1, 3))

    @without_autocast
    def energy_statistics(self, *args,
                          **kwargs) -> tuple[Tensor, Tensor]:
        r"""Returns the energies alone and their standard deviations,
        :math:`(B)`, at a lower cost. All arguments are those of
        :meth:`forward`.
        """
        energy, found = self._energy_and_uncertainty(*args, **kwargs)
        return energy, found.energy

    @without_autocast
    @torch.no_grad()
    def uncertainty(self, *args, **kwargs) -> Uncertainty:
        r"""Returns standard deviations alone, at the cost of an energy: those
        of energies, of forces, and of the parts of the energies that belong to
        each atom. All arguments are those of :meth:`forward`. It is never
        compiled.

        Raises:
            ValueError: If the potential has no uncertainties.
        """
        return self._energy_and_uncertainty(*args, **kwargs)[1]

    def _energy_and_uncertainty(
        self, z: Tensor, pos: Tensor, batch: Tensor | None = None,
        cell: Tensor | None = None, pbc: Tensor | None = None, **kwargs,
    ) -> tuple[Tensor, Uncertainty]:
        rigidity = self._get_rigidity()
        energy, features = self.energy_and_features(z, pos, batch, cell, pbc,
                                                    **kwargs)
        return energy, rigidity(z, features, batch, energy.numel())

    @without_autocast
    def energy_and_features(
        self, z: Tensor, pos: Tensor, batch: Tensor | None = None,
        cell: Tensor | None = None, pbc: Tensor | None = None, **kwargs,
    ) -> tuple[Tensor, Tensor]:
        r"""Returns the energies, :math:`(B)`, and the features of atoms that
        the readout is made of, with a constant one, :math:`(N, F)`, less those
        of isolated atoms whose energies are exact, without derivatives. All
        arguments are those of :meth:`forward`.
        """
        check_has_features(self.model)
        z, pos, batch, _, _, kwargs = self._prepare(z, pos, batch, cell, pbc,
                                                    kwargs)
        energy, constant, features = self._parts(
            z, pos, batch, return_features=True, **kwargs)
        return total((energy, constant, None)), features

    def _get_rigidity(self) -> Rigidity:
        if self.rigidity is None:
            raise ValueError("The potential has no uncertainties, as its "
                             "checkpoint has none: 'torch_sake.fit_"
                             "uncertainty' finds them")
        return self.rigidity
