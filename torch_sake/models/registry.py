r"""Models by name: those of this package, and those of the user by their
import path.
"""

import importlib
from typing import Any

import torch

from torch_sake.models.sake import SAKE
from torch_sake.models.vector_sake import VectorSAKE
from torch_sake.utils.messages import one_line
from torch_sake.utils.names import is_import_path

MODELS: dict[str, type] = {'SAKE': SAKE, 'VectorSAKE': VectorSAKE}


def find_model(name: str | type) -> type:
    r"""Returns the class of a model.

    An import path runs the code of its module: it is to come from the user,
    as an argument or from the command line, and never from a file.

    Args:
        name (str or type): A name of :obj:`MODELS`, the import path of a
            class, such as :obj:`"my_package.my_module:MyModel"`, or the class
            itself.

    Raises:
        ImportError: If its module raises an error.
        TypeError: If it is no class of :class:`torch.nn.Module`.
        ValueError: If there is no model of that name.
    """
    found: Any = name
    if isinstance(name, str):
        found = MODELS[name] if name in MODELS else _import(name)
    if not (isinstance(found, type) and issubclass(found, torch.nn.Module)):
        raise TypeError(f"'model' must be a class of torch.nn.Module, or the "
                        f"name of one (got {name!r})")
    return found


def name_of(model: type) -> str:
    r"""Returns the name by which :func:`find_model` finds a class.

    Raises:
        ValueError: If it has none, as a class within a function.
    """
    if MODELS.get(model.__name__) is model:
        return model.__name__
    name = f'{model.__module__}:{model.__qualname__}'
    if not is_import_path(name):
        raise ValueError(f"'model' must be a class of a module, not of a "
                         f"function or another class (got {name!r})")
    return name


def _import(path: str) -> Any:
    if not is_import_path(path):
        raise ValueError(f"'model' must be one of {sorted(MODELS)} or an "
                         f"import path such as "
                         f"'my_package.my_module:MyModel' (got {path!r})")
    name, _, attribute = path.partition(':')
    try:
        module = importlib.import_module(name)
    except Exception as error:  # anything that the code of a user raises
        if isinstance(error, ModuleNotFoundError) and (
                f'{name}.'.startswith(f'{error.name}.')):
            raise ValueError(f"'model' must be in a module that Python finds, "
                             f"as one that is installed or in PYTHONPATH "
                             f"(got {path!r}: {error})") from error
        kind = (ModuleNotFoundError if isinstance(error, ModuleNotFoundError)
                else ImportError)
        raise kind(
            f"'model' must be in a module that can be imported "
            f"(got {path!r}: {one_line(error)})") from error
    if not hasattr(module, attribute):
        raise ValueError(f"'model' must be in its module (got {path!r}, but "
                         f"'{name}' has no '{attribute}')")
    return getattr(module, attribute)
