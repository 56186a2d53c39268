"""A Sphinx extension: references that Sphinx does not find itself.

It looks for no file in the network. Names of other packages lead to the search
of their documentation.
"""

import importlib
import inspect
import sys

from docutils.nodes import reference

SEARCH = {
    'ase': 'https://ase-lib.org',
    'collections': 'https://docs.python.org/3',
    'numpy': 'https://numpy.org/doc/stable',
    'os': 'https://docs.python.org/3',
    'pytorch_lightning': 'https://lightning.ai/docs/pytorch/stable',
    'torch': 'https://docs.pytorch.org/docs/stable',
    'torch_geometric': 'https://pytorch-geometric.readthedocs.io/en/latest',
}


def find(name):
    """Returns what a dotted name stands for, or None."""
    module, rest = name, []
    while module:
        try:
            found = importlib.import_module(module)
            for attribute in rest:
                found = getattr(found, attribute)
            return found
        except ModuleNotFoundError:
            module, _, last = module.rpartition('.')
            rest.insert(0, last)
        except AttributeError:
            return None
    return None


def resolve(app, env, node, content):
    """Links a name that has another one here, or is documented elsewhere."""
    if node.get('refdomain') != 'py':
        return None
    name = node['reftarget']
    package = name.partition('.')[0]
    if node['reftype'] == 'obj' and package != 'torch_sake':
        return content  # a value or an argument, in the style of PyG
    if package in SEARCH:
        uri = f'{SEARCH[package]}/search.html?q={name}'
        return reference('', '', content, refuri=uri, internal=False)
    domain, documented = env.domains['py'], None
    parts = [node.get('py:module'), node.get('py:class'), name]
    for prefix in (parts, parts[::2], parts[2:]):
        found = find('.'.join(filter(None, prefix)))
        if inspect.ismodule(found):
            documented = found.__name__
            break
        if found is not None and hasattr(found, '__qualname__'):
            documented = f'{found.__module__}.{found.__qualname__}'
            break
    else:  # a name without its module, if only one has this end
        ends = [key for key in domain.objects if key.endswith(f'.{name}')]
        documented = ends[0] if len(ends) == 1 else None
        if any(name in vars(module) for key, module in sys.modules.items()
               if key.startswith('torch_sake')):
            documented = documented or name
    if documented in domain.objects:
        return domain.resolve_xref(env, node['refdoc'], app.builder, 'obj',
                                   documented, node, content)
    # What exists but is not public has no link:
    return content if documented else None


def setup(app):
    app.connect('missing-reference', resolve)
    return {'parallel_read_safe': True}
