"""A model of one's own, from the data to a simulation."""

import json

import pytest

from torch_sake.cli import main

pytest.importorskip('ase.md.langevinbaoab')
pytest.importorskip('jsonargparse')
pytest.importorskip('matplotlib')
pytest.importorskip('pytorch_lightning')

MODEL = 'own_module:OwnModel'
MODULE = '''
from torch_sake import VectorSAKE


class OwnModel(VectorSAKE):
    pass
'''


def test_own_model(water_file, tmp_path, small, monkeypatch, capsys):
    (tmp_path / 'own_module.py').write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    run, structure = str(tmp_path / 'run'), ['--structure', water_file]
    assert main(['train', '--data', water_file, '--model', MODEL, '--out',
                 run, *small]) == 0
    repeat = ['train', '--config', f'{run}/config.yaml', '--out', f'{run}-2']
    capsys.readouterr()
    assert main(repeat) == 2
    assert f"must be typed: --model '{MODEL}'" in capsys.readouterr().err
    assert main([*repeat, f'--model={MODEL}']) == 0
    for command, *options in (['evaluate', '--data', water_file],
                              ['md', '--num_steps', '2', *structure],
                              ['relax', '--num_steps', '2', *structure]):
        arguments = [command, '--checkpoint', run, *options]
        capsys.readouterr()
        assert main(arguments) == 2  # no file names code that is run
        assert 'OwnModel' in capsys.readouterr().err
        assert main([*arguments, '--model', 'OwnModel']) == 2
        assert "'model' must be an import path" in capsys.readouterr().err
        assert main([*arguments, '--model', MODEL]) == 0
    evaluated, trained = (json.loads((tmp_path / 'run' / path).read_text())
                          for path in ('evaluation/evaluation.json',
                                       'test.json'))
    assert evaluated == trained
