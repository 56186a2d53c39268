"""What the command line answers without torch, whose import takes seconds."""

import subprocess
import sys
from pkgutil import resolve_name

import pytest

pytest.importorskip('jsonargparse')
pytest.importorskip('ase')

from torch_sake.utils import inputs

SLOW = ('torch', 'torch_geometric', 'pytorch_lightning', 'lightning',
        'matplotlib', 'scipy', 'openmm', 'rdkit', 'vesin')
START = f"""
import atexit, sys
from torch_sake.cli import main
atexit.register(lambda: print(sorted({{*{SLOW}}} & sys.modules.keys())))
sys.exit(main())
"""


def answer(arguments, folder):
    process = subprocess.run([sys.executable, '-c', START, *arguments],
                             capture_output=True, text=True, cwd=folder,
                             timeout=300)
    assert process.stdout.splitlines()[-1] == '[]', 'slow imports'
    assert 'Traceback' not in process.stderr
    return process


@pytest.mark.parametrize('command', [
    '', 'train', 'learn', 'dynamics', 'evaluate', 'md', 'relax', 'convert',
    'benchmark'])
def test_help(command, tmp_path):
    process = answer([*command.split(), '--help'], tmp_path)
    assert process.returncode == 0
    assert 'usage: torch-sake' in process.stdout


@pytest.mark.parametrize('arguments, message', [
    ([], 'expected "command"'),
    (['foo'], "invalid choice: 'foo'"),
    (['train', '--bogus', '1'], 'unrecognized arguments: --bogus'),
    (['train', '--model', 'MACE'], 'MACE'),
    (['train', '--num_steps', '0'], "'num_steps' must be at least 1"),
    (['train', '--config', 'no.yaml'], 'no.yaml'),
    (['train', '--data', 'no.xyz'], "or an existing file (got 'no.xyz')"),
    (['train', '--data', '~/no.xyz'], "or an existing file (got '~/no.xyz')"),
    (['train', '--data', 'md17:ethanol'], "'root', the folder"),
    (['train', '--split', 'no.npz'], "There is no file 'no.npz'"),
    (['train', '--init', 'no'], "There is no checkpoint 'no'"),
    (['train', '--init', '.'], "There is no checkpoint './best.safetensors'"),
    (['train', '--out', 'no', '--resume'], "'resume' needs a folder 'out'"),
    (['learn', '--structures', 'here', '--label', 'dft', '--data', 'here'],
     "'label' must be one of ['xtb', 'files'] or"),
    (['learn', '--structures', '[here, no@2]', '--label', 'xtb', '--data',
      'here'], "'structures' must be a file (got 'no@2')"),
    (['learn', '--structures', 'here', '--label', 'xtb', '--data', 'no.xyz'],
     "or an existing file (got 'no.xyz')"),
    (['learn', '--structures', 'here', '--label', 'xtb', '--init',
      '["here", "no"]', '--max_force_std', '1'],
     "There is no checkpoint 'no'"),
    (['learn', '--structures', 'here', '--label', 'xtb'],
     "'data' or 'init' must be given"),
    (['dynamics', '--data', 'no.npz'], "There is no file 'no.npz'"),
    (['evaluate', '--checkpoint', 'no'], "There is no checkpoint 'no'"),
    (['evaluate', '--checkpoint', 'here', '--data', 'no.xyz'],
     "or an existing file (got 'no.xyz')"),
    (['md', '--checkpoint', '["here", "no"]'], "There is no checkpoint 'no'"),
    (['md', '--checkpoint', 'here', '--structure', 'no.xyz@3'],
     "'structure' must be a file (got 'no.xyz@3')"),
    (['relax', '--checkpoint', 'no'], "There is no checkpoint 'no'"),
    (['relax', '--checkpoint', 'here', '--structure', 'no.xyz'],
     "'structure' must be a file (got 'no.xyz')"),
    (['convert', '--data', 'no.xyz', '--out', 'o'], "no file 'no.xyz'"),
    (['benchmark', '--tasks', '[sleep]'], "'tasks' must be one of"),
], ids=str)
def test_wrong_arguments(arguments, message, tmp_path):
    (tmp_path / 'here').write_text('')
    process = answer(arguments, tmp_path)
    assert process.returncode == 2
    assert message in process.stderr


def test_names_of_data():
    assert 'xtb:NAME' in inputs.FRAMES
    for data_set in inputs.FRAMES.values():
        assert callable(resolve_name(data_set.reader))
