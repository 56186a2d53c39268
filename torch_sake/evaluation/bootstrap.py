from collections.abc import Sequence

import numpy
import torch
from torch import Tensor

NUM_SAMPLES = 1000
CONFIDENCE = 0.95
# Frames that are drawn at once; eight bytes and a weight of eight each.
NUM_DRAWN = 1 << 22

Interval = list[float] | None


def resampled_sums(sums: Tensor, num_samples: int = NUM_SAMPLES,
                   seed: int = 0) -> Tensor:
    r"""Returns the sums over frames that are drawn anew, as many as there are
    and with replacement, :obj:`num_samples` times.

    Shapes:
        - **input:** what each frame adds :math:`(M, *)`
        - **output:** :math:`(B, *)` in float64
    """
    num_frames = sums.size(0)
    generator = numpy.random.default_rng(seed)
    table = sums.double().flatten(1).numpy()  # [M, C]
    at_once = max(NUM_DRAWN // num_frames, 1)
    out = []
    for begin in range(0, num_samples, at_once):
        size = min(at_once, num_samples - begin)
        drawn = generator.integers(num_frames, size=(size, num_frames))
        drawn += num_frames * numpy.arange(size)[:, None]
        times = numpy.bincount(drawn.ravel(), minlength=size * num_frames)
        out.append(times.reshape(size, num_frames).astype(float) @ table)
    return torch.from_numpy(numpy.concatenate(out)).view(-1, *sums.shape[1:])


def error_intervals(sums: Tensor, names: Sequence[str],
                    seed: int = 0) -> dict[str, Interval]:
    r"""Returns confidence intervals of mean absolute and root mean square
    errors, by the percentiles of the bootstrap: frames, whose errors are
    independent, are drawn anew with replacement and the errors computed from
    them. Atoms and components of a frame stay together, as their errors have
    the same causes. One frame alone has no interval, but :obj:`None`.

    Args:
        sums (torch.Tensor): The number, the sum of the absolute values and
            the sum of the squares of the errors of each frame and quantity.
        names (list of str): The names of the quantities.
        seed (int, optional): Seed of the draws. (default: :obj:`0`)

    Shapes:
        - **input:** :math:`(M, K, 3)`
    """
    number, absolute, square = resampled_sums(sums, seed=seed).unbind(dim=-1)
    tail = (1 - CONFIDENCE) / 2
    probabilities = torch.tensor([tail, 1 - tail], dtype=torch.double)
    known = (sums[..., 0] > 0).sum(dim=0)
    intervals = {}
    for kind, values in (('mae', absolute / number),
                         ('rmse', (square / number).sqrt())):  # [B, K]
        # Draws without any frame that has the quantity say nothing of it.
        limits = values.nanquantile(probabilities, dim=0)
        for name, frames, interval in zip(names, known, limits.t().tolist()):
            intervals[f'{name}_{kind}'] = interval if frames > 1 else None
    return intervals
