import math

import torch
from torch import Tensor

from torch_sake.utils.bounds import check_cutoff
from torch_sake.utils.plain_checks import check_option, check_positive_int


class PolynomialEnvelope(torch.nn.Module):
    r"""The polynomial envelope of DimeNet

    .. math::
        f(d) = 1 - \frac{(p+1)(p+2)}{2} t^p + p(p+2) t^{p+1}
        - \frac{p(p+1)}{2} t^{p+2}, \quad t = d / d_{\text{cut}}

    which is 1 at zero distance and 0 from the cutoff on, where its first and
    second derivative vanish, too.

    Args:
        cutoff (float): :math:`d_{\text{cut}}` in units of the positions.
        exponent (int, optional): The exponent :math:`p \geq 2`.
            (default: :obj:`6`)

    Shapes:
        - **input:** distances of any shape
        - **output:** values of the same shape

    Raises:
        TypeError, ValueError: If an argument is out of range.
    """
    def __init__(self, cutoff: float, exponent: int = 6):
        super().__init__()
        self.cutoff = check_cutoff('cutoff', cutoff)
        self.exponent = check_positive_int('exponent', exponent)
        if exponent < 2:
            raise ValueError(f"'exponent' must be at least 2 (got {exponent})")

    def forward(self, dist: Tensor) -> Tensor:
        """"""
        p = self.exponent
        t = (dist / self.cutoff).clamp(max=1.0)
        return 1 + t**p * (-(p + 1) * (p + 2) / 2 + p * (p + 2) * t - p *
                           (p + 1) / 2 * t.square())

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}({self.cutoff}, '
                f'exponent={self.exponent})')


class CosineEnvelope(torch.nn.Module):
    r"""The cosine envelope

    .. math::
        f(d) = \frac{1}{2} \left(\cos(\pi d / d_{\text{cut}}) + 1\right)

    for :math:`d < d_{\text{cut}}` and 0 beyond. Its second derivative jumps at
    the cutoff: forces are continuous, but have a kink.

    Args:
        cutoff (float): :math:`d_{\text{cut}}` in units of the positions.

    Shapes:
        - **input:** distances of any shape
        - **output:** values of the same shape

    Raises:
        TypeError, ValueError: If the cutoff is not positive and finite.
    """
    def __init__(self, cutoff: float):
        super().__init__()
        self.cutoff = check_cutoff('cutoff', cutoff)

    def forward(self, dist: Tensor) -> Tensor:
        """"""
        t = (dist / self.cutoff).clamp(max=1.0)
        return 0.5 * (torch.cos(math.pi * t) + 1.0)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.cutoff})'


ENVELOPES = {'polynomial': PolynomialEnvelope, 'cosine': CosineEnvelope}


def build_envelope(name: str | torch.nn.Module,
                   cutoff: float) -> torch.nn.Module:
    r"""Returns the envelope called :obj:`name`, or the one that is given."""
    if isinstance(name, torch.nn.Module):
        return name
    return ENVELOPES[check_option('envelope', name, ENVELOPES)](cutoff)
