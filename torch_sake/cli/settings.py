r"""Settings in files.

YAML has several spellings of a number, of which few people know all: 010 is
eight, and 1:30 is ninety. Settings are read with the rules of YAML, but what
may be taken for two things is refused.
"""

import re
from collections.abc import Iterator
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
    try:
        with open(path, encoding='utf-8-sig') as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"'--config' must be a file of text ('{path}', "
                         f"{one_line(error)})") from error
    try:
        # Events, of which neither objects nor references are made:
        entries = _entries(yaml.parse(text, Loader=yaml.SafeLoader))
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


def _entries(events: Iterator[Any]) -> Iterator[Any]:
    r"""Yields the keys of a mapping with their values: scalars, or lists of
    some. There is nothing else in settings.
    """
    import yaml

    def expect(kinds: Any, what: str) -> Any:
        event = next(events)
        if not isinstance(event, kinds) or getattr(
                event, 'anchor', None) is not None or (
                    getattr(event, 'tag', None) is not None):
            raise yaml.MarkedYAMLError(
                problem=f'There must be {what} (got {_name(event)})',
                problem_mark=event.start_mark)
        return event

    next(events)  # the stream
    if isinstance(next(events), yaml.StreamEndEvent):
        return
    expect(yaml.MappingStartEvent, "settings, such as 'seed: 1'")
    scalar, begin = yaml.ScalarEvent, yaml.SequenceStartEvent
    while isinstance(key := expect((scalar, yaml.MappingEndEvent),
                                   'the name of a setting'), scalar):
        value = expect((scalar, begin), 'a value or a list')
        if isinstance(value, begin):
            value = []
            while isinstance(entry := expect((scalar, yaml.SequenceEndEvent),
                                             'values in a list'), scalar):
                value.append(entry)
        yield key, value
    expect(yaml.DocumentEndEvent, 'the end')
    expect(yaml.StreamEndEvent, 'one document')


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
    entries = node if isinstance(node, list) else [node]
    values = [_scalar(where, name, entry) for entry in entries]
    value = values if isinstance(node, list) else values[0]
    if not is_of_type(value, kind):
        given = [entry.value for entry in entries]
        hint = ''
        if any(entry.style is None and not isinstance(one, str)
               for entry, one in zip(entries, values)) and is_of_type(
                   given if isinstance(node, list) else given[0], kind):
            hint = ', which is no text without quotes'
        if not isinstance(node, list):
            given = node.value or 'null' if node.style is None else (
                repr(node.value))
        raise ValueError(f"{where}: '{name}' must be {describe_type(kind)} "
                         f"(got {one_line(given)}{hint})")
    return value


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
