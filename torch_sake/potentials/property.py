from collections.abc import Callable

from torch import Tensor

from torch_sake.models.readout import READOUTS, Readout, find_readout
from torch_sake.ops.autocast import without_autocast
from torch_sake.potentials.energy import EnergyModel
from torch_sake.utils.plain_checks import check_option


class Property(EnergyModel):
    r"""A property of graphs that is no potential: a number for each, of any
    :obj:`model(z, pos, batch)`, without derivatives

    .. math::
        y = \sigma \cdot \mathrm{model}(z, \mathbf{r}) + \sum_i w_i y_{z_i},
        \quad w_i = \begin{cases}
            1 & \text{if the readout is "add"} \\
            1 / n & \text{"mean"} \\
            {|\vec{r}_i - \vec{r}_\mathrm{c}|}^2 & \text{"extent"}
        \end{cases}

    with the number of atoms :math:`n` and the center of mass
    :math:`\vec{r}_\mathrm{c}` of the graph: the references :math:`y_z` of the
    elements take part in the same way as what the model says of each atom. A
    dipole moment has none.

    .. code-block:: python

        model = SAKE(readout='extent', cutoff=None)
        extent = Property(model, readout='extent', name='r2')
        extent(z, pos, batch)  # [B]

    Args:
        model (torch.nn.Module): The model, which returns :obj:`[B, 1]` or
            :obj:`[B]`.
        scale (float, optional): Factor :math:`\sigma` of the model's output.
            (default: :obj:`1.0`)
        references (torch.Tensor, optional): The references :math:`y_z` by
            atomic number, of shape :obj:`[100]`. They are summed in float64,
            and properties are returned in float64 then.
            (default: :obj:`None`)
        readout (str or Readout, optional): How atoms make up the property,
            :obj:`"add"`, :obj:`"mean"`, :obj:`"extent"`, :obj:`"dipole"` or a
            :class:`~torch_sake.models.readout.Readout` of one's own.
            (default: :obj:`"add"`)
        name (str, optional): What the property is called.
            (default: :obj:`"property"`)

    Shapes:
        - **input:** atomic numbers :math:`(N)`, positions :math:`(N, 3)`,
          graphs :math:`(N)` *(optional)*
        - **output:** properties :math:`(B)`

    Raises:
        TypeError, ValueError: If an argument is of the wrong type, shape or
            range, or a dipole moment has references.
    """
    def __init__(self, model: Callable, scale: float = 1.0,
                 references: Tensor | None = None,
                 readout: str | Readout = 'add', name: str = 'property'):
        super().__init__(model, scale, references)
        if not isinstance(readout, Readout):
            readout = find_readout(check_option('readout', readout, READOUTS))
        self.readout = readout.name
        self.name = name
        if references is not None:
            if not readout.has_references:
                raise ValueError(f"'references' must not be given for a "
                                 f"{readout.name}, which is no sum of numbers "
                                 f"of atoms")
            self.readout_of_references = readout

    @without_autocast
    def forward(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        **kwargs,
    ) -> Tensor:
        r"""Returns the property of each graph.

        Args:
            z (torch.Tensor): The atomic numbers.
            pos (torch.Tensor): The positions.
            batch (torch.Tensor, optional): The graph of each atom.
                (default: :obj:`None`)
            **kwargs (optional): Additional arguments of the model.
        """
        return self._evaluate(z, pos, batch, None, None, **kwargs)

    def references(self, z: Tensor, pos: Tensor, batch: Tensor,
                   batch_size: int) -> Tensor:
        r"""Returns what there is without the model, :math:`(B)`: what the
        references of the elements make up, see
        :meth:`torch_sake.Potential.references`.
        """
        if self.atomic_energies is None:
            return super().references(z, pos, batch, batch_size)
        return self.readout_of_references(
            self.atomic_energies[z].unsqueeze(1), z, pos.double(), batch,
            batch_size).squeeze(1)

    def extra_repr(self) -> str:
        return f"{self.name}, readout='{self.readout}'"
