"""A loss: the logarithm of the hyperbolic cosine of the length of an error.

    python examples/extending/loss.py
"""

import tempfile

import torch
from dataset import spring_frames
from torch.nn.functional import softplus

from torch_sake.training import TrainConfig, Trainer


def log_cosh(error):
    """Takes errors in units of the data, [M, C], and returns [M]."""
    length = torch.linalg.vector_norm(error, dim=1)
    return length + softplus(-2 * length) - torch.log(torch.tensor(2.0))


def main():
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(num_train=20, num_val=10, num_steps=20,
                             hidden_channels=8, num_layers=1, device='cpu',
                             val_interval=10, out=f'{folder}/run')
        trainer = Trainer(config, frames=spring_frames(), loss=log_cosh)
        trainer.fit()
        print(trainer.history[-1]['force_mae'])


if __name__ == '__main__':
    main()
