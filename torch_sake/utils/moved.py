r"""Modules that have another name since 0.2.0. The old names still work, with
a warning, up to 0.3.0.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
import warnings
from contextlib import suppress
from typing import Any

MOVED = {
    'datasets.acclaim': 'datasets.motion.acclaim',
    'datasets.kinematics': 'datasets.motion.kinematics',
    'datasets.qm9': 'datasets.frames.qm9',
    'dynamics': 'forecasting',
    'files': 'utils.files',
    'nn.segments': 'ops.segments',
    'training.bootstrap': 'evaluation.bootstrap',
    'training.breakdown': 'evaluation.breakdown',
    'training.callbacks': 'runs.callbacks',
    'training.checkpoint_io': 'runs.checkpoint_io',
    'training.metrics': 'evaluation.metrics',
    'training.muon': 'optim.muon',
    'training.schedule': 'optim.schedule',
    'training.summary': 'training.label_statistics',
}


class MovedModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    r"""Finds a module by its old name where there is none of that name."""
    def find_spec(
            self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if (
            new_name(name)) else None

    def create_module(self, spec: importlib.machinery.ModuleSpec
                      ) -> types.ModuleType:
        new = new_name(spec.name)
        warnings.warn(f"'{spec.name}' is called '{new}' since 0.2.0; the old "
                      f"name goes with 0.3.0", FutureWarning, stacklevel=2)
        module = types.ModuleType(spec.name)
        module.__path__ = []  # modules within have an old name, too

        def find(name: str) -> Any:
            # What looks at all modules, as imports of torch do, asks for
            # these: nothing may be imported then.
            if name.startswith('__') and name != '__all__':
                raise AttributeError(name)
            return getattr(importlib.import_module(new), name)

        module.__getattr__ = find
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def new_name(name: str) -> str | None:
    r"""Returns the name of a module that had another one."""
    package, _, rest = name.partition('.')
    for old, new in MOVED.items() if package == 'torch_sake' else ():
        if rest == old or rest.startswith(f'{old}.'):
            new = f'{package}.{new}{rest[len(old):]}'
            with suppress(ModuleNotFoundError):  # in what is no package
                return new if importlib.util.find_spec(new) else None
    return None


def find_moved_modules() -> None:
    r"""Has Python find modules by their old names."""
    sys.meta_path.append(MovedModules())
