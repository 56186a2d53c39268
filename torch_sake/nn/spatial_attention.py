import importlib.util

from torch import Tensor

from torch_sake.ops.linear import Linear
from torch_sake.ops.scatter import sum_outer_products
from torch_sake.ops.segments import Segments, sort_edges
from torch_sake.ops.tanh import tanh

HAS_TRITON = importlib.util.find_spec('triton') is not None


def sum_combinations(embedding: Tensor, attention: Tensor, direction: Tensor,
                     lin: Linear, targets: Segments,
                     kernels: bool = False) -> Tensor:
    r"""The spatial attention of SAKE (paper, section 3.3): returns

    .. math::
        \sum_j \tanh \left( \mathbf{W}_c (\mathbf{w}_{ij} \otimes
        \mathbf{e}_{ij}) \right) \otimes \vec{u}_{ij}

    without a tensor of size :math:`(E, D, C)`; if :obj:`kernels`, where there
    are some for such tensors, without one of :math:`(E, C)` or
    :math:`(E, HF)`, either, in derivatives as well.

    Args:
        embedding (torch.Tensor): The edge embeddings.
        attention (torch.Tensor): The attention weights.
        direction (torch.Tensor): The directions.
        lin (Linear): The linear map :math:`\mathbf{W}_c`, whose inputs are
            ordered head by head.
        targets (Segments): The edges of each target.
        kernels (bool, optional): If set to :obj:`True`, kernels are used where
            there are some. (default: :obj:`False`)

    Shapes:
        - **input:** edge embeddings :math:`(E, F)`, attention weights
          :math:`(E, H)`, directions :math:`(E, D)`
        - **output:** sums :math:`(N, D, C)`
    """
    if kernels and HAS_TRITON:
        from torch_sake.ops import spatial_attention_operators as operators
        if operators.serve(embedding, attention, direction):
            targets = sort_edges(targets)
            return operators.fused_combinations(
                embedding, attention, direction, lin.weight, targets.index,
                targets.order, targets.offsets)
    message = (attention.unsqueeze(2) * embedding.unsqueeze(1)).flatten(
        start_dim=1)  # [E, HF], head by head
    return sum_outer_products(tanh(lin(message)), direction, targets)
