r"""Names of packages that are imported when they are asked for. The command
line answers what needs no torch, such as :obj:`--help`, without it.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any


def lazy_names(
    package: str, homes: dict[str, str], first: str | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    r"""Returns the functions :obj:`__getattr__` and :obj:`__dir__` of a
    package. Its modules are imported when they are asked for, too.

    Args:
        package (str): The name of the package.
        homes (dict): The names that it offers and, for each, the module of the
            package that has it.
        first (str, optional): A module to import before any of these.
            (default: :obj:`None`)
    """
    def load(name: str) -> Any:
        if name.startswith('_'):
            raise AttributeError(_message(package, name))
        home = f'{package}.{homes.get(name, name)}'
        if first is not None:
            importlib.import_module(first)
        try:
            module = importlib.import_module(home)
        except ModuleNotFoundError as error:
            if error.name != home:  # another one, that the module needs
                raise
            raise AttributeError(_message(package, name)) from None
        return getattr(module, name) if name in homes else module

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return load, names


def _message(package: str, name: str) -> str:
    return f"module '{package}' has no attribute '{name}'"
