r"""Calculators that label, by name."""

import hashlib
import importlib
import os.path as osp
import sys
from collections.abc import Iterable
from importlib import metadata
from importlib.util import find_spec

from torch_sake.utils.elements import symbols_of
from torch_sake.utils.messages import one_line
from torch_sake.utils.names import XTB, check_calculator_name
from torch_sake.utils.plain_checks import require

XTB_ELEMENTS = 86  # GFN2-xTB has parameters of all up to radon


def title_of(calculator: str) -> str:
    r"""Returns what people call a calculator."""
    return 'GFN2-xTB' if calculator == XTB else calculator


def check_calculator(calculator: str, elements: Iterable[int] = (),
                     states: Iterable[tuple[int, int | None]] = (),
                     called: str = 'calculator') -> None:
    r"""Raises an error if structures cannot be labeled, before anything runs.

    An import path runs the code of its module: it is to come from the user,
    and never from a file.

    Args:
        calculator (str): :obj:`"xtb"`, which is GFN2-xTB by tblite, or the
            import path of a class of :class:`ase.calculators.calculator`, or
            of a function that returns one, called without arguments.
        elements (list of int, optional): The atomic numbers.
            (default: :obj:`()`)
        states (list of tuple, optional): Pairs of charge and multiplicity;
            :obj:`None` for the lowest multiplicity. (default: :obj:`()`)
        called (str, optional): What errors call the argument.
            (default: :obj:`"calculator"`)

    Raises:
        ImportError: If the package of the calculator is missing.
        TypeError: If it is no calculator.
        ValueError: If there is none of that name, or it does not know an
            element or a state.
    """
    check_calculator_name(called, calculator)
    if find_spec('ase') is None or (calculator == XTB
                                    and find_spec('tblite') is None):
        raise ImportError("Labels by an ASE calculator need ASE and, for "
                          "'xtb', tblite: pip install 'torch-sake[train]'")
    if calculator == XTB:
        unknown = [number for number in elements if number > XTB_ELEMENTS]
        require(not unknown, f"'{called}' must know all elements: 'xtb' has "
                             f"no parameters of {symbols_of(unknown)}")
        return
    others = sorted({(charge, spin) for charge, spin in states
                     if charge != 0 or spin not in (None, 1)}, key=str)
    require(not others,
            f"'{called}' must be 'xtb' for charges and multiplicities, of "
            f"which other calculators are told nothing (got {calculator!r} "
            f"and {', '.join(map(str, others))})")
    _check_import(calculator, called)


def _check_import(path: str, called: str) -> None:
    name, _, attribute = path.partition(':')
    try:
        found = getattr(importlib.import_module(name), attribute)
    except Exception as error:  # anything that the code of a user raises
        raise ValueError(f"'{called}' must be a calculator in a module that "
                         f"can be imported (got {path!r}: "
                         f"{one_line(error)})") from error
    if isinstance(found, type):
        calculates = hasattr(found, 'get_potential_energy') and (
            not hasattr(found, 'get_positions'))  # as atoms have
    else:
        calculates = callable(found)
    if not calculates:
        raise TypeError(f"'{called}' must be a class or function that returns "
                        f"an ASE calculator (got {path!r}: {found!r})")


def version_of(calculator: str) -> dict[str, str | None]:
    r"""Returns what tells a version of a calculator from others: that of its
    package, if it has one, and the digest of the file of an import path, which
    this process has imported.
    """
    if calculator == XTB:
        return {'version': _package_version('tblite')}
    name = calculator.partition(':')[0]
    file = getattr(sys.modules[name], '__file__', None)
    digest = None
    if file is not None and osp.exists(file):
        with open(file, 'rb') as opened:
            digest = hashlib.sha256(opened.read()).hexdigest()
    return {'version': _package_version(name.partition('.')[0]),
            'source': digest}


def _package_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # such as a file of the user
        version = getattr(sys.modules.get(name), '__version__', None)
        return None if version is None else str(version)


def places_of(calculator: str) -> tuple[str, ...]:
    r"""Returns where other processes find the module of a calculator that
    this one has imported, such as one of the folder that it was started in.
    """
    if calculator == XTB:
        return ()
    package = sys.modules[calculator.partition(':')[0].partition('.')[0]]
    file = getattr(package, '__file__', None)
    if file is None:
        return ()
    is_package = osp.basename(file).startswith('__init__.')
    folder = osp.dirname(osp.abspath(file))
    return (osp.dirname(folder) if is_package else folder, )
