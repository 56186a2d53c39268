r"""Message passing by PyG, without what it makes of type hints."""

import inspect
from collections.abc import Container, Iterable, Mapping
from typing import Any

from torch import Tensor
from torch_geometric.nn import MessagePassing

# Those of MessagePassing that layers leave to the user:
ARGUMENTS = inspect.signature(MessagePassing).parameters.keys() - {
    'aggr', 'node_dim', 'kwargs'}
HOOKS = ('message', 'aggregate', 'update', 'explain_message')


class UntypedMessagePassing(MessagePassing):
    r"""A :class:`torch_geometric.nn.conv.MessagePassing` of sums whose methods
    may have any type hints, :obj:`Tensor | None` for example, or none.

    PyG reads them to write a :meth:`propagate` of its own for each class, for
    TorchScript, which takes no inputs but those that it finds in a call of it.
    That of the base class takes all, in the same time. A method that adds
    inputs to those of its parent need not repeat these:
    :obj:`message(self, charge_j, **inputs)` has them all.
    """
    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        for name in HOOKS:
            if name in cls.__dict__:  # what PyG finds of it is bare
                cls.__dict__[name].__signature__ = inspect.Signature([
                    parameter.replace(annotation=parameter.empty)
                    for parameter in cls._parameters_of(name)])

    @classmethod
    def _parameters_of(cls, name: str) -> list[inspect.Parameter]:
        r"""Returns the parameters of a method of the class. If it takes all
        by :obj:`**inputs`, those are what the method of its parent takes.
        """
        def parameters_of(method: Any) -> list[inspect.Parameter]:
            return list(inspect.signature(method).parameters.values())

        *parameters, last = parameters_of(cls.__dict__[name])
        if last.kind is not last.VAR_KEYWORD:
            return [*parameters, last]
        own = {parameter.name for parameter in parameters}
        first = 1 if name == 'message' else 2  # after self and what comes in
        return parameters + [
            parameter.replace(kind=parameter.KEYWORD_ONLY)
            for parameter in parameters_of(getattr(super(cls, cls), name))[
                first:] if parameter.name not in own]

    @classmethod
    def names_of_arguments(cls, name: str) -> set[str]:
        r"""Returns the names that a method asks for, also that of a parent."""
        return {key for kind in cls.__mro__ if name in kind.__dict__
                for key, value in inspect.signature(
                    kind.__dict__[name]).parameters.items()
                if value.kind is not value.VAR_KEYWORD}

    def __init__(self, **kwargs) -> None:
        unknown = sorted(kwargs.keys() - ARGUMENTS)
        if unknown:
            raise TypeError(f"{type(self).__name__} has no arguments "
                            f"{unknown}")
        if kwargs.get('decomposed_layers', 1) != 1:
            raise ValueError(f"'decomposed_layers' must be 1, as channels do "
                             f"not stand alone (got "
                             f"{kwargs['decomposed_layers']})")
        super().__init__(aggr='sum', node_dim=0, **kwargs)
        # What messages ask for, and what they take if it is not given:
        self._defaults = {
            name[:-2] if name.endswith(('_i', '_j')) else name: value.default
            for name, value in self.inspector.get_flat_param_dict(
                ['message', 'aggregate', 'update'],
                exclude=self.special_args).items()}

    def check_names(self, inputs: Iterable[str],
                    computed: Container[str] = ()) -> None:
        r"""Raises an error if messages ask for no inputs of some names, or get
        what the layer has computed by that name.
        """
        unknown = [name for name in inputs
                   if name not in self._defaults or name in computed]
        if unknown:
            raise TypeError(f"{type(self).__name__} has no inputs {unknown}")

    def check_no_edges(self, inputs: Mapping[str, Any]) -> None:
        r"""Raises an error if there are inputs of edges: what messages ask for
        by its plain name, and is more than one number for all of them.
        """
        of_edges = self.inspector.get_flat_param_dict(['message'])
        for name, value in inputs.items():
            if name in of_edges and isinstance(value, Tensor) and value.dim():
                raise ValueError(f"'{name}' needs 'edge_index' (got None)")

    def propagate(self, edge_index: Tensor, size: Any = None,
                  **inputs: Any) -> Any:
        """"""
        inputs = {**self._defaults, **inputs}
        missing = [name for name, value in inputs.items()
                   if value is inspect.Parameter.empty]
        if missing:
            raise TypeError(f"{type(self).__name__} needs the inputs "
                            f"{missing}, by name")
        return super().propagate(edge_index, size, **inputs)

    def _set_jittable_templates(self, raise_on_error: bool = False) -> None:
        pass

    def edge_mask(self, edges: Tensor) -> Tensor:
        r"""Returns the mask that an explainer of
        :obj:`torch_geometric.explain` has given to the layer.

        Shapes:
            - **input:** what there is of the edges :math:`(E, *)`
            - **output:** mask :math:`(E, 1)`

        Raises:
            ValueError: If the mask is one of other edges.
        """
        if self._edge_mask.shape != edges.shape[:1]:
            raise ValueError(f"The mask of an explainer must have one value "
                             f"for each of the {edges.size(0)} edges of the "
                             f"layer (got {list(self._edge_mask.shape)})")
        ones = edges.new_ones(edges.size(0), 1)
        return MessagePassing.explain_message(self, ones, None).to(edges.dtype)
