from collections.abc import Sequence

from torch_sake.models.molecule import MoleculeModel


class SAKE(MoleculeModel):
    r"""The spatial attention kinetic network from the `"Spatial Attention
    Kinetic Networks with E(n)-Equivariance"
    <https://arxiv.org/abs/2301.08893>`_ paper for molecules, in the place of
    :class:`torch_geometric.nn.models.SchNet`: the same call, the same output.
    Its layers are :class:`~torch_sake.nn.SAKEConv`.

    Args:
        hidden_channels (int, optional): Size of the hidden features. What
            follows is given by name only, as its order is another one in
            SchNet. (default: :obj:`64`)
        num_layers (int, optional): Number of layers. (default: :obj:`6`)
        heads (int, optional): Number of attention heads. (default: :obj:`4`)
        num_rbf (int, optional): Number of radial functions.
            (default: :obj:`50`)
        cutoff (float, optional): Distance from which on atoms do not see each
            other; :obj:`None` means that all see each other, as in the
            paper. (default: :obj:`5.0`)
        update_pos (bool or [bool], optional): Whether layers move the atoms;
            for all (but the last, where it would have no effect), or for
            each. (default: :obj:`True`)
        embed_charge (bool, optional): If set to :obj:`True`, the model takes
            the total :obj:`charge` and the :obj:`spin` of each graph.
            (default: :obj:`False`)
        **kwargs (optional): Additional arguments of
            :class:`~torch_sake.models.MoleculeModel`, which are those of PyG's
            SchNet, and of :class:`~torch_sake.nn.SAKEConv`.

    Shapes:
        As those of :class:`~torch_sake.models.MoleculeModel`.
    """
    def __init__(
        self,
        hidden_channels: int = 64,
        *,
        num_layers: int = 6,
        heads: int = 4,
        num_rbf: int = 50,
        cutoff: float | None = 5.0,
        update_pos: bool | Sequence[bool] = True,
        embed_charge: bool = False,
        **kwargs,
    ):
        super().__init__(hidden_channels, num_layers=num_layers,
                         cutoff=cutoff, conv='sake', heads=heads,
                         num_rbf=num_rbf, update_pos=update_pos,
                         embed_charge=embed_charge, **kwargs)
