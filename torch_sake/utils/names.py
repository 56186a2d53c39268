r"""Names of classes and calculators. They need no torch."""

from collections.abc import Sequence
from typing import Any

from torch_sake.utils.plain_checks import require

XTB = 'xtb'


def is_import_path(name: Any) -> bool:
    r"""Whether a name is the import path of a class, such as
    :obj:`"my_package.my_module:MyModel"`. Nothing is imported.
    """
    module, colon, attribute = str(name).partition(':')
    return bool(isinstance(name, str) and colon and attribute.isidentifier()
                and all(map(str.isidentifier, module.split('.'))))


def check_import_path(name: str, value: Any) -> str:
    require(is_import_path(value), f"'{name}' must be an import path such as "
                                   f"'my_package.my_module:MyModel' "
                                   f"(got {value!r})")
    return value


def check_calculator_name(name: str, value: str,
                          others: Sequence[str] = ()) -> str:
    r"""Checks what a calculator that labels is called by, which may have other
    names as well. Nothing is imported.
    """
    known = [XTB, *others]
    require(value in known or is_import_path(value),
            f"'{name}' must be {f'one of {known}' if others else repr(XTB)} "
            f"or the import path of an ASE "
            f"calculator such as 'ase.calculators.emt:EMT' (got {value!r})")
    return value
