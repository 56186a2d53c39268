import os

import pytest

from torch_sake.cli import main
from torch_sake.forecasting import DynamicsConfig
from torch_sake.simulation import MDConfig
from torch_sake.training import TrainConfig

pytest.importorskip('jsonargparse')
pytest.importorskip('ase')

AMBIGUOUS = 'is ambiguous in YAML: write a decimal number'
NO_INTEGER = "'num_steps' must be an integer or null"
LAUGHS = '\n'.join(['seed: &a [x, x, x, x]', *(
    f'{name}: &{after} [{8 * f"*{before}, "}]' for name, after, before in zip(
        ('num_steps', 'heads', 'patience', 'freeze'), 'bcde', 'abcd'))])


def run(arguments, capsys):
    try:
        status = main(arguments)
    except SystemExit as error:
        status = error.code
    # A bar shows how far a conversion is.
    printed = [line for line in capsys.readouterr().err.strip().splitlines()
               if not line.startswith('converting')]
    assert status == 2
    assert len(printed) == 1, printed
    return printed[0]


@pytest.mark.parametrize('text, line, message', [
    ('num_steps: 010', 1, f"'num_steps: 010' {AMBIGUOUS}"),
    ('num_steps: 1:30', 1, f"'num_steps: 1:30' {AMBIGUOUS}"),
    ('cutoff: 1:30.5', 1, f"'cutoff: 1:30.5' {AMBIGUOUS}"),
    ('cutoff: -010', 1, f"'cutoff: -010' {AMBIGUOUS}"),
    ('num_steps: 0x10', 1, AMBIGUOUS), ('num_steps: 1_000', 1, AMBIGUOUS),
    ('num_steps: 0b11', 1, AMBIGUOUS), ('out: 010', 1, "'010' in quotes"),
    ('seed: 1\nnum_steps: 3\nnum_steps: 4', 3, "'num_steps' must be given on"),
    ('data: null', 1, r"'data' must be text or a list, each text "
     "(got null"),
    ('seed: 0\ndata:', 2, r"'data' must be text or a list, each text "
     "(got null"),
    ('data: yes', 1, "'data' must be text or a list, each text (got yes, "
     "which is no text without"),
    ('out: off', 1, "'out' must be text or null (got off, which is no text"),
    ('zbl: 1', 1, "'zbl' must be true or false or null (got 1)"),
    ('num_steps: 1e2', 1, f"{NO_INTEGER} (got 1e2)"),
    ('num_steps: 10.0', 1, f"{NO_INTEGER} (got 10.0)"),
    ("num_steps: '10'", 1, f"{NO_INTEGER} (got '10')"),
    ('num_steps: \u0663', 1, "'num_steps' must be an integer"),
    ('cutoff: 5,0', 1, "'cutoff' must be a number or null (got 5,0)"),
    ('precision: float16', 1, "'precision' must be one of ['float32', 'float"),
    ('num_steps: [1]', 1, f"{NO_INTEGER} (got ['1'])"),
    ('max_time: 00:20:00', 1, f"'max_time: 00:20:00' {AMBIGUOUS}"),
    ('num_steps: {a: 1}', 1, 'must be a value or a list (got a mapping)'),
    ('num_stepz: 3', 1, "There is no setting 'num_stepz'"),
    ('config: other.yaml', 1, "There is no setting 'config'"),
    ('1: 3', 1, "There is no setting '1'"),
    ('<<: 3', 1, "There is no setting '<<'"),
    ('- seed\n- 1', 1, 'There must be settings'),
    ('only text', 1, 'There must be settings'),
    ('seed: 1\n\tnum_steps: 3', 2, 'found character'),
    ('data: @x', 1, 'found character'),
    ('seed: 1\n---\nseed: 2', 2, 'There must be one document'),
    ('seed: !!python/object/apply:os.system ["touch x"]', 1, 'the tag'),
    ('seed: &a 1', 1, "the reference 'a'"),
    (LAUGHS, 1, "the reference 'a'"), ('seed: ' + 5000 * '[', 1, 'a list'),
    ('', None, 'must have settings (got none)'),
    ('# nothing', None, 'must have settings (got none)'),
], ids=lambda value: str(value)[:30])
def test_a_file_of_settings_is_refused(tmp_path, monkeypatch, capsys, text,
                                       line, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'run.yaml').write_text(text, encoding='utf-8')
    printed = run(['train', '--config', 'run.yaml'], capsys)
    assert message in printed and 'run.yaml' in printed
    assert line is None or f"'run.yaml', line {line}: " in printed
    assert os.listdir(tmp_path) == ['run.yaml']


def test_a_file_of_settings_is_read(tmp_path):
    from torch_sake.cli.settings import read_settings
    path = tmp_path / 'run.yaml'
    path.write_bytes(b'\xef\xbb\xbfdata: xtb:H2 # some\r\nout: "010"\r\n'
                     b'zbl: yes\r\ncompile: off\r\nlearning_rate: 1e-3\r\n'
                     b'cutoff: 5\r\nroot: ~\r\nseed: 12\r\n')
    assert read_settings(path, TrainConfig) == dict(
        data='xtb:H2', out='010', zbl=True, compile=False, cutoff=5,
        learning_rate=1e-3, root=None, seed=12)
    path.write_text('sizes: [3, 4, 5]')
    assert read_settings(path, DynamicsConfig) == {'sizes': [3, 4, 5]}
    path.write_text('checkpoint: [a, b]')
    assert MDConfig(**read_settings(path, MDConfig)).checkpoint == ['a', 'b']


@pytest.mark.parametrize('arguments, message', [
    (['train', '--num_steps', '010'], f"'--num_steps 010' {AMBIGUOUS}"),
    (['train', '--num_steps=1:30'], f"'--num_steps 1:30' {AMBIGUOUS}"),
    (['train', '--cutoff', '0x10'], AMBIGUOUS),
    (['dynamics', '--sizes', '[010, 20, 30]'], f"'--sizes 010' {AMBIGUOUS}"),
    (['train', '--num_steps', '1e2'], NO_INTEGER),
    (['train', '--max_time', '20'], "'max_time' must be a time as HH:MM:SS"),
    (['train', '--max_time', '00:20:00', '--num_steps', '10'],
     "'num_steps' must not be given beside 'max_time'"),
    (['train', '--zbl', '2'], "'zbl' must be true or false or null (got 2)"),
    (['train', '--cutoff', '1e300'], "'cutoff' must lie between 1e-09 and"),
    (['train', '--num_s', '1:30'], 'ambiguous'),
    (['train', '--cuto', '010'], 'ambiguous'),
    (['train', '--learning_rate', '0.5_5'], 'ambiguous'),
    (['train', '--learning_rate', '.5_5'], 'ambiguous'),
    (['train', '--num_steps', '1' + 25 * '0'], 'below 2^63'),
    (['md', '--checkpoint', 'a', '--checkpoint', 'b'], 'given once'),
    (['train', '--energy_weight', '1' + 400 * '0'], 'too large'),
    (['relax', '--checkpoint', 'x', '--cell', 'true', '--pressure',
      '1' + 400 * '0'], 'too large'),
    (['train', '--cutoff', '1e-30'], "'cutoff' must lie between 1e-09 and"),
    (['train', '--data', ''], "'data' must be"),
    (['train', '--data', 'a\0b'], "'data' must be text without zero bytes"),
    (['train', '--nothing', '1'], 'unrecognized arguments: --nothing 1'),
    (['train', '--config', '.'], "There is no file '.' (a folder)"),
    (['train', '--config', 'absent'], "There is no file 'absent'"),
    (['train', '--config', 'pipe'], "There is no file 'pipe' (no regular fil"),
    (['train', '--data', 'pipe'], "existing file (got 'pipe')"),
    (['train', '--data', 'some', '--split', 'pipe'], "must be a file or one"),
    (['md', '--checkpoint', '~/absent'], "'HOME/absent'"),
    (['md', '--checkpoint', '[~/absent, ~/absent]'], "'HOME/absent'"),
    (['relax', '--checkpoint', 'x', '--structure', '~/absent'], "HOME/absent"),
    (['evaluate', '--checkpoint', '~/absent'], "'HOME/absent'"),
    (['convert', '--data', '~/absent', '--out', 'x'], "'HOME/absent'"),
], ids=str)
def test_arguments_are_refused(tmp_path, monkeypatch, capsys, arguments,
                               message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'some').write_text(
        '1\nenergy=1\nH 0 0 0\n1\nenergy=1\nH 0 0 0\n')
    os.mkfifo(tmp_path / 'pipe')
    printed = run(arguments, capsys)
    assert message.replace('HOME', str(tmp_path)) in printed


def test_settings_have_types():
    for setting, value in (('data', None), ('data', 3), ('num_steps', '3'),
                           ('num_steps', 3.0), ('cutoff', '5'), ('zbl', 'yes'),
                           ('out', True), ('precision', 16), ('seed', True)):
        with pytest.raises(TypeError, match=f"'{setting}' must be .*got"):
            TrainConfig(**{setting: value})
    with pytest.raises(TypeError, match="'sizes' must be a list of 3"):
        DynamicsConfig(sizes=(1, 2))
    with pytest.raises(TypeError, match="'checkpoint' must be text or a list"):
        MDConfig(checkpoint=[1])


def test_home_folder_in_settings(tmp_path, monkeypatch):
    from pathlib import Path

    from torch_sake.evaluation.config import EvaluateConfig
    from torch_sake.simulation.config import RelaxConfig
    monkeypatch.setenv('HOME', str(tmp_path))
    own = os.path.join(tmp_path, 'x')
    config = TrainConfig(data=Path('~/x'), root='~/x', split='~/x', out='~/x',
                         init='~/x')
    assert (config.root, config.split, config.out, config.init) == 4 * (own, )
    assert config.data == '~/x'  # a name or a file, which readers expand
    config = DynamicsConfig(root='~/x', out=Path('~/x'))
    assert (config.root, config.out) == (own, own)
    config = MDConfig(checkpoint=['~/x', '/y'], structure='~/x', out='~/x')
    assert (config.checkpoint, config.structure, config.out) == (
        [own, '/y'], own, own)
    config = RelaxConfig(checkpoint='~/x', structure='~/x', out='~/x')
    assert (config.checkpoint, config.structure, config.out) == 3 * (own, )
    config = EvaluateConfig(checkpoint='~/x', root='~/x', out='~/x')
    assert (config.checkpoint, config.root, config.out) == ([own], own, own)


def test_home_folder_of_a_run(water_file, tmp_path, monkeypatch, small):
    """From the data to a simulation, all by paths of the home folder."""
    import ase.io
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.chdir(os.path.dirname(os.path.dirname(__file__)))
    assert main(['train', '--data', '~/water.extxyz', '--out', '~/run',
                 *small]) == 0
    ase.io.write(tmp_path / 'start@300K.extxyz', ase.io.read(water_file, 3))
    assert main(['md', '--checkpoint', '~/run', '--structure',
                 '~/start@300K.extxyz', '--out', '~/md', '--num_steps',
                 '1']) == 0
    assert sorted(path for path in os.listdir(tmp_path)) == [
        'md', 'run', 'start@300K.extxyz', 'water.extxyz']


@pytest.mark.parametrize('text', ['08', '08_1', '3:75', '0b2', '1e5', '+1e3',
                                  'yes', 'null', '~', 'a: b', "it's", 'true'])
def test_written_settings_are_read_as_they_were(tmp_path, text):
    from torch_sake.cli.settings import read_settings
    from torch_sake.utils.files import write_settings
    path = tmp_path / 'config.yaml'
    write_settings(path, {'out': text, 'num_steps': 8, 'cutoff': None})
    assert read_settings(path, TrainConfig) == {
        'out': text, 'num_steps': 8, 'cutoff': None}


def test_numbers_that_are_too_large():
    from torch_sake.simulation.config import RelaxConfig
    for build in (lambda: RelaxConfig('x', pressure=10**400, cell=True),
                  lambda: TrainConfig(energy_weight=10**400),
                  lambda: MDConfig('x', pressure=10**400, ensemble='npt')):
        with pytest.raises(ValueError, match='must be a number below 1e300'):
            build()


@pytest.mark.parametrize('text', ['0.5_5', '.5_5', '5_5.0', '1_0e3', '-0.5_5'])
def test_gaps_in_numbers_of_files(tmp_path, text):
    from torch_sake.cli.settings import read_settings
    path = tmp_path / 'config.yaml'
    path.write_text(f'learning_rate: {text}\n')
    with pytest.raises(ValueError, match='is ambiguous in YAML'):
        read_settings(path, TrainConfig)


def test_settings_that_are_typed_take_precedence(tmp_path, capsys):
    path = str(tmp_path / 'config.yaml')
    (tmp_path / 'config.yaml').write_text('data: file.xyz\n')
    for arguments in (['--data', 'typed.xyz', '--config', path],
                      ['--config', path, '--data', 'typed.xyz'],
                      ['--data', 'typed.xyz', f'--config={path}']):
        assert main(['train', *arguments]) == 2
        assert "(got 'typed.xyz')" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(['md'])
    assert capsys.readouterr().err.startswith(
        'torch-sake md: the following arguments are required: --checkpoint')
