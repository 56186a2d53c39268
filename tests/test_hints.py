"""Settings, and entries of files, are checked against type hints."""

import math
import sys
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path as AnyPath
from typing import Annotated, Any, Literal, TypedDict

import numpy
import pytest

from torch_sake.models.registry import MODELS
from torch_sake.training import TrainConfig, config
from torch_sake.utils.hints import (
    Count,
    Cutoff,
    FiniteFloat,
    Fraction,
    NotNegative,
    Path,
    Paths,
    PositiveFloat,
    PositiveInt,
    Seed,
    check_entry,
    check_settings,
    describe_type,
    is_of_type,
)
from torch_sake.utils.plain_checks import check_option

Color = Annotated[str, partial(check_option, options=('red', 'blue'))]


class Item(TypedDict):
    size: PositiveInt


@pytest.mark.parametrize('hint, good, bad', [
    (PositiveInt, [1, 2**63 - 1, numpy.int64(3)], [0, -1, 2**63]),
    (Count, [0, 2**63 - 1], [-1, 2**63]),
    (Seed, [0, 2**63 - 1], [-1, 2**63]),
    (FiniteFloat, [-1e300, 0, 3], [math.inf, -math.inf, math.nan, 10**400]),
    (PositiveFloat, [1e-37, 1, 3e38], [0, -1.0, 1e-39, 4e38, math.nan,
                                       math.inf]),
    (NotNegative, [0, 0.0, 3.0], [-1e-300, math.nan, math.inf]),
    (Fraction, [0, 0.999], [-0.1, 1, 1.0, math.nan]),
    (Cutoff, [1e-9, 5, 1e9], [0.0, 1e-10, 1e10, math.inf, math.nan]),
    (Color, ['red'], ['green', '']),
    (Literal['a', 'b'], ['a'], ['c']),
    (Paths, ['a', ['a', 'b']], [[], 'http://a', ['a', 'http://b']]),
    (Path, ['a', AnyPath('a')], ['http://a', 'a\0b']),
    (list[PositiveInt], [[], [1], (1, 2)], [[1, 0]]),
    (tuple[Seed, Seed], [(1, 2), [1, 2]], [(1, -2)]),
    (PositiveInt | None, [None, 1], [0]),
])
def test_values(hint, good, bad):
    for value in good:
        assert is_of_type(value, hint)
        check_entry('x', value, hint, is_setting=True)
    for value in bad:
        assert is_of_type(value, hint) == (hint != Literal['a', 'b'])
        with pytest.raises(ValueError, match="^'x' must .*got"):
            check_entry('x', value, hint, is_setting=True)


@pytest.mark.parametrize('hint, bad, words', [
    (PositiveInt, [1.0, '1', True, None, [1]], 'an integer'),
    (PositiveFloat | None, ['1', True, [1.0]], 'a number or null'),
    (bool, [1, 'true', None], 'true or false'),
    (Color, [3, None, b'red'], 'text'),
    (Literal['b', 'a'], [3, None, ['a']], r"one of \['a', 'b'\]"),
    (Paths, [3, [3], ['a', None]], 'text or a list, each text'),
    (list[PositiveInt], [3, 'a', {1: 2}], 'a list, each an integer'),
    (tuple[int, int], [3, (1, ), (1, 2, 3)], 'a list of 2, each an integer'),
])
def test_types(hint, bad, words):
    assert describe_type(hint) == words.replace('\\', '')
    for value in bad:
        assert not is_of_type(value, hint)
        with pytest.raises(TypeError, match=f"'x' must be {words} .got"):
            check_entry('x', value, hint, is_setting=True)


@pytest.mark.parametrize('value, hint, message', [
    ({'size': 0}, Item, "'x.size' must be at least 1"),
    ({'size': '3'}, Item | None, "'x.size' must be of type int"),
    ({}, Item, "'x.size' is missing"),
    ([3], Item | None, "'x' must be of type dict"),
    ([{'size': 1}, {'size': -1}], list[Item], "'x.1.size' must be at least"),
    ([1, 'a'], list[int], "'x.1' must be of type int"),
    ({'a': 1.0, 'b': 'c'}, dict[str, float], "'x.b' must be of type float"),
    ({1: 1.0}, dict[str, float], "'x.1' must be of type str"),
    ('e', Literal['a'], r"'x' must be one of \['a'\]"),
])
def test_entries(value, hint, message):
    with pytest.raises((TypeError, ValueError), match=message):
        check_entry('x', value, hint)


def test_many_entries_take_few_calls():
    """Histories and names of tensors are most of a checkpoint."""
    calls = []
    entries = {str(number): 1.0 for number in range(1000)}
    sys.setprofile(lambda frame, event, argument: calls.append(event))
    try:
        check_entry('x', entries, dict[str, float])
    finally:
        sys.setprofile(None)
    assert calls.count('call') < 4000


def test_paths_of_bytes():
    class Folder:
        def __fspath__(self):
            return b'runs/a'

    hint = Path | None
    assert check_entry('x', Folder(), hint, is_setting=True) == 'runs/a'


def test_values_as_they_are_to_be(tmp_path, monkeypatch):
    @dataclass
    class Settings:
        folder: Path
        files: Paths
        sizes: tuple[PositiveInt, PositiveInt] | None = None
        anything: Any = None

    monkeypatch.setenv('HOME', str(tmp_path))
    settings = Settings(AnyPath('~/a'), '~/b', [numpy.int64(3), 4])
    check_settings(settings)
    assert settings == Settings(f'{tmp_path}/a', [f'{tmp_path}/b'], (3, 4))
    assert type(settings.sizes[0]) is int


def test_names_of_models():
    assert set(config.MODELS) == MODELS.keys()
    model = 'my_package.my_module:MyModel'  # of which nothing is imported
    settings = TrainConfig(model=model, heads=2, num_steps=10**6)
    assert settings.model == model and not settings.compiles
    hints = {field.name: field.type for field in fields(TrainConfig)}
    assert describe_type(hints['model']) == 'text'


def test_mappings():
    hint = str | dict[str, Fraction]
    for value in ('a', {}, {'a': 0.5}):
        assert is_of_type(value, hint)
        assert check_entry('x', value, hint, is_setting=True) == value
    for value in ({1: 0.5}, {'a': 'b'}, {'a': True}, [0.5], 3):
        assert not is_of_type(value, hint)
        with pytest.raises(TypeError, match="^'x' must be text or a mapping, "
                                            "each value a number .*got"):
            check_entry('x', value, hint, is_setting=True)
    with pytest.raises(ValueError, match="^'x.a' must be .*got 1.5"):
        check_entry('x', {'a': 1.5}, hint, is_setting=True)
    with pytest.raises(TypeError, match="^'x.a' must be a number .*got 'b'"):
        check_entry('x', {'a': 'b'}, dict[str, float], is_setting=True)
    assert describe_type(dict[str, Count]) == (
        'a mapping, each value an integer')
