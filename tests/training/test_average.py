import pytest
import torch

from torch_sake.optim.average import MovingAverage


@pytest.mark.parametrize('decay', [0.0, 0.5, 0.99])
def test_moving_average(decay):
    """The average is that of a plain loop, and the model is as it was."""
    model = torch.nn.Linear(3, 2)
    average = MovingAverage(model, decay)
    expected = None
    for step in range(20):
        with torch.no_grad():
            model.weight.add_(torch.randn(2, 3))
        weight = model.weight.detach().clone()
        average.update_parameters(model)
        part = min(decay, (1 + step) / (10 + step))
        expected = weight if expected is None else (
            part * expected + (1 - part) * weight)
        assert torch.equal(model.weight, weight)
        assert torch.allclose(average.module.weight, expected, atol=1e-6)
    assert not average.module.weight.requires_grad
    assert not average.module.training
