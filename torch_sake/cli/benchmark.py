from torch_sake.benchmark.config import BenchmarkConfig
from torch_sake.benchmark.run import run_benchmark
from torch_sake.benchmark.tables import format_results, write_results
from torch_sake.utils.locks import hold_folder


def benchmark(config: BenchmarkConfig) -> None:
    r"""Measures models side by side and writes tables and a picture."""
    with hold_folder(config.out):
        results = run_benchmark(config)
        write_results(results, config.out)
    print(format_results(results))
    print(f'\nThe results are in {config.out}')
