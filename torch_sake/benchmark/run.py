import os.path as osp
import platform
import time
from typing import Any

import torch

from torch_sake.benchmark import official
from torch_sake.benchmark.cases import (
    AnyCase,
    Calls,
    build_cases,
    installed_models,
)
from torch_sake.benchmark.config import BenchmarkConfig
from torch_sake.benchmark.systems import System, all_systems
from torch_sake.benchmark.work import (
    Rates,
    count_work,
    measure_rates,
    milliseconds,
    peak_memory,
)
from torch_sake.utils.device import choose_device
from torch_sake.utils.files import write_json
from torch_sake.utils.global_state import own_global_state
from torch_sake.version import __version__

Row = dict[str, Any]


@own_global_state()
def run_benchmark(config: BenchmarkConfig) -> dict[str, Any]:
    r"""Measures, and returns the results, which :obj:`results.json` gets,
    too.
    """
    torch.set_num_threads(config.threads)
    device = choose_device(config.device)
    dtype = getattr(torch, config.precision)
    models = installed_models() if config.models is None else config.models
    cases = [case for entry in models
             for case in build_cases(entry, config.compiled, device, dtype)]
    rates = measure_rates(device, dtype)
    results = {
        'machine': _describe(device), 'torch': torch.__version__,
        'torch_sake': __version__, 'threads': config.threads,
        'precision': config.precision, 'rates': rates._asdict(),
        'versions': {case.label: case.versions for case in cases}, 'rows': [],
    }
    for system in all_systems(config.atoms, config.batch_sizes, config.boxes):
        system = system.to(device, dtype)
        results['rows'] += _measure_system(cases, system, config, device)
        # The best of several times, as it may have been disturbed before:
        rates = Rates(*map(max, rates, measure_rates(device, dtype)))
        results['rates'] = rates._asdict()
        for row in results['rows']:
            _add_shares(row, rates)
        write_json(osp.join(config.out, 'results.json'), results, indent=1)
    return results


def _measure_system(cases: list[AnyCase], system: System,
                    config: BenchmarkConfig,
                    device: torch.device) -> list[Row]:
    calls = {(case.label, task): call for case in cases for task, call in
             _warm_calls(case, system, config.tasks).items()}
    repeats = {
        key: max(int(1000 * config.seconds / milliseconds(call, device)), 1)
        for key, call in calls.items()}
    times: dict[Any, list[float]] = {key: [] for key in calls}
    # The threads of JAX are busy for a while after its calls:
    pause = 0.3 if (official.NAME, 'neighbors') in calls else 0.0
    for _ in range(config.rounds):
        for key, call in calls.items():
            time.sleep(pause)
            times[key].append(milliseconds(call, device, repeats[key]))
    num_edges = {
        cutoff: system.num_edges(cutoff) for cutoff in
        {case.cutoff for case in cases if (case.label, 'neighbors') in calls}}
    rows, works = [], {}
    for task in config.tasks:
        for case in cases:
            label = case.label
            if (label, task) not in calls:
                continue
            call, edges = calls[label, task], num_edges[case.cutoff]
            low, middle, high = torch.tensor(times[label, task]).quantile(
                torch.tensor([0.25, 0.5, 0.75])).tolist()
            row = {'system': system.name, 'atoms': system.num_atoms,
                   'batch_size': system.batch_size, 'edges': edges,
                   'task': task, 'model': label, 'ms': middle, 'ms_low': low,
                   'ms_high': high,
                   'neighbors': min(times[label, 'neighbors']) / middle}
            if label != official.NAME:
                memory = peak_memory(call, device)
                row.update(peak_bytes=memory,
                           bytes_per_edge=memory / max(edges, 1))
            # A compiled model has to do the same as it did before.
            kind = label.removesuffix(', compiled'), task
            if not case.compiled:
                works[kind] = count_work(call)
            if kind in works:
                row.update(works[kind]._asdict())
            rows.append(row)
    return rows


def _warm_calls(case: AnyCase, system: System, tasks: list[str]) -> Calls:
    r"""Returns the calls of a case, or none for a system that it cannot do,
    after the first ones, which do more than those that count.
    """
    try:
        calls = case.calls(system, tasks)
        for call in 2 * list(calls.values()):
            call()
        return calls
    # Models without a cutoff, and those of others, are not periodic.
    except (ValueError, TypeError):
        if system.cell is None:
            raise
        return {}


def _add_shares(row: Row, rates: Rates) -> None:
    if 'flops' in row:
        row['matrix_share'] = 1000 * row['flops'] / rates.flops / row['ms']
        row['memory_share'] = 1000 * row['bytes'] / rates.bytes / row['ms']


def _describe(device: torch.device) -> str:
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    try:
        with open('/proc/cpuinfo') as file:
            for line in file:
                if line.startswith('model name'):
                    return line.partition(':')[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
