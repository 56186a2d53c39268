from collections.abc import Callable, Iterable
from typing import NoReturn

import torch
from torch import Tensor

from torch_sake.models import MoleculeModel
from torch_sake.models.readout import sums_over_atoms
from torch_sake.ops.autocast import without_autocast
from torch_sake.ops.linear import constant_weights
from torch_sake.potentials.derivatives import (
    call_eagerly,
    compile_energy,
    energy_and_derivatives,
    energy_then_derivatives,
)
from torch_sake.potentials.strain import cell_volumes
from torch_sake.potentials.uncertain import UncertainEnergy
from torch_sake.potentials.uncertainty import Rigidity, check_rigidity


class Potential(UncertainEnergy):
    r"""Energies, forces and stresses of any :obj:`model(z, pos, batch)`

    .. math::
        E = \sigma \cdot \mathrm{model}(z, \mathbf{r}) + \sum_i E_{z_i}
        + E_{\mathrm{prior}}, \quad
        \vec{F}_i = - \frac{\partial E}{\partial \vec{r}_i}, \quad
        \boldsymbol{\sigma} = \frac{1}{V}
        \frac{\partial E}{\partial \boldsymbol{\epsilon}}

    PyG's :class:`~torch_geometric.nn.models.SchNet` included. The strain
    :math:`\boldsymbol{\epsilon}` is symmetric and deforms positions and cell
    together. Models of this package can be periodic, and so can those that
    find their edges by a :class:`~torch_sake.RadiusInteractionGraph`.

    Where gradients are enabled, energies and forces can be differentiated,
    with respect to parameters and, if the given positions require it, with
    respect to these. Under :class:`torch.no_grad` or
    :class:`torch.inference_mode` they are plain numbers, computed at a lower
    cost. The tensors of the caller are left as they are.

    Args:
        model (torch.nn.Module): The model of the energy, which returns
            :obj:`[B, 1]` or :obj:`[B]`.
        energy_scale (float, optional): Factor :math:`\sigma` of the model's
            output. (default: :obj:`1.0`)
        atomic_energies (torch.Tensor, optional): Energy :math:`E_z` of single
            atoms by atomic number, of shape :obj:`[100]`. They are summed in
            float64 and energies are returned in float64: total energies are
            large, and float32 would lose the digits that matter.
            (default: :obj:`None`)
        prior (torch.nn.Module, optional): A part of the energy that is not
            learned, such as :class:`~torch_sake.ZBLRepulsion`, called as
            :obj:`prior(z, pos, batch, edge_index, edge_shift, batch_size)`;
            edges are :obj:`None` where the model finds them itself.
            (default: :obj:`None`)
        recompute (bool, optional): If set to :obj:`True`, plain numbers cost
            less memory and more time: layers of this package's models are
            computed again for the forces, one after the other, instead of
            kept. It can be changed at any time.
            (default: :obj:`False`)
        isolated_atoms (list of int, optional): Atomic numbers of the elements
            of which an isolated atom has exactly its energy in
            :obj:`atomic_energies`: what the model says of one alone,
            :math:`\mathrm{model}(z_i)`, is taken off for each atom, and a
            molecule that is pulled apart ends at their sum. Not for models
            that do not sum over atoms. (default: :obj:`None`)
        rigidity (Rigidity, optional): What :meth:`uncertainty` follows from,
            for models of this package, see :func:`torch_sake.fit_uncertainty`.
            (default: :obj:`None`)

    Shapes:
        - **input:** atomic numbers :math:`(N)`, positions :math:`(N, 3)`,
          graphs :math:`(N)` *(optional)*, cells :math:`(B, 3, 3)` or
          :math:`(3, 3)` *(optional)*, periodic directions :math:`(B, 3)` or
          :math:`(3)` *(optional)*
        - **output:** energies :math:`(B)`, forces :math:`(N, 3)`, stresses
          :math:`(B, 3, 3)` in energy per volume, positive where the cell wants
          to shrink, or :obj:`None`

    Raises:
        TypeError, ValueError: If an argument is of the wrong type, shape or
            range. Values of tensors are looked at on the CPU only.
    """
    def __init__(self, model: Callable, energy_scale: float = 1.0,
                 atomic_energies: Tensor | None = None,
                 prior: torch.nn.Module | None = None,
                 recompute: bool = False,
                 isolated_atoms: Iterable[int] | None = None,
                 rigidity: Rigidity | None = None):
        super().__init__(model, energy_scale, atomic_energies, prior,
                         isolated_atoms)
        self.rigidity = check_rigidity(rigidity, model)
        self.recompute = recompute

    @property
    def recompute(self) -> bool:
        r"""Whether layers are computed again for the forces."""
        return self._recompute

    @recompute.setter
    def recompute(self, recompute: bool) -> None:
        if not isinstance(recompute, bool):
            raise TypeError(f"'recompute' must be a bool (got {recompute!r})")
        if recompute and not isinstance(self.model, MoleculeModel):
            raise TypeError(f"'model' must be SAKE or VectorSAKE to "
                            f"'recompute' its layers (got {type(self.model)})")
        self._recompute = recompute

    @without_autocast
    def forward(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        cell: Tensor | None = None,
        pbc: Tensor | None = None,
        compute_stress: bool = False,
        **kwargs,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        r"""Returns energies, forces and, if asked for, stresses.

        Args:
            z (torch.Tensor): The atomic numbers.
            pos (torch.Tensor): The positions.
            batch (torch.Tensor, optional): The graph of each atom.
                (default: :obj:`None`)
            cell, pbc (torch.Tensor, optional): As those of
                :func:`~torch_sake.neighbor_list`. (default: :obj:`None`)
            compute_stress (bool, optional): If set to :obj:`True`, the stress
                is computed, which needs cells that have a volume; that of
                molecules with a cell of zeros in a batch is zero.
                (default: :obj:`False`)
            **kwargs (optional): Additional arguments of the model, such as
                total charges :obj:`charge` and multiplicities :obj:`spin`
                :math:`(B)`, or numbers for a single graph, and a neighbor
                list, :obj:`edge_index` and :obj:`edge_shift`.
        """
        return self._predict(z, pos, batch, cell, pbc, compute_stress,
                             **kwargs)[:3]

    @without_autocast
    def energy(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        cell: Tensor | None = None,
        pbc: Tensor | None = None,
        **kwargs,
    ) -> Tensor:
        r"""Returns the energies alone, :math:`(B)`, at a lower cost. All
        arguments are those of :meth:`forward`.
        """
        return self._evaluate(z, pos, batch, cell, pbc, **kwargs)

    @without_autocast
    def site_energies(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        cell: Tensor | None = None,
        pbc: Tensor | None = None,
        **kwargs,
    ) -> Tensor:
        r"""Returns the parts of the energies that the model ascribes to each
        atom, :math:`(N)`. Their sums are the energies. All arguments are those
        of :meth:`forward`.

        Raises:
            TypeError, ValueError: If the model is none of this package, has
                no :class:`~torch_sake.RadiusInteractionGraph`, or does not sum
                over atoms.
        """
        if not sums_over_atoms(self.model):
            raise ValueError(f"'model' must sum over atoms to have energies "
                             f"of atoms (got the readout "
                             f"{getattr(self.model, 'readout', None)})")
        z, pos, batch, _, _, kwargs = self._prepare(z, pos, batch, cell, pbc,
                                                    kwargs, always=True)
        # Edges are known: it only matters for the sums what a graph is.
        kwargs.pop('batch_size', None)
        if kwargs.keys() & {'charge', 'spin'}:
            kwargs['graphs'] = torch.zeros_like(z) if batch is None else batch
        return self._energy(z, pos, torch.arange(z.numel(), device=z.device),
                            **kwargs)

    @staticmethod
    def ensemble(*args, **kwargs) -> NoReturn:
        raise TypeError("'Potential.ensemble' is called 'torch_sake.Ensemble'")

    def _predict(
        self, z: Tensor, pos: Tensor, batch: Tensor | None = None,
        cell: Tensor | None = None, pbc: Tensor | None = None,
        compute_stress: bool = False, **kwargs,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        r"""Returns the same as :meth:`forward`, and the features of atoms, if
        :obj:`return_features` is set.
        """
        if compute_stress and cell is None:
            raise ValueError("'compute_stress' needs a 'cell' (got none)")
        differentiable = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            z, pos, batch, cell, pbc, kwargs = self._prepare(
                z, pos, batch, cell, pbc, kwargs)
            strain = volume = None
            if compute_stress:
                volume = cell_volumes(cell, pbc)
                strain = torch.zeros_like(cell)
            function, compiler = energy_and_derivatives, None
            if self.recompute and not differentiable:
                function, compiler = energy_then_derivatives, compile_energy
                kwargs['recompute'] = True
            outputs = None
            if self._takes_compiled(pos, cell):
                outputs = self._call_compiled(
                    function, z, pos, batch, differentiable, compiler,
                    strain=strain, **kwargs)
            if outputs is None:
                with constant_weights(not differentiable):
                    outputs = call_eagerly(
                        self, z, pos, batch, differentiable, strain, kwargs)
            energy, forces, *rest = outputs
            stress = features = None
            if compute_stress:
                stress = rest.pop(0) / volume.view(-1, 1, 1)
            if rest:
                features = rest[0].detach()
        if not differentiable:
            energy, forces = energy.detach(), forces.detach()
            stress = None if stress is None else stress.detach()
        return energy, forces, stress, features
