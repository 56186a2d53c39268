r"""Settings on the command line."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import field, fields, is_dataclass, make_dataclass
from functools import reduce
from inspect import getdoc
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

from torch_sake.cli.settings import (
    AMBIGUOUS,
    is_mapping,
    read_mapping,
    read_settings,
)
from torch_sake.utils.hints import describe_type, is_of_type
from torch_sake.utils.messages import in_words, one_line
from torch_sake.utils.names import is_import_path

# What the parser says of a value of another type:
WRONG_TYPE = re.compile(r'Parser key "(?:\w+\.)?(\w+)":.*value: (.*)',
                        re.DOTALL)
# The last of two would hide the first one:
ONCE = ('--checkpoint', '--data', '--val', '--test', '--structures', '--init')
# Settings that may be the import path of what is run:
CODE = ('model', 'label', 'pretrain')


def parse_arguments(arguments: list[str],
                    commands: Mapping[str, tuple[type, str]]
                    ) -> tuple[str, dict[str, Any]]:
    r"""Returns the command and the settings of a command line.

    Args:
        arguments (list of str): The command, its options and their values.
        commands (dict): The class of the settings and the description of each
            command.

    Raises:
        ValueError: If a number may be taken for two things, or a file of
            settings names code.
        SystemExit: If something else is wrong, which is printed.
    """
    parser = Parser(
        prog='torch-sake', description='SAKE: equivariant potentials, from '
        'data to a trained model and to simulations.')
    subcommands = parser.add_subcommands(dest='command')
    for name, (config, description) in commands.items():
        subcommands.add_subcommand(
            name, Parser(description=description, config=config),
            help=description)
    if arguments[:1] and arguments[0] in commands:
        config = commands[arguments[0]][0]
        check_typed(arguments[1:], config)
        arguments = arguments[:1] + files_first(
            read_mappings(arguments[1:], config))
    settings = parser.parse_args(arguments)
    values = settings[settings.command].as_dict()
    values.pop('config', None)
    for name in CODE:
        value = values.get(name) or ''
        if is_import_path(value) and f'--{name}' not in names_of(arguments):
            raise ValueError(f"'{name}' of a file of settings is code, which "
                             f"must be typed: --{name} {in_words(value)}")
    return settings.command, values


def names_of(arguments: list[str]) -> list[str]:
    r"""Returns the names of the options on a command line."""
    return [argument.partition('=')[0] for argument in arguments]


def check_typed(arguments: list[str], config: type) -> None:
    r"""Checks that numbers on a command line can be taken for one thing only,
    by the rules of files.

    Args:
        arguments (list of str): The options of a command and their values.
        config (type): The class of the settings.

    Raises:
        ValueError: If one cannot, with its name.
    """
    kinds = kinds_of(config)
    names = names_of(arguments)
    if '--task' in names:
        raise ValueError("'--task' is gone: 'torch-sake train' trains "
                         "potentials, 'torch-sake dynamics' forecasts")
    given = [known_name(name, kinds) for name in names if name[2:]]
    for name in ONCE:
        if given.count(name) > 1:
            several = is_of_type(['a', 'b'], kinds[name])
            raise ValueError(f"'{name}' must be given once"
                             + (": several are '[a, b]'" if several else ''))
    for index, (name, argument) in enumerate(zip(names, arguments)):
        name = known_name(name, kinds)
        value = argument.partition('=')[2]
        if '=' not in argument:
            value = ' '.join(arguments[index + 1:index + 2])
        if name not in kinds or is_of_type('text', kinds[name]):
            continue
        for part in re.split(r'[\s,\[\]]+', value):
            if AMBIGUOUS.fullmatch(part):
                raise ValueError(f"'{name} {part}' is ambiguous in YAML: "
                                 f"write a decimal number")


def kinds_of(config: type) -> dict[str, Any]:
    r"""Returns the options of a command and their hints."""
    return {f'--{field.name}': field.type for field in fields(config)}


def known_name(name: str, kinds: dict[str, Any]) -> str:
    r"""Returns the option that is meant: parsers take the beginning of a name
    for it.
    """
    found = [known for known in kinds if known.startswith(name)]
    return name if name in kinds else ''.join(found[:1])


def read_mappings(arguments: list[str], config: type) -> list[str]:
    r"""Returns the options of a command with mappings, such as
    :obj:`"{No: -1.5}"`, in JSON, which leaves nothing to the parser: YAML
    takes names of some elements for true or false.

    Args:
        arguments (list of str): The options of a command and their values.
        config (type): The class of the settings.

    Raises:
        ValueError: If one cannot be read, with its name.
    """
    kinds, before, out = kinds_of(config), '', []
    for argument in arguments:
        name, equals, value = argument.partition('=')
        if not name.startswith('--'):
            name, equals, value = before, '', argument
        option = known_name(name, kinds)
        if value.strip().startswith('{') and is_mapping(
                kinds.get(option, str)):
            value = json.dumps(read_mapping(option[2:], value, kinds[option]))
            argument = f'{name}={value}' if equals else value
        out.append(argument)
        before = argument
    return out


def files_first(arguments: list[str]) -> list[str]:
    r"""Returns the options of a command with all :obj:`--config` before the
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
    r"""Has an option for each setting, and says what is wrong in one line.

    Args:
        config (type, optional): The class of the settings, if there are some.
            (default: :obj:`None`)
    """
    def __init__(self, *args: Any, config: type | None = None,
                 **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.config = config
        if config is None:
            return
        self.add_argument('--config', action=SettingsFile,
                          help='A YAML file with these settings.')
        resumes = hasattr(config, 'resume')
        self.add_class_arguments(plain_class(config), as_group=False,
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


def plain_class(config: type) -> type:
    r"""Returns a class of the same settings without checks of their values,
    which are nothing for a help text.
    """
    hints = get_type_hints(config)
    plain = make_dataclass(config.__name__, [
        (one.name, reduce(or_, get_args(hints[one.name]))
         if get_origin(hints[one.name]) is Union else hints[one.name],
         field(default=one.default, default_factory=one.default_factory))
        for one in sorted(fields(config), key=lambda one: one.name not in
                          config.__annotations__)])  # its own ones first
    plain.__doc__ = describe_settings(config)
    return plain


def describe_settings(config: type) -> str:
    r"""Returns the docstring of a class of settings, with those that it has
    from others: all of them end with their settings.
    """
    docs = [getdoc(kind) or '' for kind in config.__mro__
            if is_dataclass(kind)]
    return '\n'.join([docs[0], *(doc.partition('Args:\n')[2]
                                 for doc in docs[1:])])
