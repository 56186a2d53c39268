"""The examples of docs/extending.rst run, and are as short as it says."""

import csv
import runpy
from pathlib import Path

import pytest
import torch

pytest.importorskip('pytorch_lightning')
pytest.importorskip('ase')

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / 'examples' / 'extending'


@pytest.fixture(autouse=True)
def found(monkeypatch, tmp_path):
    """The examples are modules that Python finds, as in PYTHONPATH."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)


def run(name, capsys):
    torch.manual_seed(0)
    names = runpy.run_path(str(EXAMPLES / f'{name}.py'), run_name='__main__')
    return names, capsys.readouterr().out


def test_layer(capsys):
    _, printed = run('layer', capsys)  # has assertions
    assert printed.startswith('tensor([[')


@pytest.mark.parametrize('path', ['layer:FilterNet', 'readout:TopModel'])
def test_models_train_and_load(path, water_file, tmp_path):
    from torch_sake import load_potential
    from torch_sake.cli import main
    out = str(tmp_path / 'run')
    assert main(['train', '--model', path, '--data', water_file, '--num_train',
                 '8', '--num_val', '4', '--num_steps', '4', '--val_interval',
                 '2', '--hidden_channels', '8', '--num_layers', '2',
                 '--device', 'cpu', '--out', out]) == 0
    potential = load_potential(out, model=path)
    assert type(potential.model).__name__ == path.partition(':')[2]
    assert potential.model.num_layers == 2
    with pytest.raises(ValueError, match='Nothing is imported'):
        load_potential(out)
    evaluate = ['evaluate', '--checkpoint', out, '--data', water_file]
    assert main([*evaluate, '--model', path]) == 0
    assert main(evaluate) == 2


def test_layer_takes_velocities_and_its_inputs(capsys):
    conv = run('layer', capsys)[0]['FilterConv'](4, 8)
    x, pos, vel = torch.randn(5, 4), torch.randn(5, 3), torch.randn(5, 3)
    edge_index = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
    still, moving = conv(x, pos, edge_index), conv(x, pos, edge_index, vel)
    assert still[0].shape == (5, 8) and still[0].equal(moving[0])
    assert not still[1].allclose(moving[1])


def test_readout(capsys):
    names, _ = run('readout', capsys)
    parts = torch.tensor([[0.0], [30.0], [1.0]])
    batch = torch.tensor([0, 0, 1])
    torch.testing.assert_close(
        names['Top']()(parts, None, None, batch, 2),
        torch.tensor([[30.0], [1.0]]))


def test_dataset(capsys):
    names, printed = run('dataset', capsys)
    from torch_sake.utils.inputs import FRAMES
    FRAMES.pop('springs')
    assert "Frames(40, source='springs')" in printed
    frames = names['spring_frames']()
    # Forces are minus the slope of the energy of a spring.
    stretch = frames[3].pos[1, 0] - 1
    torch.testing.assert_close(frames[3].energy, 2.5 * stretch.view(1)**2)
    torch.testing.assert_close(frames[3].force[1, 0], -5 * stretch)


def test_loss(capsys):
    names, printed = run('loss', capsys)
    assert float(printed.split()[-1]) > 0
    error = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    torch.testing.assert_close(
        names['log_cosh'](error), torch.tensor([5.0, 0.0]).cosh().log())


def test_engine(capsys):
    _, printed = run('engine', capsys)
    number, drift = printed.split()[0], printed.split()[3]
    assert number == '200' and abs(float(drift)) < 1


def test_as_short_as_the_guide_says():
    with open(ROOT / 'docs' / 'lab' / 'extending.csv') as file:
        _, *rows = csv.reader(file)
    assert len(rows) == len(list(EXAMPLES.glob('*.py')))
    for _, name, lines, _ in rows:
        text = (ROOT / name.strip('`')).read_text()
        assert len(text.splitlines()) == int(lines)
        assert int(lines) <= 150
