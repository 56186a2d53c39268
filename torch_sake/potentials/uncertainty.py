r"""What a single training says of its own errors."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_sake.models import MoleculeModel
from torch_sake.models.readout import sums_over_atoms
from torch_sake.ops.scatter import sum_edges
from torch_sake.ops.segments import Segments
from torch_sake.utils.checks import MAX_ATOMIC_NUMBER
from torch_sake.utils.plain_checks import check_elements, check_positive_int

# Atoms that are looked at together, which bounds the memory:
CHUNK = 4096


class Uncertainty(NamedTuple):
    r"""Standard deviations of what is predicted.

    Shapes:
        - energies :math:`(B)`, forces :math:`(N)`, each the length of the
          vector of the standard deviations of the components, energies of
          atoms :math:`(N)`, or :obj:`None` of models without these
    """
    energy: Tensor
    forces: Tensor
    atoms: Tensor | None


class Statistics(NamedTuple):
    r"""Predictions and their standard deviations.

    Shapes:
        - energies and their deviations :math:`(B)`, forces and their
          deviations :math:`(N, 3)`, stresses :math:`(B, 3, 3)` or
          :obj:`None`
    """
    energy: Tensor
    forces: Tensor
    stress: Tensor | None
    energy_std: Tensor
    forces_std: Tensor


class Rigidity(torch.nn.Module):
    r"""How far atoms are from those of the training frames, in the features
    that the readout is made of, as an estimate of errors (the last-layer
    prediction rigidity of Bigi, Chong, Ceriotti and Grasselli, "A prediction
    rigidity formalism for low-cost uncertainties in trained neural networks",
    2024, in its local form, for each element)

    .. math::
        q_i = \mathbf{f}_i^{\top} \mathbf{C}_{z_i}^{-1} \mathbf{f}_i, \quad
        \mathbf{f}_i = [\mathbf{x}_i, 1] - [\mathbf{x}_{z_i}, 1], \quad
        s(F_{i \alpha}) = a_{z_i} q_i, \quad
        s(E_i) = b_{z_i} q_i, \quad
        s(E)^2 = \sum_i s(E_i)^2

    where :math:`\mathbf{C}_z` is the second moment of the features of the
    training atoms of an element, slightly regularized. The second term of
    :math:`\mathbf{f}_i` is that of an isolated atom, in potentials that have
    its energy exactly, and zero in others. Deviations grow as the
    square of the distance from the data: outside of these, errors do, while
    the square root of :math:`q` says too little of them. The factors
    :math:`a_z` and :math:`b_z` are calibrated on other frames, see
    :func:`torch_sake.fit_uncertainty`. It takes no further derivative.

    Args:
        elements (list of int): The atomic numbers of the elements. Nothing is
            known of others, whose deviations are infinite.
        num_features (int): The number of features, with the constant one.
        has_forces (bool, optional): Whether :math:`a_z` is known. Deviations
            of forces are NaN if not. (default: :obj:`True`)

    Shapes:
        - **input:** atomic numbers :math:`(N)`, features :math:`(N, F)`,
          graphs :math:`(N)`
        - **output:** :class:`Uncertainty`, in float64
    """
    def __init__(self, elements: Sequence[int], num_features: int,
                 has_forces: bool = True):
        super().__init__()
        check_elements('elements', elements, MAX_ATOMIC_NUMBER + 1)
        check_positive_int('num_features', num_features)
        self.elements = list(elements)
        self.num_features = num_features
        self.has_forces = has_forces
        number = len(self.elements)
        # C^-1 = factors^T factors, and the factors of forces and energies:
        self.register_buffer('factors', torch.zeros(
            number, num_features, num_features, dtype=torch.double))
        self.register_buffer('scales', torch.zeros(number, 2,
                                                   dtype=torch.double))
        self.register_buffer('numbers', torch.tensor(self.elements),
                             persistent=False)

    def _apply(self, fn: Callable, recurse: bool = True) -> 'Rigidity':
        # It goes along to other devices, but stays in float64.
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, value in before.items():
            device = self._buffers[name].device
            self._buffers[name] = (
                torch.empty_like(value, device=device) if value.is_meta
                else value.to(device))
        if before['numbers'].is_meta and not self.numbers.is_meta:
            self.numbers = torch.tensor(self.elements,
                                        device=self.numbers.device)
        return self

    @property
    def description(self) -> dict[str, Any]:
        r"""What checkpoints say of it; the model says the rest."""
        return {'elements': self.elements, 'has_forces': self.has_forces}

    @torch.no_grad()
    def distances(self, z: Tensor, features: Tensor) -> Tensor:
        r"""Returns :math:`q_i`, :math:`(N)`, infinite for other elements."""
        is_element = z.unsqueeze(1) == self.numbers  # [N, Z]
        parts = []
        for part in features.split(CHUNK):
            part = part.double()
            parts.append((part @ self.factors.mT).square().sum(dim=2).mT)
        all_elements = torch.cat(parts) if parts else (
            is_element.new_zeros(is_element.shape, dtype=torch.double))
        out = torch.where(is_element, all_elements, 0.0).sum(dim=1)
        return torch.where(is_element.any(dim=1), out, torch.inf)

    @torch.no_grad()
    def forward(self, z: Tensor, features: Tensor, batch: Tensor | None,
                batch_size: int) -> Uncertainty:
        """"""
        batch = torch.zeros_like(z) if batch is None else batch
        distances = self.distances(z, features)
        is_element = (z.unsqueeze(1) == self.numbers).double()
        # Those of other elements stay infinite:
        force_scale, scale = torch.where(
            is_element.any(dim=1, keepdim=True), is_element @ self.scales,
            1.0).unbind(dim=1)
        forces = 3**0.5 * force_scale * distances
        if not self.has_forces:
            forces = torch.full_like(forces, torch.nan)
        atoms = scale * distances
        energy = sum_edges(atoms.square(), Segments(batch, batch_size)).sqrt()
        return Uncertainty(energy, forces, atoms)

    def extra_repr(self) -> str:
        return f'{self.elements}, {self.num_features}'


def build_rigidity(model: Any,
                   description: dict[str, Any] | None) -> Rigidity | None:
    r"""Returns the rigidity of a model that a checkpoint describes, if it
    does.
    """
    if description is None:
        return None
    check_has_features(model)
    return Rigidity(description['elements'], model.hidden_channels + 1,
                    description['has_forces'])


def check_rigidity(rigidity: Rigidity | None,
                   model: Any) -> Rigidity | None:
    r"""Checks that a model has the features that a rigidity is of."""
    if rigidity is None:
        return None
    if not isinstance(rigidity, Rigidity):
        raise TypeError(f"'rigidity' must be a Rigidity "
                        f"(got {type(rigidity)})")
    check_has_features(model)
    number = model.hidden_channels + 1
    if rigidity.num_features != number:
        raise ValueError(f"'rigidity' must be of {number} features, as the "
                         f"model (got {rigidity.num_features})")
    return rigidity


def check_has_features(model: Any) -> None:
    r"""Raises an error if a model is not one that uncertainties are for."""
    if not has_features(model):
        raise TypeError(f"'model' must be SAKE or VectorSAKE, with a sum over "
                        f"atoms, to have uncertainties (got {type(model)}"
                        f"{_readout_of(model)})")


def has_features(model: Any) -> bool:
    r"""Whether a model is one that uncertainties are for: one of this package,
    as it is, that sums over atoms.
    """
    return (isinstance(model, MoleculeModel) and sums_over_atoms(model)
            and type(model).forward is MoleculeModel.forward)


def _readout_of(model: Any) -> str:
    readout = getattr(model, 'readout', None)
    return '' if readout is None else f' with the readout {readout}'


def factorize(moments: Tensor, counts: Tensor,
              regularization: float) -> Tensor:
    r"""Returns the factors of a :class:`Rigidity`. Elements with few atoms
    lean on all the others: as many of them as there are features are added to
    the atoms of each.

    Args:
        moments (torch.Tensor): The sums of :math:`\mathbf{f} \mathbf{f}^\top`
            over the atoms of each element.
        counts (torch.Tensor): The numbers of atoms.
        regularization (float): What is added to the diagonal, of its mean.

    Shapes:
        - **input:** moments :math:`(Z, F, F)`, counts :math:`(Z)`
        - **output:** factors :math:`(Z, F, F)`
    """
    number = moments.size(1)
    mean = moments.sum(dim=0) / counts.sum()
    covariance = (moments + number * mean) / (counts + number).view(-1, 1, 1)
    diagonal = covariance.diagonal(dim1=1, dim2=2).mean(dim=1)
    eye = torch.eye(number, dtype=moments.dtype, device=moments.device)
    lower = torch.linalg.cholesky(
        covariance + regularization * diagonal.view(-1, 1, 1) * eye)
    return torch.linalg.solve_triangular(lower, eye.expand_as(lower),
                                         upper=False)
