from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from torch_sake.utils.plain_checks import require

# Of the iteration, such that small singular values grow as fast as they can
# (K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks",
# 2024):
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NUM_ITERATIONS = 5


class Muon(Optimizer):
    r"""Moves matrices by orthogonal ones: those nearest to the average of
    their gradients, of the size of a step of Adam

    .. math::
        \mathbf{M} &\leftarrow \beta \mathbf{M} + (1 - \beta) \mathbf{G} \\
        \mathbf{W} &\leftarrow \mathbf{W} - 0.2 \, \eta \sqrt{\max(m, n)} \;
        \mathrm{orthogonalize} \left( \beta \mathbf{M} + (1 - \beta)
        \mathbf{G} \right)

    It is :class:`torch.optim.Muon` with
    :obj:`adjust_lr_fn="match_rms_adamw"` and without weight decay, and can
    go on from its state. It differs in how it gets there: matrices of one
    shape are made orthogonal together, and on a CPU in single precision, as
    few CPUs have units for the bfloat16 of torch's, which is ten times as slow
    without.

    Args:
        params (iterable): The matrices.
        lr (float): The learning rate :math:`\eta`.
        momentum (float, optional): The decay :math:`\beta` of the average.
            (default: :obj:`0.95`)

    Raises:
        ValueError: If a parameter is no matrix.
    """
    def __init__(self, params: Iterable[Tensor], lr: float,
                 momentum: float = 0.95):
        super().__init__(params, {'lr': lr, 'momentum': momentum})
        for group in self.param_groups:
            for parameter in group['params']:
                require(parameter.dim() == 2,
                        f"'params' must be matrices (got one of shape "
                        f"{list(parameter.shape)})")

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> Tensor | None:
        r"""Moves all parameters that have gradients, after the
        :obj:`closure`, if there is one, has computed them and the loss.
        """
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            alike: dict[tuple, list[Tensor]] = defaultdict(list)
            for value in group['params']:
                if value.grad is not None:
                    alike[value.shape, value.dtype, value.device].append(value)
            for parameters in alike.values():
                self._move(parameters, group['lr'], group['momentum'])
        return loss

    def _move(self, parameters: list[Tensor], lr: float,
              momentum: float) -> None:
        r"""Moves parameters of one shape."""
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]['momentum_buffer'] = torch.zeros_like(
                    parameter)
        gradients = [parameter.grad for parameter in parameters]
        averages = [self.state[parameter]['momentum_buffer']
                    for parameter in parameters]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        steps = orthogonalize(
            torch.stack(gradients).lerp(torch.stack(averages), momentum))
        size = 0.2 * max(parameters[0].shape)**0.5
        torch._foreach_add_(parameters, list(steps.to(gradients[0]).unbind()),
                            alpha=-lr * size)


def orthogonalize(matrices: Tensor) -> Tensor:
    r"""Returns matrices with the singular vectors of the given ones and
    singular values near one, by an iteration of Newton and Schulz.

    Shapes:
        - **input and output:** matrices :math:`(M, m, n)`
    """
    x = matrices.to(torch.bfloat16 if matrices.is_cuda else torch.float)
    tall = x.size(1) > x.size(2)
    if tall:
        x = x.mT
    # No singular value is larger than this norm:
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.mT  # [M, m, m]
        gram = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, gram, x, beta=a)
    return x.mT if tall else x
