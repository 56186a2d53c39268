import os.path as osp
from typing import Any, Dict, NamedTuple

from torch_geometric.datasets import QM9

from torch_sake.checks import check_option
from torch_sake.datasets.frames import Frames
from torch_sake.files import PathLike, replace_when_complete

# Of the 133,885 molecules, 3,054 whose structures did not pass the authors'
# test of consistency are left out, by PyG:
NUM_MOLECULES = 130_831
SPLIT_SEED = 0  # the same for all targets and for all seeds of runs


class Target(NamedTuple):
    r"""A target of QM9: its column in PyG's labels, the unit that the
    literature reports, how many of them PyG's unit is, and how atoms make it
    up.
    """
    column: int
    unit: str
    factor: float
    readout: str


# In float32, in which PyG has the labels, U0, U, H and G (about -11,000 eV)
# are rounded to 1 meV. The energies of atomization, five columns further on,
# are the same without the energies of the single atoms ('QM9.atomref').
TARGETS: Dict[str, Target] = {
    'mu': Target(0, 'mD', 1000, 'dipole'),
    'alpha': Target(1, 'a0^3', 1, 'add'),
    'homo': Target(2, 'meV', 1000, 'mean'),
    'lumo': Target(3, 'meV', 1000, 'mean'),
    'gap': Target(4, 'meV', 1000, 'mean'),
    'r2': Target(5, 'a0^2', 1, 'extent'),
    'zpve': Target(6, 'meV', 1000, 'add'),
    'u0': Target(12, 'meV', 1000, 'add'),
    'u': Target(13, 'meV', 1000, 'add'),
    'h': Target(14, 'meV', 1000, 'add'),
    'g': Target(15, 'meV', 1000, 'add'),
    'cv': Target(11, 'cal/(mol K)', 1, 'add'),
}


class _QM9(QM9):
    @classmethod
    def save(cls, data_list: Any, path: str) -> None:
        with replace_when_complete(path) as temporary:
            super().save(data_list, temporary)


def qm9_frames(root: PathLike, name: str) -> Frames:
    r"""Reads one of the twelve targets of
    :class:`~torch_geometric.datasets.QM9`, in the unit that the literature
    reports.

    The files lie where PyG puts them, in :obj:`<root>/raw`: with
    :obj:`rdkit`, :obj:`gdb9.sdf`, :obj:`gdb9.sdf.csv` and
    :obj:`uncharacterized.txt`, and without it :obj:`qm9_v3.pt`. If they do
    not, PyG downloads them. The molecules are in PyG's order.

    .. list-table::
       :header-rows: 1

       * - Name
         - Target
         - Unit
         - Readout
       * - :obj:`mu`
         - dipole moment
         - mD
         - dipole
       * - :obj:`alpha`
         - isotropic polarizability
         - a0^3
         - add
       * - :obj:`homo`, :obj:`lumo`, :obj:`gap`
         - energies of orbitals, and their difference
         - meV
         - mean
       * - :obj:`r2`
         - electronic spatial extent
         - a0^2
         - extent
       * - :obj:`zpve`
         - zero point vibrational energy
         - meV
         - add
       * - :obj:`u0`, :obj:`u`, :obj:`h`, :obj:`g`
         - internal energies at 0 K and 298.15 K, enthalpy and free energy at
           298.15 K, of atomization: less those of the single atoms
         - meV
         - add
       * - :obj:`cv`
         - heat capacity at 298.15 K
         - cal/(mol K)
         - add

    Args:
        root (str or os.PathLike): The folder of the data.
        name (str): The name of the target.

    Raises:
        ValueError: If the name is unknown, or the files are neither there nor
            can be downloaded, or are damaged, or hold molecules that should
            have been left out.
    """
    check_option('name', name, TARGETS)
    target, root = TARGETS[name], osp.expanduser(root)
    # Failures are of the network, of its proxies, of an archive or of a file.
    try:
        dataset = _QM9(root)
    except Exception as error:
        raise ValueError(
            f"The files of QM9 in '{root}' can neither be read nor "
            f"downloaded ({type(error).__name__}: {error}). Place PyG's "
            f"'qm9_v3.pt', or with rdkit 'gdb9.sdf', 'gdb9.sdf.csv' and "
            f"'uncharacterized.txt', in '{osp.join(root, 'raw')}', and remove "
            f"'{osp.join(root, 'processed')}' if it is damaged") from error
    if len(dataset) > NUM_MOLECULES:
        raise ValueError(f"'{root}' must hold at most {NUM_MOLECULES} "
                         f"molecules, those that are characterized "
                         f"(got {len(dataset)})")
    data = dataset._data
    return Frames(
        z=data.z,
        pos=data.pos,
        energy=data.y[:, target.column].double() * target.factor,
        num_atoms=dataset.slices['z'].diff(),
        name=name,
        units={'length': 'Angstrom', name: target.unit},
        source=f'qm9:{name}',
        readout=target.readout,
        split_seed=SPLIT_SEED,
    )
