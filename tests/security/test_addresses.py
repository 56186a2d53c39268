"""Paths are those of this machine. No address is asked for anything."""

import pytest

from torch_sake import load_potential
from torch_sake.benchmark.run import BenchmarkConfig
from torch_sake.calculators import Evaluator
from torch_sake.checkpoint import load_checkpoint
from torch_sake.cli import main
from torch_sake.cli.configs import ConvertConfig
from torch_sake.datasets import (
    ISO17,
    CMUMotion,
    FramesOnDisk,
    MD17Trajectory,
    NBody,
    convert_frames,
    load_frames,
    md17_frames,
    md22_frames,
    qm9_frames,
    read_frames,
    read_split,
    read_trajectories,
    xtb_frames,
)
from torch_sake.datasets.frames.npz_file import npz_frames
from torch_sake.evaluation.config import EvaluateConfig
from torch_sake.forecasting import DynamicsConfig
from torch_sake.simulation import MDConfig
from torch_sake.simulation.config import RelaxConfig
from torch_sake.simulation.structures import read_structure
from torch_sake.training import TrainConfig
from torch_sake.utils.paths import local_path

FUNCTIONS = [
    (lambda path: md17_frames(path, 'ethanol'), 'root'),
    (lambda path: md22_frames(path, 'DHA'), 'root'),
    (lambda path: MD17Trajectory(path, 'ethanol'), 'root'),
    (lambda path: qm9_frames(path, 'mu'), 'root'),
    (ISO17, 'root'), (NBody, 'root'), (CMUMotion, 'root'),
    (lambda path: xtb_frames('H2', 1, root=path, num_walkers=1), 'root'),
    *((lambda path, data=data: load_frames(data, root=path), 'root')
      for data in ('qm9:mu', 'md17:ethanol', 'rmd17:ethanol', 'iso17',
                   'xtb:H2')),
    (load_frames, 'data'), (read_frames, 'data'), (npz_frames, 'data'),
    (FramesOnDisk, 'data'), (read_trajectories, 'data'),
    (lambda path: convert_frames(path, 'out.frames'), 'data'),
    (lambda path: read_split(path, 3), 'split'),
    (load_checkpoint, 'checkpoint'), (load_potential, 'checkpoint'),
    (Evaluator, 'checkpoint'),
    (lambda path: read_structure(path, 'checkpoint'), 'structure'),
]
SETTINGS = [
    (TrainConfig, ('data', 'root', 'split', 'out', 'init')),
    (DynamicsConfig, ('data', 'root', 'out')),
    (EvaluateConfig, ('checkpoint', 'data', 'root', 'split', 'out')),
    (MDConfig, ('checkpoint', 'structure', 'out')),
    (RelaxConfig, ('checkpoint', 'structure', 'out')),
    (ConvertConfig, ('data', 'out')),
    (BenchmarkConfig, ('out', )),
]


@pytest.mark.parametrize('function, name', FUNCTIONS)
def test_functions(function, name, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for address in (server, 'memory://q', 'file:///q', 's3://q/r',
                    f'simplecache::{server}'):
        with pytest.raises(ValueError, match=f"'{name}' must be a path of "
                           "this machine, no address"):
            function(address)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('config, name', [
    (config, name) for config, names in SETTINGS for name in names])
def test_settings(config, name, server):
    needed = {'checkpoint': 'c', 'data': 'd', 'out': 'o'}
    given = {key: value for key, value in needed.items()
             if key in config.__dataclass_fields__}
    with pytest.raises(ValueError, match=f"'{name}' must be a path"):
        config(**{**given, name: server})
    if name == 'checkpoint' and config is not RelaxConfig:
        with pytest.raises(ValueError, match="'checkpoint' must be a path"):
            config(**{**given, name: ['c', server]})


def test_command_line(server, tmp_path, capsys, monkeypatch):
    pytest.importorskip('jsonargparse')
    monkeypatch.chdir(tmp_path)
    assert main(['train', '--data', 'qm9:mu', '--root', server]) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and "'root' must be a path" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', [
    'data/qm9', '/data', '~/data', 'a:b.xyz', 'a@b::c.xyz', 'C:\\data',
    'xtb:ethanol', 'qm9:mu', 'file.xyz@3', 'ethanol CCSD(T)'])
def test_paths(name, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert local_path('root', name) == name.replace('~', str(tmp_path))
    assert local_path('root', tmp_path / 'a') == str(tmp_path / 'a')


@pytest.mark.parametrize('value', [None, 3, b'root', ['root']])
def test_what_is_no_path(value):
    with pytest.raises(TypeError, match="'root' must be a path .got"):
        local_path('root', value)
