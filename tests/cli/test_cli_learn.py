import os

import pytest

from torch_sake.cli import main

pytest.importorskip('jsonargparse')
pytest.importorskip('ase.md.langevinbaoab')
pytest.importorskip('matplotlib')

EMT = 'ase.calculators.emt:EMT'


@pytest.fixture
def files(copper_file, tmp_path):
    """Labeled frames without a molecule, and one of them to start from."""
    import ase.io
    frames = [atoms for atoms in ase.io.read(copper_file, ':')
              if len(atoms) == 4]
    data, start = str(tmp_path / 'cu.extxyz'), str(tmp_path / 'start.extxyz')
    ase.io.write(data, frames)
    ase.io.write(start, frames[0])
    return ['--data', data, '--structures', start]


SHORT = ['--time', '0.02', '--timestep', '2', '--interval', '2',
         '--num_rounds', '1', '--num_walkers', '1', '--hidden_channels', '8',
         '--num_layers', '1', '--cutoff', '4', '--num_steps', '6',
         '--finetune_steps', '4', '--batch_size', '4', '--num_val', '4',
         '--device', 'cpu', '--temperatures', '[300, 900]']


@pytest.mark.slow
def test_learn_crystals(files, tmp_path, capsys):
    """Frames with cells and stresses, labels of a calculator and of files."""
    from torch_sake import load_potential
    from torch_sake.datasets import read_frames
    out = str(tmp_path / 'loop')
    arguments = ['learn', *files, *SHORT, '--out', out]
    doubt = ['--max_force_std', '1e-6']
    assert main([*arguments, '--label', EMT, *doubt]) == 0
    printed = capsys.readouterr().out
    assert f'1 structure at 300, 900 K, 1 simulation each; labels by {EMT}' \
        in printed
    assert 'All rounds are over, with 1 label in 1 round' in printed
    assert f"The potential is in {out}/best.safetensors" in printed
    assert load_potential(out).has_force_uncertainty
    frames = read_frames(os.path.join(out, 'round_1', 'learned.extxyz'))
    assert bool(frames.known('stress').all())

    assert main([*arguments[:-1], out + '2', '--label', 'files', *doubt]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert 'has 1 structure to label' in last
    assert 'run the same command again' in last
    assert main([*arguments[:-1], out + '3', '--label', 'files',
                 '--max_force_std', '1e9']) == 0
    assert 'It holds: 2 simulations of 0.02 ps without doubt, after 0 labels' \
        in capsys.readouterr().out


def test_code_must_be_typed(files, tmp_path, capsys):
    """A file of settings runs nothing."""
    path = tmp_path / 'learn.yaml'
    path.write_text(f"label: '{EMT}'\n")
    assert main(['learn', *files, '--config', str(path)]) == 2
    assert f"must be typed: --label '{EMT}'" in capsys.readouterr().err


@pytest.mark.slow
def test_settings_of_a_loop_are_a_configuration(files, tmp_path, capsys):
    """Those that are written, with what must be typed."""
    out = str(tmp_path / 'loop')
    sure = ['--max_force_std', '1e9']
    assert main(['learn', *files, *SHORT, '--out', out, '--label', EMT,
                 *sure]) == 0
    config = os.path.join(out, 'config.yaml')
    assert main(['learn', '--config', config, '--label', EMT]) == 0
    assert 'It holds' in capsys.readouterr().out
    assert main(['learn', '--config', config, '--label', EMT, '--seed',
                 '1']) == 2
    assert "'seed' must be 0, as before in the loop" in (
        capsys.readouterr().err)
