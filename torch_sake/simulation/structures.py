import os.path as osp
from typing import Any, Dict, Optional

from torch_sake.checkpoint import check_kind, load_checkpoint
from torch_sake.files import PathLike
from torch_sake.units import check_units


def read_structure(path: Optional[PathLike], checkpoint: PathLike) -> Any:
    r"""Returns a structure as :class:`ase.Atoms`.

    Args:
        path (str or os.PathLike or None): A file that ASE reads;
            :obj:`'file@3'` is its fourth structure, without a number it is the
            last one. If :obj:`None`, it is the first frame of the data that
            the checkpoint was trained on.
        checkpoint (str or os.PathLike): The checkpoint.

    Raises:
        ImportError: If ASE is missing.
        ValueError: If the file is missing or cannot be read.
    """
    try:
        import ase.io
    except ImportError as error:
        raise ImportError("Simulations need ASE: "
                          "pip install 'torch-sake[train]'") from error
    if path is None:
        return _first_frame(checkpoint)
    path = osp.expanduser(path)
    if not osp.isfile(path) and not osp.isfile(path.rpartition('@')[0]):
        raise ValueError(f"'structure' must be a file (got {path!r})")
    # The readers of ASE raise whatever a line of their format leads to.
    try:
        atoms = ase.io.read(path)
    except Exception as error:
        raise ValueError(f"'structure' cannot be read by ASE ({path!r}, "
                         f"{type(error).__name__}: {error})") from error
    if len(atoms) == 0:
        raise ValueError(f"'structure' must have atoms (got {path!r})")
    atoms.calc = None
    return atoms


def identity_of(atoms: Any) -> Dict[str, Any]:
    r"""Returns what of a structure stays as it is in a simulation: atomic
    numbers, periodic directions, masses, and constraints as text.
    """
    from ase.io.jsonio import encode
    return {
        'numbers': atoms.numbers,
        'pbc': atoms.pbc,
        'masses': atoms.get_masses(),
        'constraints': encode([constraint.todict()
                               for constraint in atoms.constraints]),
    }


def _first_frame(checkpoint: PathLike) -> Any:
    import ase

    from torch_sake.training.data import load_config_frames
    _, description = load_checkpoint(checkpoint)
    check_kind(description, 'potential')
    data = load_config_frames(description['config'])[0]
    length, _ = check_units(description['units'])
    cell = {}
    if 'cell' in data:
        cell = {'cell': data.cell[0].numpy() * length,
                'pbc': data.pbc[0].numpy()}
    return ase.Atoms(data.z.numpy(), data.pos.numpy() * length, **cell)
