from torch_sake.simulation.config import RelaxConfig
from torch_sake.simulation.relaxation import Relaxation


def relax(config: RelaxConfig) -> None:
    r"""Finds the structure of least energy and, if asked for, its
    vibrations.
    """
    relaxation = Relaxation(config)
    for remark in relaxation.soundness.remarks:
        print(remark)
    results = relaxation.run()
    for name, value in results.items():
        print(f'{name}: {value}')
    if not 0.5 < results.get('change of volume', 0) + 1 < 2:
        print('The volume has changed so much that the potential may not know '
              'such structures')
    if not relaxation.converged:
        print(f'Not relaxed to fmax={config.fmax} in {relaxation.steps} steps')
    relaxation.check_result()
    print(f'The structure is in {relaxation.out}')
