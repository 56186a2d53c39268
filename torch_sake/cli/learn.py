from torch_sake.learning import LearnConfig, Learner
from torch_sake.training.threads import limit_threads


def learn(config: LearnConfig) -> None:
    r"""Learns where the potential is unsure, and says how it ended."""
    learner = Learner(config)
    if learner.device.type == 'cpu':
        limit_threads(learner.edges_per_step)
    print(learner.describe())
    try:
        end = learner.run()
    except KeyboardInterrupt:
        print(f'\nStopped; the same command goes on with the loop in '
              f'{config.out}')
        raise
    print(learner.describe_end(end))
