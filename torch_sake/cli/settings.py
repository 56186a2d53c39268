r"""Settings in files.

YAML has several spellings of a number, of which few people know all: 010 is
eight, and 1:30 is ninety. Settings are read with the rules of YAML, but what
may be taken for two things is refused.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

from torch_sake.utils.hints import describe_type, is_of_type
from torch_sake.utils.messages import in_words, one_line
from torch_sake.utils.paths import PathLike, check_file

INTEGER = re.compile(r'[-+]?(0|[1-9][0-9]*)')
# YAML 1.1 takes 1e-3 for text:
FLOAT = re.compile(r'[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?')
# Octal, hexadecimal, binary and sexagesimal numbers, and those with gaps:
AMBIGUOUS = re.compile(r'[-+]?(0[0-9_]+|0[box][0-9a-fA-F_]+|'
                       r'\.?[0-9][0-9.]*_[0-9_.]*([eE][-+]?[0-9_]+)?|'
                       r'[0-9][0-9_]*(:[0-9][0-9_.]*)+)')


def read_settings(path: PathLike, config: type) -> dict[str, Any]:
    r"""Reads the settings of a command from a YAML file.

    Args:
        path (str or os.PathLike): The file.
        config (type): The class of the settings.

    Raises:
        ValueError: If the file is missing or no mapping of YAML, or has an
            entry that is not known, is there twice, is of another type or may
            be taken for two things; the error has the line.
    """
    import yaml
    path, settings = check_file(path, '--config'), {}
    kinds = {field.name: field.type for field in fields(config)}
    mappings = {name for name, kind in kinds.items() if is_mapping(kind)}
    try:
        with open(path, encoding='utf-8-sig') as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"'--config' must be a file of text ('{path}', "
                         f"{one_line(error)})") from error
    try:
        # Events, of which neither objects nor references are made:
        entries = _entries(yaml.parse(text, Loader=yaml.SafeLoader), mappings)
        for key, node in entries:
            where = f"'{path}', line {key.start_mark.line + 1}"
            if key.value not in kinds:
                raise ValueError(f"{where}: There is no setting "
                                 f"{in_words(key.value)}")
            if key.value in settings:
                raise ValueError(f"{where}: '{key.value}' must be given once")
            settings[key.value] = _value(where, key.value, node,
                                         kinds[key.value])
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1
        raise ValueError(f"'{path}', line {line}: "
                         f"{one_line(error.problem)}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"'{path}' must be a file of YAML "
                         f"({one_line(error)})") from error
    if not settings:
        raise ValueError(f"'{path}' must have settings (got none)")
    return settings


def read_mapping(name: str, text: str, kind: Any) -> dict[str, Any]:
    r"""Reads a mapping that is typed, such as :obj:`"{H: -13.6}"`, by the
    rules of files. Its keys are text, whatever YAML would take them for.

    Args:
        name (str): The option.
        text (str): Its value.
        kind (type): The hint of the setting.

    Raises:
        ValueError: If it is no mapping of one line of YAML, or an entry is
            there twice, is of another type or may be taken for two things.
    """
    import yaml
    where = one_line(f"'--{name} {text}'")
    try:
        events = yaml.parse(text, Loader=yaml.SafeLoader)
        for _ in range(2):  # the stream and the document
            next(events)
        node = _node(events, True)
        _expect(events, yaml.DocumentEndEvent, 'the end')
        _expect(events, yaml.StreamEndEvent, 'one mapping')
    except yaml.MarkedYAMLError as error:
        raise ValueError(f'{where}: {one_line(error.problem)}') from error
    except yaml.YAMLError as error:
        raise ValueError(f'{where} must be YAML '
                         f'({one_line(error)})') from error
    return _value(where, name, node, kind)


def is_mapping(kind: Any) -> bool:
    r"""Whether a setting of this hint may be a mapping."""
    return is_of_type({}, kind)


def _entries(events: Iterator[Any], mappings: set[str]) -> Iterator[Any]:
    r"""Yields the keys of a mapping with their values: scalars, lists of some
    or, of the settings that may be :obj:`mappings`, mappings of some. There
    is nothing else in settings.
    """
    import yaml
    next(events)  # the stream
    if isinstance(next(events), yaml.StreamEndEvent):
        return
    _expect(events, yaml.MappingStartEvent, "settings, such as 'seed: 1'")
    while isinstance(key := _expect(
            events, (yaml.ScalarEvent, yaml.MappingEndEvent),
            'the name of a setting'), yaml.ScalarEvent):
        yield key, _node(events, key.value in mappings)
    _expect(events, yaml.DocumentEndEvent, 'the end')
    _expect(events, yaml.StreamEndEvent, 'one document')


def _node(events: Iterator[Any], may_be_mapping: bool) -> Any:
    r"""Returns the next value: a scalar, a list or a dictionary of some."""
    import yaml
    scalar, begin = yaml.ScalarEvent, yaml.SequenceStartEvent
    kinds, what = (scalar, begin), 'a value or a list'
    if may_be_mapping:
        kinds, what = (*kinds, yaml.MappingStartEvent), 'a value or a mapping'
    node = _expect(events, kinds, what)
    if isinstance(node, scalar):
        return node
    if isinstance(node, begin):
        items = []
        while isinstance(item := _expect(
                events, (scalar, yaml.SequenceEndEvent),
                'values in a list'), scalar):
            items.append(item)
        return items
    values: dict[str, Any] = {}
    while isinstance(key := _expect(events, (scalar, yaml.MappingEndEvent),
                                    'names in a mapping'), scalar):
        if key.value in values:
            raise yaml.MarkedYAMLError(
                problem=f'{in_words(key.value)} must be given once',
                problem_mark=key.start_mark)
        values[key.value] = _expect(events, scalar, 'values in a mapping')
    return values


def _expect(events: Iterator[Any], kinds: Any, what: str) -> Any:
    import yaml
    event = next(events)
    if not isinstance(event, kinds) or getattr(
            event, 'anchor', None) is not None or (
                getattr(event, 'tag', None) is not None):
        raise yaml.MarkedYAMLError(
            problem=f'There must be {what} (got {_name(event)})',
            problem_mark=event.start_mark)
    return event


def _name(event: Any) -> str:
    import yaml
    if getattr(event, 'tag', None) is not None:
        return f'the tag {in_words(event.tag)}'
    if getattr(event, 'anchor', None) is not None:
        return f'the reference {in_words(event.anchor)}'
    names = {yaml.SequenceStartEvent: 'a list',
             yaml.MappingStartEvent: 'a mapping',
             yaml.DocumentStartEvent: 'another document'}
    return names.get(type(event)) or in_words(event.value)


def _value(where: str, name: str, node: Any, kind: Any) -> Any:
    value = _apply(node, lambda entry: _scalar(where, name, entry))
    if not is_of_type(value, kind):
        given = _apply(node, lambda entry: entry.value)
        hint = ''
        if is_of_type(given, kind) and given != value:
            hint = ', which is no text without quotes'
        if not isinstance(node, (list, dict)):
            given = node.value or 'null' if node.style is None else (
                repr(node.value))
        raise ValueError(f"{where}: '{name}' must be {describe_type(kind)} "
                         f"(got {one_line(given)}{hint})")
    return value


def _apply(node: Any, function: Callable[[Any], Any]) -> Any:
    r"""Returns the values of a function for the scalars of a node."""
    if isinstance(node, list):
        return [function(entry) for entry in node]
    if isinstance(node, dict):
        return {key: function(entry) for key, entry in node.items()}
    return function(node)


def _scalar(where: str, name: str, node: Any) -> Any:
    r"""Returns the value of a scalar: text if it is in quotes."""
    from yaml import ScalarNode
    from yaml.resolver import Resolver
    text = node.value
    if node.style is not None:
        return text
    if AMBIGUOUS.fullmatch(text):
        raise ValueError(f"{where}: '{name}: {text}' is ambiguous in YAML: "
                         f"write a decimal number, or '{text}' in quotes for "
                         f"text")
    if INTEGER.fullmatch(text) and len(text) < 1000:
        return int(text)
    if FLOAT.fullmatch(text):
        return float(text)
    kind = Resolver().resolve(ScalarNode, text, (True, False))
    kind = kind.rpartition(':')[2]
    if kind == 'bool':
        return text.lower() in ('true', 'yes', 'on')
    if kind == 'float':  # one of .inf and .nan
        return float(text.lower().replace('.', ''))
    return None if kind == 'null' else text
