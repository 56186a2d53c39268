import os.path as osp
import platform
import time
from typing import Any

import torch

from torch_sake.benchmark import official
from torch_sake.benchmark.cases import AnyCase, build_cases, installed_models
from torch_sake.benchmark.config import BenchmarkConfig
from torch_sake.benchmark.systems import System, all_systems
from torch_sake.benchmark.work import (
    Rates,
    count_work,
    measure_rates,
    peak_memory,
    synchronize,
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
    calls = {}
    for case in cases:
        # Models without a cutoff, and those of others, are not periodic.
        try:
            mine = case.calls(system, config.tasks)
            for call in mine.values():
                call()  # what the first call has to do does not count
                call()
        except (ValueError, TypeError):
            if system.cell is None:
                raise
            continue
        for task, call in mine.items():
            repeats = _repeats(call, config.seconds, device)
            calls[case.label, task] = (call, repeats)
    times: dict[Any, list[float]] = {key: [] for key in calls}
    # The threads of JAX are busy for a while after its calls:
    pause = 0.3 if (official.NAME, 'neighbors') in calls else 0.0
    for _ in range(config.rounds):
        for key, (call, repeats) in calls.items():
            time.sleep(pause)
            times[key].append(_milliseconds(call, repeats, device))
    rows, works = [], {}
    for case in cases:
        if (case.label, 'neighbors') not in calls:
            continue
        edges = system.num_edges(case.cutoff)
        for task in config.tasks:
            if (case.label, task) not in calls:
                continue
            call, _ = calls[case.label, task]
            low, middle, high = torch.tensor(times[case.label, task]).quantile(
                torch.tensor([0.25, 0.5, 0.75])).tolist()
            search = min(times[case.label, 'neighbors'])
            row = {'system': system.name, 'atoms': system.num_atoms,
                   'batch_size': system.batch_size, 'edges': edges,
                   'task': task, 'model': case.label, 'ms': middle,
                   'ms_low': low, 'ms_high': high,
                   'neighbors': search / middle}
            if case.label != official.NAME:
                memory = peak_memory(call, device)
                row.update(peak_bytes=memory,
                           bytes_per_edge=memory / max(edges, 1))
            # A compiled model has to do the same as it did before.
            kind = case.label.removesuffix(', compiled'), task
            if not case.compiled:
                works[kind] = count_work(call)
            if kind in works:
                row.update(works[kind]._asdict())
            rows.append(row)
    return sorted(rows, key=lambda row: config.tasks.index(row['task']))


def _add_shares(row: Row, rates: Rates) -> None:
    if 'flops' in row:
        row['matrix_share'] = 1000 * row['flops'] / rates.flops / row['ms']
        row['memory_share'] = 1000 * row['bytes'] / rates.bytes / row['ms']


def _repeats(call: Any, seconds: float, device: torch.device) -> int:
    return max(int(1000 * seconds / _milliseconds(call, 1, device)), 1)


def _milliseconds(call: Any, repeats: int, device: torch.device) -> float:
    synchronize(device)
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    synchronize(device)
    return 1000 * (time.perf_counter() - began) / repeats


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
