from dataclasses import dataclass
from typing import Any

import numpy as np

from torch_sake.utils.plain_checks import (
    check_not_negative,
    check_positive_float,
    check_positive_int,
    require,
)


@dataclass(frozen=True, eq=False)
class Structure:
    r"""Atoms that are to be labeled, or from which a short dynamics starts of
    which frames are labeled.

    Args:
        z (numpy.ndarray): Atomic numbers, :obj:`[n]`.
        pos (numpy.ndarray): Positions in Angstrom, :obj:`[n, 3]`.
        cell (numpy.ndarray, optional): Lattice vectors, as rows,
            :obj:`[3, 3]`. (default: :obj:`None`)
        pbc (numpy.ndarray, optional): Whether each is periodic, :obj:`[3]`;
            all if there is a cell. (default: :obj:`None`)
        charge (int, optional): Total charge in units of e.
            (default: :obj:`0`)
        spin (int, optional): Multiplicity :math:`2 S + 1`, the lowest that the
            number of electrons allows if not given. (default: :obj:`None`)
        config_type (str, optional): What its frames are called.
            (default: :obj:`""`)
        temperature (float, optional): Temperature of the dynamics in K.
            (default: :obj:`None`)
        num_steps (int, optional): Steps of the dynamics; none if zero: the
            structure itself is labeled. (default: :obj:`0`)
        interval (int, optional): Steps from one frame to the next.
            (default: :obj:`10`)

    Raises:
        ValueError: If shapes do not fit together or a number is out of range.
    """
    z: np.ndarray
    pos: np.ndarray
    cell: np.ndarray | None = None
    pbc: np.ndarray | None = None
    charge: int = 0
    spin: int | None = None
    config_type: str = ''
    temperature: float | None = None
    num_steps: int = 0
    interval: int = 10

    def __post_init__(self):
        self._convert('z', np.int64, (-1, ))
        number = len(self.z)
        require(number > 0 and self.z.min() > 0,
                f"'z' must be atomic numbers of at least one atom "
                f"(got {self.z.tolist()})")
        self._convert('pos', np.float64, (number, 3))
        if self.cell is not None:
            self._convert('cell', np.float64, (3, 3))
            if self.pbc is None:
                object.__setattr__(self, 'pbc', np.ones(3, bool))
        if self.pbc is not None:
            self._convert('pbc', np.bool_, (3, ))
            require(self.cell is not None or not self.pbc.any(),
                    f"'pbc' needs a 'cell' (got {self.pbc.tolist()})")
        check_not_negative('num_steps', self.num_steps)
        check_positive_int('interval', self.interval)
        if self.num_steps:
            check_positive_float('temperature', self.temperature)
            require(self.num_steps >= self.interval,
                    f"'num_steps' must be at least 'interval' = "
                    f"{self.interval} (got {self.num_steps})")

    def _convert(self, name: str, kind: Any, shape: tuple[int, ...]) -> None:
        value = np.asarray(getattr(self, name)).astype(kind)
        fits = value.ndim == len(shape) and all(
            size in (-1, found) for size, found in zip(shape, value.shape))
        require(fits and np.isfinite(value).all(),
                f"'{name}' must be finite and of shape {list(shape)} "
                f"(got {list(value.shape)})")
        object.__setattr__(self, name, value)

    @property
    def is_periodic(self) -> bool:
        r"""Whether it is periodic in any direction."""
        return self.pbc is not None and bool(self.pbc.any())

    @property
    def num_frames(self) -> int:
        r"""The number of frames that it gives, if none fails."""
        return self.num_steps // self.interval if self.num_steps else 1

    @property
    def num_labels(self) -> int:
        r"""The number of calculations that it takes."""
        return self.num_steps + 1
