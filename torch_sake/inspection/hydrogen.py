r"""The stiffness of bonds to hydrogen. It is nearly the same in all molecules
and methods, and the forces of any frames that are not relaxed tell it.
"""

import torch
from torch import Tensor

from torch_sake.inspection.pairs import Slope
from torch_sake.inspection.sample import Sample
from torch_sake.neighbors import neighbor_list

USUAL = 33.0  # eV/Angstrom^2
PARTNERS = {6: 1.09, 7: 1.01, 8: 0.97}  # Angstrom
WINDOW = 0.12  # of the length around the usual one
FEWEST = 30  # bonds
SPREAD = 0.004  # of their lengths
MOST_ATOMS = 60_000


def bond_stiffness(sample: Sample, length: float = 1.0) -> Slope | None:
    r"""Returns how the force on a hydrogen atom along its bond changes with
    the length of the bond, per length, positive if it is drawn back, or
    :obj:`None` if there are too few of such bonds. The number is of bonds.

    Args:
        sample (Sample): The frames.
        length (float, optional): What a length of 1 is in Angstrom.
            (default: :obj:`1.0`)
    """
    has_hydrogen = sample.per_frame((sample.z == 1).double()) > 0
    if sample.force is None or not bool(has_hydrogen.any()):
        return None
    part = sample.select(has_hydrogen.nonzero()[:, 0]).some(MOST_ATOMS)
    usual = torch.zeros(int(part.z.max()) + 1, dtype=torch.double)
    for element, value in PARTNERS.items():
        usual[element:element + 1] = value / length
    if not bool(usual.any()):  # nothing but hydrogen, say
        return None
    source, target, dist, vec = _hydrogen_edges(part, float(usual.max()))
    usual = usual[part.z[source]]
    bonded = (dist - usual).abs() < WINDOW * usual
    along = (part.force[target] * vec).sum(dim=1) / dist
    bonded &= along.isfinite()
    return _fit(dist[bonded], along[bonded], part.z[source][bonded])


def _hydrogen_edges(part: Sample, longest: float) -> tuple[Tensor, ...]:
    r"""Returns the nearest neighbor of each hydrogen atom that has one, the
    atom itself, their distance and the vector to the atom.
    """
    edge_index, shift = neighbor_list(
        part.pos, longest * (1 + WINDOW), part.batch, part.cell,
        None if part.cell is None else part.pbc)
    keep = part.z[edge_index[1]] == 1
    (source, target), shift = edge_index[:, keep], shift[keep]
    vec = part.pos[target] - part.pos[source] - shift
    dist = vec.norm(dim=1)
    least = torch.full_like(part.pos[:, 0], torch.inf).scatter_reduce(
        0, target, dist, 'amin')
    keep = dist == least[target]
    return source[keep], target[keep], dist[keep], vec[keep]


def _fit(r: Tensor, f: Tensor, group: Tensor) -> Slope | None:
    xx = xy = yy = number = 0.0
    for element in group.unique().tolist():
        x, y = r[group == element], f[group == element]
        if len(x) < FEWEST or float(x.std() / x.mean()) < SPREAD:
            continue
        away = (y - y.median()).abs()
        usual = away <= 10 * away.median()  # of a few wrong labels, neither
        x, y = x[usual] - x[usual].mean(), y[usual] - y[usual].mean()
        xx += float((x * x).sum())
        xy -= float((x * y).sum())
        yy += float((y * y).sum())
        number += len(x)
    if number == 0 or yy == 0:
        return None
    return Slope(xy / xx, abs(xy) / (xx * yy)**0.5, int(number))
