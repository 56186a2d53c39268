r"""Message passing by PyG, without what it makes of type hints."""

import inspect

from torch import Tensor
from torch_geometric.nn import MessagePassing

HOOKS = ('message', 'aggregate', 'update', 'explain_message')


class UntypedMessagePassing(MessagePassing):
    r"""A :class:`torch_geometric.nn.conv.MessagePassing` whose methods may
    have any type hints, :obj:`Tensor | None` for example, or none.

    PyG reads them to write a :meth:`propagate` of its own for each class, for
    TorchScript, which takes no inputs but those that it finds in a call of it.
    That of the base class takes all, in the same time.
    """
    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        for name in HOOKS:
            hook = cls.__dict__.get(name)
            if inspect.isfunction(hook):  # what PyG finds of it is bare
                signature = inspect.signature(hook)
                hook.__signature__ = signature.replace(parameters=[
                    parameter.replace(annotation=parameter.empty)
                    for parameter in signature.parameters.values()
                ], return_annotation=signature.empty)

    def _set_jittable_templates(self, raise_on_error: bool = False) -> None:
        pass

    def edge_mask(self, edges: Tensor) -> Tensor | None:
        r"""Returns the mask that an explainer of
        :obj:`torch_geometric.explain` has given to the layer, if any.

        Shapes:
            - **input:** what there is of the edges :math:`(E, *)`
            - **output:** mask :math:`(E, 1)`

        Raises:
            ValueError: If the mask is one of other edges.
        """
        if not self.explain or self._edge_mask is None:
            return None
        if self._edge_mask.shape != edges.shape[:1]:
            raise ValueError(f"The mask of an explainer must have one value "
                             f"for each of the {edges.size(0)} edges of the "
                             f"layer (got {list(self._edge_mask.shape)})")
        ones = edges.new_ones(edges.size(0), 1)
        return MessagePassing.explain_message(self, ones, None).to(edges.dtype)
