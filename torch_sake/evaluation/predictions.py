from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class Predicted(NamedTuple):
    r"""The predictions of one property and their labels, of all that is
    labeled, in float64, and the index of the frame or, of forces, of the atom
    of each row.

    Shapes:
        - value and label: :math:`(R, *)`
        - index: :math:`(R)`
    """
    value: Tensor
    label: Tensor
    index: Tensor

    @property
    def error(self) -> Tensor:
        return self.value - self.label


@dataclass
class Predictions:
    r"""What is predicted of frames, and its labels.

    Args:
        num_atoms (torch.Tensor): The number of atoms of each frame,
            :obj:`[M]`.
        z (torch.Tensor): The atomic numbers of all atoms, :obj:`[N]`.
        properties (dict): The :class:`Predicted` of each property by its name,
            such as :obj:`"energy"`, :obj:`"force"` and :obj:`"stress"`.
        stds (dict, optional): The standard deviations that are predicted of
            the rows of some of them, in float64. (default: :obj:`{}`)
    """
    num_atoms: Tensor
    z: Tensor
    properties: dict[str, Predicted]
    stds: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def cat(cls, parts: Sequence['Predictions']) -> 'Predictions':
        r"""Returns the predictions of all frames of several parts."""
        properties: dict[str, list[Predicted]] = {}
        stds: dict[str, list[Tensor]] = {}
        num_frames = num_atoms = 0
        for part in parts:
            for name, std in part.stds.items():
                stds.setdefault(name, []).append(std)
            for name, (value, label, index) in part.properties.items():
                first = num_atoms if name == 'force' else num_frames
                properties.setdefault(name, []).append(
                    Predicted(value, label, index + first))
            num_frames += part.num_atoms.numel()
            num_atoms += part.z.numel()
        return cls(torch.cat([part.num_atoms for part in parts]),
                   torch.cat([part.z for part in parts]),
                   {name: Predicted(*map(torch.cat, zip(*rows)))
                    for name, rows in properties.items()},
                   {name: torch.cat(rows) for name, rows in stds.items()})

    def cpu(self) -> 'Predictions':
        r"""Returns all of it on the CPU."""
        return Predictions(self.num_atoms.cpu(), self.z.cpu(), {
            name: Predicted(*(tensor.cpu() for tensor in rows))
            for name, rows in self.properties.items()}, {
                name: std.cpu() for name, std in self.stds.items()})

    def __getitem__(self, name: str) -> Predicted:
        return self.properties[name]

    def errors(self) -> dict[str, Tensor]:
        r"""Returns the errors of each property; with energies, those per atom,
        too.

        Shapes:
            - **output:** :math:`(R, *)` each
        """
        errors = {}
        for name, rows in self.properties.items():
            errors[name] = rows.error
            if name == 'energy':
                errors['energy_per_atom'] = errors[name] / (
                    self.num_atoms[rows.index])
        return errors

    @property
    def frame_of_atom(self) -> Tensor:
        r"""The index of the frame of each atom, :math:`(N)`."""
        frames = torch.arange(self.num_atoms.numel())
        return frames.repeat_interleave(self.num_atoms)

    def frame_sums(self, element: int | None = None) -> dict[str, Tensor]:
        r"""Returns the number, the sum of the absolute values and the sum of
        the squares of the errors of each frame, by property.

        Args:
            element (int, optional): The atomic number of the atoms whose
                forces alone are counted. (default: :obj:`None`)

        Shapes:
            - **output:** :math:`(M, 3)` each
        """
        sums = {}
        for name, error in self.errors().items():
            index = self[name.removesuffix('_per_atom')].index
            if name == 'force':
                if element is not None:
                    error = error[self.z[index] == element]
                    index = index[self.z[index] == element]
                index = self.frame_of_atom[index]
            error = error.view(index.numel(), -1)
            rows = torch.stack([torch.full_like(error, 1.0).sum(dim=1),
                                error.abs().sum(dim=1),
                                error.square().sum(dim=1)], dim=1)
            sums[name] = rows.new_zeros(self.num_atoms.numel(), 3).index_add(
                0, index, rows)
        return sums
