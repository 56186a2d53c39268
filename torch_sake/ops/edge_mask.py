from torch import Tensor
from torch_geometric.nn import MessagePassing


def edge_mask(conv: MessagePassing, edges: Tensor) -> Tensor:
    r"""Returns the mask that an explainer of :obj:`torch_geometric.explain`
    has given to a layer.

    Shapes:
        - **input:** what there is of the edges :math:`(E, *)`
        - **output:** mask :math:`(E, 1)`

    Raises:
        ValueError: If the mask is one of other edges.
    """
    if conv._edge_mask.shape != edges.shape[:1]:
        raise ValueError(f"The mask of an explainer must have one value for "
                         f"each of the {edges.size(0)} edges of the layer "
                         f"(got {list(conv._edge_mask.shape)})")
    ones = edges.new_ones(edges.size(0), 1)
    mask = MessagePassing.explain_message(conv, ones, None)
    return mask.to(edges.dtype)
