r"""Compiled functions of potentials, and how they are looked at before they
are trusted.
"""

import functools
from typing import Callable, List

import torch
from torch import Tensor


@functools.cache
def compile_function(function: Callable) -> Callable:
    r"""Returns the compiled function, for all sizes of its inputs."""
    # Here, as versions of torch before 2.6 can do all but this:
    from torch_sake.inductor import OperatorsForCPU

    # Kept here, not by potentials, which can be copied and pickled then.
    return torch.compile(
        function, dynamic=True, fullgraph=True,
        options={'post_grad_custom_post_pass': OperatorsForCPU()})


def verify(compiled: Callable, function: Callable,
           parameters: List[Tensor]) -> None:
    r"""Raises an error if a compiled function returns something else than the
    function, or has other derivatives with respect to parameters that learn.
    """
    learning = [value for value in parameters if value.requires_grad]
    results = []
    for call in (compiled, function):
        outputs = call()
        outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        values = [output.detach() for output in outputs]
        if outputs[0].requires_grad:
            # Of a sum in which every number has a weight of its own:
            total = sum((output * torch.linspace(
                0.5, 1.5, output.numel(), dtype=output.dtype,
                device=output.device).view_as(output)).sum()
                for output in outputs)
            values += torch.autograd.grad(total, learning,
                                          materialize_grads=True)
        results.append(values)
    for value, expected in zip(*results):
        tolerance = torch.finfo(parameters[0].dtype).eps**0.5
        error = (value - expected).abs().max() if value.numel() else 0
        scale = expected.abs().max() if value.numel() else 1
        if not error <= tolerance * scale + tolerance:
            raise RuntimeError(f'the compiled function differs by '
                               f'{float(error):.2g} in values up to '
                               f'{float(scale):.2g}')
