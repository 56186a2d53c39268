r"""Names of classes. They need no torch."""

from typing import Any

from torch_sake.utils.plain_checks import require


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
