import os.path as osp
from typing import NamedTuple

from torch_sake.datasets.frames.frames import Frames
from torch_sake.datasets.frames.qm9_files import read_molecules
from torch_sake.utils.paths import PathLike, local_path
from torch_sake.utils.plain_checks import check_option

# Of the 133,885 molecules, 3,054 whose structures did not pass the authors'
# test of consistency are left out:
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
TARGETS: dict[str, Target] = {
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


def qm9_frames(root: PathLike, name: str) -> Frames:
    r"""Reads one of the twelve targets of
    :class:`~torch_geometric.datasets.QM9`, in the unit that the literature
    reports.

    The files lie where PyG puts them, in :obj:`<root>/raw`:
    :obj:`gdb9.sdf`, :obj:`gdb9.sdf.csv` and :obj:`uncharacterized.txt`, or
    else :obj:`qm9_v3.pt`. If they do not, PyG downloads them. They are read
    each time, by this package, which executes nothing in them and opens no
    other files. The molecules, and all digits of their labels, are those of
    PyG.

    ===============  ================================  ===========  =======
    Name             Target                            Unit         Readout
    ===============  ================================  ===========  =======
    mu               dipole moment                     mD           dipole
    alpha            isotropic polarizability          a0^3         add
    homo, lumo, gap  energies of orbitals, difference  meV          mean
    r2               electronic spatial extent         a0^2         extent
    zpve             zero point vibrational energy     meV          add
    u0               internal energy at 0 K            meV          add
    u, h, g          internal energy, enthalpy and     meV          add
                     free energy at 298.15 K
    cv               heat capacity at 298.15 K         cal/(mol K)  add
    ===============  ================================  ===========  =======

    The energies :obj:`u0`, :obj:`u`, :obj:`h` and :obj:`g` are those of
    atomization: less those of the single atoms.

    Args:
        root (str or os.PathLike): The folder of the data.
        name (str): The name of the target.

    Raises:
        ValueError: If the name is unknown, or the files are neither there nor
            can be downloaded, or are damaged, or hold molecules that should
            have been left out.
    """
    check_option('name', name, TARGETS)
    target, root = TARGETS[name], local_path('root', root)
    # Failures are of the network, of its proxies, of an archive or of a file.
    try:
        molecules = read_molecules(root)
    except Exception as error:
        reason = str(error).partition('\n')[0]
        raise ValueError(
            f"The files of QM9 in '{root}' can neither be read nor "
            f"downloaded ({type(error).__name__}: {reason}). Place PyG's "
            f"'qm9_v3.pt', or 'gdb9.sdf', 'gdb9.sdf.csv' and "
            f"'uncharacterized.txt', in '{osp.join(root, 'raw')}'") from error
    if len(molecules.y) > NUM_MOLECULES:
        raise ValueError(f"'{root}' must hold at most {NUM_MOLECULES} "
                         f"molecules, those that are characterized "
                         f"(got {len(molecules.y)})")
    return Frames(
        z=molecules.z,
        pos=molecules.pos,
        energy=molecules.y[:, target.column].double() * target.factor,
        num_atoms=molecules.num_atoms,
        name=name,
        units={'length': 'Angstrom', name: target.unit},
        source=f'qm9:{name}',
        readout=target.readout,
        split_seed=SPLIT_SEED,
    )
