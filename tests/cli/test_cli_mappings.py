"""Settings that are mappings, typed or in files."""

from dataclasses import dataclass, field

import pytest

from torch_sake.cli import parser
from torch_sake.utils.hints import NotNegative, check_settings

pytest.importorskip('jsonargparse')


@dataclass
class Config:
    r"""Some settings.

    Args:
        energies: A word or numbers of elements.
        weights: Numbers by name.
        others: Numbers by name, if there are some.
        number: A number.
    """
    energies: str | dict[str | int, float] = 'fit'
    weights: dict[str, NotNegative] = field(default_factory=dict)
    others: dict[str, float] | None = None
    number: int = 3

    def __post_init__(self):
        check_settings(self)


def typed(arguments, capsys):
    """Returns the settings, or the one line that is printed."""
    try:
        settings = parser.parse_arguments(['run', *arguments],
                                          {'run': (Config, 'Runs.')})[1]
        return Config(**settings)
    except SystemExit:
        printed = capsys.readouterr().err.splitlines()
        assert len(printed) == 1, printed
        return printed[0]
    except (TypeError, ValueError) as error:
        assert '\n' not in str(error)
        return str(error)


def read(text, tmp_path, capsys):
    path = tmp_path / 'run.yaml'
    path.write_text(text)
    return typed(['--config', str(path)], capsys)


NAMES = "{No: -1, N: 2, Y: 3.5, on: 1, 1: 4, ~: 5, 'H': 6, 1e3: 7, 01: 8}"
EXPECTED = {'No': -1, 'N': 2, 'Y': 3.5, 'on': 1, '1': 4, '~': 5, 'H': 6,
            '1e3': 7, '01': 8}


@pytest.mark.parametrize('text, values', [
    (NAMES, EXPECTED), ('{}', {}), ('{"a": 1e-3}', {'a': 1e-3}),
    ('{bulk: 1, slab: 0.5}', {'bulk': 1, 'slab': 0.5}),
], ids=str)
def test_mappings(tmp_path, capsys, text, values):
    for name in ('energies', 'others'):
        for config in (typed([f'--{name}', text], capsys),
                       typed([f'--{name}={text}'], capsys),
                       typed([f'--{name[:3]}', text, '--number', '4'], capsys),
                       read(f'number: 3\n{name}: {text}', tmp_path, capsys),
                       read(f'{name}:\n' + '\n'.join(
                           f'  "{key}": {value}' for key, value in
                           values.items()) if values else f'{name}: {text}',
                           tmp_path, capsys)):
            assert getattr(config, name) == values, config
            assert all(type(key) is str for key in getattr(config, name))


def test_files_and_the_command_line(tmp_path, capsys):
    path = tmp_path / 'run.yaml'
    path.write_text('weights: {a: 1, b: 2}\nothers: null\nenergies: fit\n')
    assert typed(['--config', str(path)], capsys) == Config(
        weights={'a': 1, 'b': 2})
    # One that is typed takes the place of the other:
    assert typed(['--weights', '{c: 3}', '--config', str(path)],
                 capsys).weights == {'c': 3}


@pytest.mark.parametrize('name, text, message', [
    ('energies', '{H:-13}', "each value a number (got {'H:-13': ''})"),
    ('energies', '{H: x}', "'energies' must be text or a mapping, each value"),
    ('energies', '{H: -010}', "'energies: -010' is ambiguous in YAML"),
    ('energies', '{H: 1:30}', "'energies: 1:30' is ambiguous in YAML"),
    ('energies', '{H: 1, H: 2}', "'H' must be given once"),
    ('energies', '{H: 1, "H": 2}', "'H' must be given once"),
    ('energies', '{H: !x 1}', "the tag '!x'"),
    ('energies', '{H: !!float 1}', "the tag 'tag:yaml.org,2002:float'"),
    ('energies', '{H: &a 1}', "the reference 'a'"),
    ('energies', '{&a H: 1}', "the reference 'a'"),
    ('energies', '{!x H: 1}', "the tag '!x'"),
    ('energies', '{H: *a}', "the reference 'a'"),
    ('energies', '{H: {a: 1}}', 'values in a mapping (got a mapping)'),
    ('energies', '{H: [1]}', 'values in a mapping (got a list)'),
    ('energies', '{[1]: 1}', 'names in a mapping (got a list)'),
    ('energies', '{H: 1', "expected ',' or '}'"),
    ('weights', '{a: yes}', "'weights' must be a mapping, each value a num"),
    ('weights', '{a: -1}', "'weights.a' must not be negative"),
    ('weights', '{a: .nan}', "a"),
    ('weights', '[1]', "'weights' must be a mapping"),
    ('weights', '3', "'weights' must be a mapping"),
    ('weights', 'run.yaml', "'weights' must be a mapping"),
    ('others', '{a: "1"}', "'others' must be a mapping, each value a number "),
], ids=str)
def test_what_is_refused(tmp_path, capsys, name, text, message):
    for printed in (read(f'{name}: {text}', tmp_path, capsys),
                    typed([f'--{name}', text], capsys)):
        assert isinstance(printed, str) and message in printed, printed


def test_what_is_refused_in_files(tmp_path, capsys):
    for text, message in (
            ('seed: {a: 1}', 'line 1: There must be a value or a list (got'),
            ('energies: a\nnumber: {a: 1}', 'must be a value or a list (got'),
            ('weights: !!map {a: 1}', "the tag 'tag:yaml.org,2002:map'"),
            ('weights: &a {a: 1}', "the reference 'a'"),
            ('weights:\n  a: 1\n  a: 2', "line 3: 'a' must be given once"),
            ('weights:\n  a: x', "run.yaml', line 1: 'weights' must be a m")):
        assert message in read(text, tmp_path, capsys)


def test_settings_are_written_and_read(tmp_path):
    from torch_sake.cli.settings import read_settings
    from torch_sake.utils.files import write_settings
    path = tmp_path / 'config.yaml'
    for values in (EXPECTED, {}, {'a b': 1.5, "it's": 2, ': ': 3}):
        write_settings(path, {'weights': values, 'number': 1})
        assert read_settings(path, Config) == {'weights': values, 'number': 1}
