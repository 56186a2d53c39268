"""What a checkpoint, or a folder of a run, names is not opened, fetched,
generated or written.
"""

import json
import os
import shutil

import numpy
import pytest
import torch

from torch_sake import Potential, VectorSAKE
from torch_sake.checkpoint import save_checkpoint
from torch_sake.cli import main

pytest.importorskip('jsonargparse')
pytest.importorskip('ase')
pytest.importorskip('matplotlib')

ARGUMENTS = {'hidden_channels': 8, 'num_layers': 1, 'num_rbf': 4,
             'cutoff': 3.0}


def write(folder, config):
    """Writes the folder of a run whose files all name these settings."""
    torch.manual_seed(0)
    potential = Potential(VectorSAKE(**ARGUMENTS), 0.3, torch.zeros(100))
    tensors = {f'potential.{key}': value
               for key, value in potential.state_dict().items()}
    tensors.update({f'split.{name}': torch.tensor([number]) for number, name
                    in enumerate(('train', 'val', 'test'))})
    for name in ('best', 'last'):
        save_checkpoint(folder / f'{name}.safetensors', tensors, {
            'model': {'name': 'VectorSAKE', 'arguments': ARGUMENTS},
            'energy_scale': 0.3, 'elements': [1, 8], 'config': config,
            'units': {'length': 'Angstrom', 'energy': 'eV'}})
    (folder / 'config.yaml').write_text(json.dumps(config))
    return str(folder)


@pytest.fixture(params=['address', 'generated', 'pickle', 'file', 'database',
                        'particles'])
def config(request, tmp_path, pickled, server, water_file, monkeypatch):
    """Settings that must not be followed."""
    cache = tmp_path / 'cache'
    cache.mkdir()
    monkeypatch.setenv('TORCH_SAKE_CACHE', str(cache))
    root = tmp_path / 'data'
    processed = root / 'qm9' / 'processed'
    processed.mkdir(parents=True)
    torch.save(pickled, processed / 'data_v3.pt')
    torch.save(pickled, processed / 'pre_transform.pt')
    data, folder = {
        'address': ('qm9:mu', server),
        'generated': ('xtb:H2', None),
        'pickle': ('qm9:mu', str(root / 'qm9')),
        'file': (water_file, None),
        'database': ('iso17', str(root)),
        'particles': ('nbody', str(root)),
    }[request.param]
    return {'data': data, 'root': folder, 'num_frames': 4, 'data_seed': 0,
            'split': water_file, 'init': water_file, 'num_steps': 3,
            'out': str(tmp_path / 'elsewhere'),
            'checkpoint': [str(tmp_path / 'other')]}


def files(folder):
    return sorted(os.path.join(place, name) for place, _, names in
                  os.walk(folder) for name in names)


@pytest.fixture
def untouched(config, tmp_path, monkeypatch):
    """Asserts that a command has written below its own folder only, and has
    not opened what it was not told of."""
    import builtins
    import io
    run = write(tmp_path / 'run', config)
    working = tmp_path / 'working'
    working.mkdir()
    monkeypatch.chdir(working)
    before, real = files(tmp_path), builtins.open
    named = [value for value in (config['data'], config['root'],
                                 config['out']) if value is not None]

    def watched(path, *args, **kwargs):
        if str(path).startswith(tuple(named)):
            pytest.fail(f'{path} was opened')
        return real(path, *args, **kwargs)

    monkeypatch.setattr(builtins, 'open', watched)
    monkeypatch.setattr(io, 'open', watched)
    yield run
    monkeypatch.undo()
    after = [path for path in files(tmp_path)
             if not path.startswith(os.path.join(run, ''))]
    assert after == [path for path in before
                     if not path.startswith(os.path.join(run, ''))]


@pytest.mark.parametrize('command, file, message', [
    (['md'], '', "'structure' must be given"),
    (['relax', '--vibrations', 'true'], 'best.safetensors',
     "'structure' must be given"),
    (['evaluate'], '', "'data' must be given"),
    (['evaluate', '--part', 'all', '--split', 'other'], 'last.safetensors',
     "'data' must be given"),
])
def test_commands(untouched, config, file, command, message, capsys):
    name, *options = command
    checkpoint = os.path.join(untouched, file)
    assert main([name, '--checkpoint', checkpoint, *options]) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and message in error
    if name == 'evaluate':  # the user may well want to know
        assert f"it was trained on {config['data']!r}" in error


def test_what_needs_no_data(untouched):
    from torch_sake import load_potential
    from torch_sake.calculators import Evaluator, SAKECalculator
    z, pos = numpy.array([8, 1]), numpy.array([[0.0, 0, 0], [0, 0, 1]])
    for make in (load_potential, Evaluator, SAKECalculator):
        make(untouched)
    assert numpy.isfinite(Evaluator(untouched)(z, pos).energy)


@pytest.mark.parametrize('config', ['address', 'pickle'], indirect=True)
def test_training_goes_on_with_what_is_typed(water_copy, untouched, capsys):
    arguments = ['train', '--data', water_copy, '--out', untouched,
                 '--num_train', '16', '--num_val', '4', '--num_steps', '2']
    assert main([*arguments, '--resume']) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and "'resume' needs" in error
    tuning = [*arguments, '--init', untouched, '--val_interval', '2']
    tuning[4] = os.path.join(untouched, 'tuned')
    assert main(tuning) == 0


@pytest.fixture
def water_copy(water_file, tmp_path):
    return shutil.copy(water_file, str(tmp_path / 'typed.extxyz'))


def test_simulation_goes_on_with_what_is_typed(tmp_path, capsys, server):
    """Beside a state that says where it began."""
    from ase import Atoms

    from torch_sake.simulation.restart import save_state
    run = write(tmp_path / 'run', {'data': 'xtb:H2', 'root': server})
    structure, out = str(tmp_path / 'a.xyz'), str(tmp_path / 'md')
    Atoms('OH', [[0, 0, 0], [0, 0, 1]]).write(structure, format='extxyz')
    arguments = ['md', '--checkpoint', run, '--out', out, '--structure',
                 structure, '--num_steps']
    assert main([*arguments, '1']) == 0
    path = os.path.join(out, 'restart.npz')
    state = dict(numpy.load(path))
    config = json.loads(str(state['config']))
    config.update(structure=server, out=server)
    del state['digest']
    save_state(path, {**state, 'config': json.dumps(config)})
    assert main([*arguments, '2', '--resume']) == 0
    assert main(['md', '--checkpoint', run, '--out', out, '--num_steps', '3',
                 '--resume']) == 2
    assert "'structure' must be given" in capsys.readouterr().err


@pytest.mark.parametrize('numbers', [
    dict(num_frames=10**9), dict(data_seed=5), dict(num_frames='x'),
    dict(num_frames=[10**9], data_seed='y')], ids=str)
def test_numbers_of_generated_data(tmp_path, capsys, monkeypatch, numbers):
    """Those that a checkpoint names are said, not used."""
    from torch_sake.datasets.frames import xtb
    asked = []

    def generate(walkers, save):
        asked.append(sum(walker.num_frames for walker in walkers.values()))
        raise ValueError('not here')

    monkeypatch.setattr(xtb, 'run_walkers', generate)
    config = {'data': 'xtb:H2', 'root': None, 'num_frames': None,
              'data_seed': 0, **numbers}
    run = write(tmp_path / 'run', config)
    arguments = ['evaluate', '--checkpoint', run, '--data', 'xtb:H2',
                 '--root', str(tmp_path / 'data')]
    assert main(arguments) == 2 and not asked
    error = capsys.readouterr().err
    if config['num_frames'] not in (None, 10**9):  # no number at all
        assert "'config.num_frames' must be" in error
        return
    assert (f"must be given for 'xtb:H2' (the checkpoint says that it was "
            f"trained with {config['num_frames']!r} and "
            f"{config['data_seed']!r})") in error
    assert main([*arguments, '--num_frames', '8']) == 2 and asked == [8]
    assert main([*arguments, '--data_seed', '1']) == 2 and asked == [8, 2000]
