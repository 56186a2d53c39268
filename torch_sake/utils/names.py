r"""Names of classes. They need no torch."""

from typing import Any


def is_import_path(name: Any) -> bool:
    r"""Whether a name is the import path of a class, such as
    :obj:`"my_package.my_module:MyModel"`. Nothing is imported.
    """
    module, colon, attribute = str(name).partition(':')
    return bool(isinstance(name, str) and colon and attribute.isidentifier()
                and all(map(str.isidentifier, module.split('.'))))
