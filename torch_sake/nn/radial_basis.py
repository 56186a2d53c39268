import math

import torch
from torch import Tensor

from torch_sake.utils.plain_checks import (
    check_positive_float,
    check_positive_int,
)


class ExpNormalBasis(torch.nn.Module):
    r"""The exponential normal radial basis of PhysNet, as SAKE uses it

    .. math::
        \phi_k(d) = \exp\left(-\beta_k
        \left(\exp(-\alpha d) - \mu_k\right)^2\right),
        \quad \alpha = 5 / d_{\max}

    with trainable :math:`\mu_k` and :math:`\beta_k` that start as
    :math:`K` centers between :math:`\exp(-\alpha d_{\max}) = \exp(-5)` and 1
    and as :math:`\left(\frac{2}{K} (1 - \exp(-5))\right)^{-2}` (paper,
    section 3.1, after Unke and Meuwly, 2019).

    Args:
        num_rbf (int, optional): Number of functions :math:`K`.
            (default: :obj:`50`)
        max_distance (float, optional): :math:`d_{\max}` in units of the
            positions. (default: :obj:`5.0`)

    Shapes:
        - **input:** distances :math:`(E, 1)`
        - **output:** values :math:`(E, K)`

    Raises:
        TypeError, ValueError: If an argument is not positive.
    """
    def __init__(self, num_rbf: int = 50, max_distance: float = 5.0):
        super().__init__()
        self.num_rbf = check_positive_int('num_rbf', num_rbf)
        self.max_distance = check_positive_float('max_distance', max_distance)
        self.alpha = 5.0 / self.max_distance
        self.means = torch.nn.Parameter(torch.empty(num_rbf))
        self.betas = torch.nn.Parameter(torch.empty(num_rbf))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Resets the centers and the widths."""
        start = math.exp(-self.alpha * self.max_distance)
        with torch.no_grad():
            self.means.copy_(torch.linspace(start, 1, self.num_rbf))
            self.betas.fill_((2 / self.num_rbf * (1 - start))**-2)

    def forward(self, dist: Tensor) -> Tensor:
        """"""
        decay = torch.exp(-self.alpha * dist)  # [E, 1]
        return torch.exp(-self.betas * (decay - self.means).square())

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}({self.num_rbf}, '
                f'max_distance={self.max_distance})')
