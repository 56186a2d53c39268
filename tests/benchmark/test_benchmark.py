import json

import pytest
import torch

from torch_sake import neighbor_list
from torch_sake.benchmark import official
from torch_sake.benchmark.cases import build_cases, installed_models
from torch_sake.benchmark.run import BenchmarkConfig
from torch_sake.benchmark.systems import all_systems, box, molecules
from torch_sake.benchmark.work import count_work, measure_rates, peak_memory
from torch_sake.cli import main

CPU = torch.device('cpu')
SMALL = 'VectorSAKE,hidden_channels=8,num_layers=1,num_rbf=4'


def test_systems():
    system = molecules(21, 3)
    assert system.num_atoms == 63 and system.batch_size == 3
    assert torch.equal(system.z[:21], system.z[21:42])
    assert not torch.equal(system.pos[:21], system.pos[21:42])
    assert neighbor_list(system.pos, 0.9, system.batch)[0].size(1) == 0
    assert system.num_edges(None) == 3 * 21 * 20
    system = box(1000)
    assert system.num_atoms == 1000 and system.batch is None
    volume = float(torch.linalg.det(system.cell))
    assert system.num_atoms / volume == pytest.approx(0.05, rel=0.02)
    # As many neighbors as the density says:
    assert system.num_edges(5.0) / 1000 == pytest.approx(
        0.05 * 4 / 3 * 3.1416 * 125, rel=0.1)
    assert system.num_edges(1.5) == 0
    names = [system.name for system in all_systems([9, 21], [1, 8], [64])]
    assert names == ['1 x 9 atoms', '8 x 9 atoms', '1 x 21 atoms',
                     '8 x 21 atoms', 'box of 64 atoms']


def test_work():
    a, b = torch.randn(10, 20), torch.randn(20, 30)
    work = count_work(lambda: (a @ b).t() + 1)
    assert work.flops == 2 * 10 * 20 * 30
    # The product and the sum; the transposed view moves nothing.
    assert work.bytes == 4 * (200 + 600 + 300) + 4 * 600
    a.requires_grad_()
    work = count_work(lambda: (a @ b).sum().backward())
    assert work.flops == 2 * 2 * 10 * 20 * 30
    rates = measure_rates(CPU, torch.float)
    assert 1e9 < rates.flops < 1e14 and 1e8 < rates.bytes < 1e13


def test_peak_memory():
    def call():
        first = torch.zeros(1000, 1000)
        second = first + 1
        del first, second
        torch.zeros(1500, 1000)

    call()
    assert peak_memory(call, CPU) == pytest.approx(8e6, rel=0.01)


@pytest.mark.parametrize('entry', [SMALL, 'SchNet'])
def test_cases(entry):
    system = molecules(9, 1)
    case, = build_cases(entry, False, CPU, torch.float)
    calls = case.calls(system, ['inference', 'training'])
    before = {key: value.clone() for key, value in
              case.potential.state_dict().items()}
    for call in calls.values():
        call()
    for key, value in case.potential.state_dict().items():
        assert torch.equal(value, before[key])  # a copy is trained
    flops = [count_work(calls[task]).flops
             for task in ('inference', 'training')]
    assert 2 * flops[0] < flops[1] < 4 * flops[0]


def test_variants():
    endings = ['', ', compiled']
    for entry in ('SAKE,num_layers=1', SMALL):
        cases = build_cases(entry, True, CPU, torch.float)
        assert [case.label for case in cases] == [
            entry + ending for ending in endings]
        assert [case.compiled for case in cases] == [
            bool(ending) for ending in endings]
        assert len(build_cases(entry, False, CPU, torch.float)) == 1


@pytest.mark.slow
def test_command(tmp_path, capsys):
    pytest.importorskip('jsonargparse')
    pytest.importorskip('ase')
    pytest.importorskip('matplotlib')
    out = tmp_path / 'out'
    arguments = ['benchmark', '--out', str(out), '--rounds', '2', '--seconds',
                 '0.01', '--compiled', 'false', '--atoms', '[4]',
                 '--batch_sizes', '[1, 2]', '--boxes', '[8]']
    models = f'["{SMALL}", "SAKE,cutoff=null,num_layers=1", SchNet]'
    assert main([*arguments, '--models', models]) == 0
    printed = capsys.readouterr().out
    assert (out / 'results.md').read_text().strip() in printed
    assert (out / 'benchmark.png').exists()
    results = json.loads((out / 'results.json').read_text())
    for row in results['rows']:
        if 'flops' in row:  # of the rates that were the best in the end
            assert row['matrix_share'] == pytest.approx(
                row['flops'] / results['rates']['flops'] / row['ms'] * 1000)
    found = {(row['system'], row['task'], row['model'].split(',')[0])
             for row in results['rows']}
    expected = {(system, task, model)
                for system in ('1 x 4 atoms', '2 x 4 atoms', 'box of 8 atoms')
                for task in ('inference', 'training', 'md')
                for model in ('VectorSAKE', 'SAKE', 'SchNet')
                if not (system.startswith('2') and task == 'md')
                # Without a cutoff there is no neighbor list of a box.
                and not (system.startswith('box') and model == 'SAKE')}
    assert found == expected
    for row in results['rows']:
        assert row['ms_low'] <= row['ms'] <= row['ms_high']
        assert 0 < row['matrix_share'] < 1 and row['peak_bytes'] > 0
        assert row['edges'] > 0 and row['neighbors'] < 1
    assert main([*arguments, '--models', '[PaiNN2]']) == 2
    assert "'models' must be of" in capsys.readouterr().err


def test_bad_input(monkeypatch):
    with pytest.raises(ValueError, match="'tasks' must be one of"):
        BenchmarkConfig(tasks=['inferense'])
    with pytest.raises(ValueError, match="'atoms' must be at least 1"):
        BenchmarkConfig(atoms=[0])
    assert 'VectorSAKE' in installed_models()
    monkeypatch.setattr(official, 'is_installed', lambda: False)
    with pytest.raises(ImportError, match='sake-gnn, which is not installed'):
        build_cases(official.NAME, False, CPU, torch.float)


def test_official_implementation():
    if not official.is_installed():
        pytest.skip('sake-gnn is not installed')
    case, = build_cases(official.NAME, False, CPU, torch.float)
    for call in case.calls(molecules(4, 2), ['inference', 'training']).values(
    ):
        call()
    with pytest.raises(ValueError, match='no official model for periodic'):
        case.calls(box(8), ['inference'])
