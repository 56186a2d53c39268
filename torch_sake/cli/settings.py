r"""Settings in files and on the command line.

YAML has several spellings of a number, of which few people know all: 010 is
eight, and 1:30 is ninety. Settings are read with the rules of YAML, but what
may be taken for two things is refused.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import field, fields, make_dataclass
from functools import reduce
from itertools import islice
from operator import or_
from typing import (
    Any,
    NoReturn,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from jsonargparse import ActionConfigFile, ArgumentParser

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
# What the parser says of a value of another type:
WRONG_TYPE = re.compile(r'Parser key "(?:\w+\.)?(\w+)":.*value: (.*)',
                        re.DOTALL)


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


def check_typed(arguments: list[str], config: type) -> None:
    r"""Checks that numbers on a command line can be taken for one thing only,
    by the rules of files.

    Args:
        arguments (list of str): The arguments, names and values.
        config (type): The class of the settings.

    Raises:
        ValueError: If one cannot, with its name.
    """
    kinds = {f'--{field.name}': field.type for field in fields(config)}
    names = [argument.partition('=')[0] for argument in arguments]
    if '--task' in names:
        raise ValueError("'--task' is gone: 'torch-sake train' trains "
                         "potentials, 'torch-sake dynamics' forecasts")
    if names.count('--checkpoint') > 1:
        raise ValueError("'--checkpoint' must be given once: several are "
                         "'[a, b]'")
    for index, (name, argument) in enumerate(zip(names, arguments)):
        # Parsers take the beginning of a name for it.
        found = [known for known in kinds if known.startswith(name)]
        name = name if name in kinds else ''.join(found[:1])
        value = argument.partition('=')[2]
        if '=' not in argument:
            value = ' '.join(arguments[index + 1:index + 2])
        if name not in kinds or is_of_type('text', kinds[name]):
            continue
        for part in re.split(r'[\s,\[\]]+', value):
            if AMBIGUOUS.fullmatch(part):
                raise ValueError(f"'{name} {part}' is ambiguous in YAML: "
                                 f"write a decimal number")


def files_first(arguments: list[str]) -> list[str]:
    r"""Returns the arguments of a command with all :obj:`--config` before the
    others, which take precedence wherever they stand.
    """
    files: list[str] = []
    others: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == '--config':
            files += [argument, *islice(rest, 1)]
        elif argument.startswith('--config='):
            files.append(argument)
        else:
            others.append(argument)
    return files + others


class Parser(ArgumentParser):
    r"""Says what is wrong in one line.

    Args:
        config (type, optional): The class of the settings, if there are some.
            (default: :obj:`None`)
    """
    def __init__(self, *args: Any, config: type | None = None,
                 **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.config = config

    def add_settings(self, config: type) -> None:
        r"""Adds an option for each setting of a class, of its plain type: what
        is checked of the values is nothing for a help text.
        """
        hints = get_type_hints(config)
        plain = make_dataclass(config.__name__, [
            (one.name, reduce(or_, get_args(hints[one.name]))
             if get_origin(hints[one.name]) is Union else hints[one.name],
             field(default=one.default, default_factory=one.default_factory))
            for one in fields(config)])
        plain.__doc__ = config.__doc__
        resumes = 'resume' in hints
        self.add_class_arguments(plain, as_group=False,
                                 skip={'resume'} if resumes else set())
        if resumes:
            self.add_argument('--resume', action='store_true',
                              help="Go on with the run in 'out'.")

    def error(self, message: str,
              ex: Exception | None = None) -> NoReturn:
        parser = getattr(ex, 'subcommand_parser', None) or self
        prog = parser.prog.replace(' [options]', '')
        found = re.fullmatch(r'(.* required:) (\w+)\.(\w+)', message)
        if found:
            prog, message = f'{prog} {found[2]}', f'{found[1]} --{found[3]}'
        found = WRONG_TYPE.match(message)
        if found and getattr(parser, 'config', None) is not None:
            kinds = {field.name: field.type
                     for field in fields(parser.config)}
            message = (f"'{found[1]}' must be "
                       f"{describe_type(kinds[found[1]])} (got {found[2]})")
        sys.stderr.write(f"{prog}: {one_line(message)} "
                         f"(see '{prog} --help')\n")
        self.exit(2)


class SettingsFile(ActionConfigFile):
    r"""The option :obj:`--config`."""
    @staticmethod
    def apply_config(parser: Parser, cfg: Any, dest: str, value: str) -> None:
        for name, setting in read_settings(value, parser.config).items():
            cfg[name] = setting
