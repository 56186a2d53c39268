"""From crystals with stresses to a simulation."""

import json
import os

import numpy
import pytest

from torch_sake import ZBLRepulsion, load_potential
from torch_sake.cli import main

ase_io = pytest.importorskip('ase.io')
pytest.importorskip('jsonargparse')
pytest.importorskip('matplotlib')

SMALL = ['--num_train', '16', '--num_val', '4', '--batch_size', '2',
         '--val_interval', '5', '--hidden_channels', '8', '--num_layers', '1',
         '--num_rbf', '4', '--cutoff', '4.0']


@pytest.fixture
def run(copper_file, tmp_path):
    def train(name, *arguments):
        out = str(tmp_path / name)
        assert main(['train', '--data', copper_file, '--out', out, *SMALL,
                     *arguments]) == 0
        return out
    return train


@pytest.mark.slow
def test_stresses_are_learned(run, copper_file, capsys):
    out = run('run', '--num_steps', '500', '--stress_weight', '1.0',
              '--num_test', '0', '--hidden_channels', '16',
              '--learning_rate', '0.01')
    printed = capsys.readouterr().out
    assert ('frames with energies, forces and stresses (18 of 24 frames),'
            in printed)
    assert 'stress [meV/Angstrom^3]' in printed and 'zero stress' in printed
    errors = json.load(open(os.path.join(out, 'val.json')))
    assert errors['model']['stress_mae'] < 0.7 * errors['trivial'][
        'stress_mae']
    assert main(['evaluate', '--checkpoint', out, '--data', copper_file,
                 '--part', 'all']) == 0
    evaluated = json.load(open(os.path.join(out, 'evaluation',
                                            'evaluation.json')))
    # Against the stresses that the file has, by the calculator:
    from torch_sake.calculators import SAKECalculator
    differences = []
    for atoms in ase_io.read(copper_file, ':'):
        if 'stress' not in atoms.calc.results:
            continue
        label = atoms.get_stress(voigt=False)
        atoms.calc = SAKECalculator(out)
        differences.append(atoms.get_stress(voigt=False) - label)
    assert len(differences) == 18
    assert evaluated['model']['stress_mae'] == pytest.approx(
        numpy.abs(differences).mean(), rel=1e-4)


@pytest.mark.slow
def test_resume_and_prior(run, tmp_path):
    arguments = ['--zbl', 'true', '--num_steps', '10']
    whole = run('whole', *arguments)
    assert isinstance(load_potential(whole).prior, ZBLRepulsion)
    assert load_potential(whole).prior.cutoff == 4.0
    # The same again, stopped in the middle:
    from torch_sake.checkpoint import load_checkpoint
    from torch_sake.training import TrainConfig, Trainer
    _, description = load_checkpoint(whole)
    config = dict(description['config'], out=str(tmp_path / 'parts'))
    lightning = pytest.importorskip('pytorch_lightning')

    class Interrupt(lightning.Callback):
        def on_train_batch_start(self, trainer, module, *args):
            if module.step == 7:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(TrainConfig(**config)).fit([Interrupt()])
    Trainer(TrainConfig(**dict(config, resume=True))).fit()
    potentials = [load_potential(out).state_dict()
                  for out in (whole, config['out'])]
    for key, value in potentials[0].items():
        assert value.equal(potentials[1][key])


@pytest.mark.slow
def test_simulation(run, tmp_path, capsys):
    paths = [run(name, '--num_steps', '40', '--seed', seed)
             for name, seed in (('a', '0'), ('b', '1'))]
    out = str(tmp_path / 'md')
    arguments = ['md', '--checkpoint', f'[{paths[0]}, {paths[1]}]', '--out',
                 out, '--interval', '2', '--ensemble', 'npt', '--isotropic',
                 'false']
    # Without a structure, that is the first frame of the data:
    assert main([*arguments, '--num_steps', '6']) == 0
    printed = capsys.readouterr().out
    assert 'Cu4: npt, steps 0 to 6' in printed
    assert 'pressure [GPa]: ' in printed and 'volume' in printed
    assert sorted(os.listdir(out)) == ['last.extxyz', 'log.csv', 'md.png',
                                       'restart.npz', 'trajectory.extxyz']
    assert main([*arguments, '--num_steps', '8']) == 2
    assert "'out' must not hold a simulation" in capsys.readouterr().err
    assert main([*arguments, '--num_steps', '8', '--resume']) == 0
    assert len(ase_io.read(os.path.join(out, 'trajectory.extxyz'), ':')) == 5
    assert main([*arguments, '--num_steps', '12', '--resume',
                 '--max_force_std', '1e-6']) == 1
    assert 'has an uncertainty of' in capsys.readouterr().err

    assert main(['md', '--checkpoint', paths[0], '--num_steps', '4',
                 '--ensemble', 'nve', '--format', 'traj']) == 0
    assert 'total energy: drift' in capsys.readouterr().out
    assert 'trajectory.traj' in os.listdir(os.path.join(paths[0], 'md'))
    assert main(['relax', '--checkpoint', paths[0], '--cell', 'true',
                 '--num_steps', '2']) == 0
