from typing import Any


def to_atoms(data: Any, length: float = 1.0, row: int = 0,
             atoms: slice = slice(None)) -> Any:
    r"""Returns the structure of a frame as :class:`ase.Atoms`.

    Args:
        data (Data or Batch): The frame, or several.
        length (float, optional): The unit of length of the data in Angstrom.
            (default: :obj:`1.0`)
        row (int, optional): Which frame of a batch. (default: :obj:`0`)
        atoms (slice, optional): Its atoms. (default: all)
    """
    import ase
    cell = {}
    if 'cell' in data:
        cell = {'cell': data.cell[row].numpy() * length,
                'pbc': data.pbc[row].numpy()}
    return ase.Atoms(data.z[atoms].numpy(), data.pos[atoms].numpy() * length,
                     **cell)
