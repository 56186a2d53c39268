r"""The rooms of the package and their order: read from its files, which are
not imported.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import torch_sake

PACKAGE = Path(torch_sake.__file__).parent
MAX_LINES = 300

# From the ground up. What stands on one floor does not know each other.
FLOORS = [
    ['version'],
    ['utils'],
    ['checkpoint'],
    ['ops'],
    ['neighbors'],
    ['nn'],
    ['models'],
    ['potentials'],
    ['datasets'],
    ['inspection', 'sampling'],
    ['optim'],
    ['runs'],
    ['calculators', 'evaluation', 'testing', 'graphgym', 'transforms'],
    ['training', 'forecasting', 'simulation', 'benchmark'],
    ['learning'],
    ['cli'],
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = {'__init__', 'version', 'checkpoint', 'graphgym', 'transforms'}


class Import(NamedTuple):
    file: Path
    name: str  # a module, or what is in one
    is_late: bool  # within a function


def files() -> list[Path]:
    return sorted(PACKAGE.rglob('*.py'))


def name_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix('').parts
    return '.'.join(part for part in parts if part != '__init__')


def room_of(name: str) -> str:
    parts = name.split('.')
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR else '__init__'


def imports(file: Path) -> list[Import]:
    r"""All imports of a file but those for type checkers."""
    def visit(node: ast.AST, is_late: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(
                node.test):
            return
        if isinstance(node, ast.Import):
            yield from ((alias.name, is_late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{file}: a relative import'
            yield from ((f'{node.module}.{alias.name}', is_late)
                        for alias in node.names)
        is_late |= isinstance(node, (ast.FunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            yield from visit(child, is_late)
    return [Import(file, *found)
            for found in visit(ast.parse(file.read_text()), False)]


MODULES = {name_of(file) for file in files()}
IMPORTS = [found for file in files() for found in imports(file)]
OWN = [found for found in IMPORTS if found.name.startswith('torch_sake')]


def module_of(name: str) -> str:
    r"""The module in which a name is, or the package if it is not ours. What
    torch imports when it compiles is a package of its own.
    """
    if not name.startswith('torch_sake'):
        depth = 2 if name.startswith('torch._') else 1
        return '.'.join(name.split('.')[:depth])
    while name not in MODULES:
        name = name.rpartition('.')[0]
    return name


def links(found: Iterable[Import]) -> set[tuple[str, str]]:
    return {(name_of(link.file), module_of(link.name)) for link in found}


@cache
def needs(name: str) -> frozenset[str]:
    r"""The packages that are imported with a module of ours, or with a package
    of others, but those of Python.
    """
    if name not in MODULES:
        return frozenset({name} - sys.stdlib_module_names)
    seen, todo, packages = set[str](), {name}, set[str]()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            if name in MODULES:
                todo |= BEGINNING[name] | {name.rpartition('.')[0]} - {''}
            else:
                packages |= needs(name)
    return frozenset(packages)


BEGINNING: dict[str, set[str]] = {name: set() for name in MODULES}
for file, name in links(found for found in IMPORTS if not found.is_late):
    BEGINNING[file].add(name)
LONG = {(name_of(file), 'long') for file in files()
        if len(file.read_text().splitlines()) > MAX_LINES}


def test_each_room_is_known_and_a_package():
    folders = [path for path in PACKAGE.rglob('*') if path.is_dir()
               and path.name not in ('__pycache__', 'released')]  # of data
    assert [path for path in folders
            if not (path / '__init__.py').exists()] == []
    rooms = {path.name for path in folders if path.parent == PACKAGE}
    assert rooms | (FILES - {'__init__'}) == set(FLOOR)


def test_few_files_stand_on_the_ground():
    assert {path.stem for path in PACKAGE.glob('*.py')} == FILES


def test_nothing_imports_upward():
    upward = {(file, name) for file, name in links(OWN)
              if '__init__' not in (room_of(file), room_of(name))
              and room_of(file) != room_of(name)
              and FLOOR[room_of(file)] <= FLOOR[room_of(name)]}
    assert sorted(upward) == []


def test_no_file_imports_the_names_of_the_package():
    r"""They are for users, and stand above all rooms."""
    assert [file for file, name in links(OWN) if name == 'torch_sake'] == []


def test_no_circle():
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for file, name in links(OWN):
        graph[file].add(name)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(' -> '.join(reversed(error.args[1])))


def test_functions_import_only_what_their_file_does_without():
    r"""Heavy packages, and what needs them. All else is imported at once, but
    by the command line: it answers before it knows what a command needs.
    """
    late = {(file, name) for file, name in links(
        found for found in IMPORTS if found.is_late)
        if room_of(file) != 'cli' and needs(name) <= needs(file)}
    assert sorted(late) == []


@pytest.mark.parametrize('room', ['sampling', 'testing'])
def test_what_needs_no_optional_package(room):
    installed = {'filelock', 'numpy', 'safetensors', 'torch',
                 'torch_geometric', 'tqdm', 'vesin'}  # of setup.py
    assert {*needs(f'torch_sake.{room}')} - installed == set()


def test_no_file_is_long():
    assert sorted(LONG) == []
