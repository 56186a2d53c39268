from collections.abc import Sequence

from torch_sake.models.molecule import MoleculeModel


class VectorSAKE(MoleculeModel):
    r"""The model for molecules of :class:`~torch_sake.nn.VectorSAKEConv`
    layers, with vectors that live on from layer to layer. It learns faster
    than :class:`~torch_sake.SAKE`, the published model, and is called in the
    same way.

    Args:
        hidden_channels (int, optional): Size of the hidden features. What
            follows is given by name only, as its order is another one in
            SchNet. (default: :obj:`64`)
        num_layers (int, optional): Number of layers. (default: :obj:`3`)
        num_rbf (int, optional): Number of radial functions.
            (default: :obj:`20`)
        cutoff (float, optional): Distance from which on atoms do not see each
            other; :obj:`None` means that all see each other.
            (default: :obj:`5.0`)
        update_pos (bool or [bool], optional): Whether layers move the atoms;
            for all, or for each. (default: :obj:`False`)
        embed_charge (bool, optional): If set to :obj:`True`, the model takes
            the total :obj:`charge` and the :obj:`spin` of each graph.
            (default: :obj:`False`)
        **kwargs (optional): Additional arguments of
            :class:`~torch_sake.models.MoleculeModel`, which are those of PyG's
            SchNet, and of :class:`~torch_sake.nn.VectorSAKEConv`.

    Shapes:
        As those of :class:`~torch_sake.models.MoleculeModel`.
    """
    def __init__(
        self,
        hidden_channels: int = 64,
        *,
        num_layers: int = 3,
        num_rbf: int = 20,
        cutoff: float | None = 5.0,
        update_pos: bool | Sequence[bool] = False,
        embed_charge: bool = False,
        **kwargs,
    ):
        super().__init__(hidden_channels, num_layers=num_layers,
                         cutoff=cutoff, conv='vector', num_rbf=num_rbf,
                         update_pos=update_pos,
                         embed_charge=embed_charge, **kwargs)
