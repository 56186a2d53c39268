"""What keeps mistakes with sizes from building something else in silence."""

import inspect

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel
from torch.testing._internal.distributed.fake_pg import FakeStore

from torch_sake import SAKE, SAKENet, VectorSAKE
from torch_sake.models import EGNN, GNN, MoleculeModel, RadialField


@pytest.mark.parametrize('model, sizes', [
    (SAKE, (128, 128, 6, 50, 10.0)),  # in the order of SchNet
    (VectorSAKE, (128, 128, 6, 50, 10.0)),
    (MoleculeModel, (128, 128)),
    (SAKENet, (8, 16, 2, 4)),  # in the order of PyG's BasicGNN
    (EGNN, (8, 16, 2, 4)),
    (GNN, (8, 16, 2, 4)),
    (RadialField, (16, 2)),
], ids=str)
def test_sizes_by_name(model, sizes):
    with pytest.raises(TypeError, match='positional arguments?'):
        model(*sizes)
    positional = [
        name for name, parameter in inspect.signature(model).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    assert positional in (['hidden_channels'], [
        'in_channels', 'hidden_channels', 'out_channels'])


def keep(state, bucket):
    future = torch.futures.Future()
    future.set_result(bucket.buffer())
    return future


@pytest.mark.parametrize('has_vel', [False, True])
@pytest.mark.parametrize('build', [
    lambda: SAKENet(3, 8, 2, num_layers=3, num_rbf=4),
    lambda: SAKENet(3, 8, 2, num_layers=3, num_rbf=4, cutoff=2.0),
    lambda: SAKENet(3, 8, 2, num_layers=3, num_rbf=4, conv='vector'),
    lambda: SAKENet(3, 8, 2, num_layers=1, num_rbf=4,
                    spatial_attention=False),
    lambda: EGNN(3, 8, 2, num_layers=2),
], ids=['sake', 'cutoff', 'vector', 'one', 'egnn'])
def test_features_alone(build, has_vel, tmp_path):
    """All parameters have a derivative, which DistributedDataParallel waits
    for: it fails at the second step otherwise."""
    inputs = (torch.randn(5, 3), torch.randn(5, 3), None,
              torch.randn(5, 3) if has_vel else None)
    net = build()
    expected = net(*inputs)[0].sum()
    used = torch.autograd.grad(expected, list(net.parameters()),
                               allow_unused=True, materialize_grads=True)
    # One process has nothing to send. The threads of gloo, which would, wait
    # for Python when a group ends, which may wait for them: without end.
    torch.distributed.init_process_group('fake', store=FakeStore(), rank=0,
                                         world_size=1)
    try:
        parallel = DistributedDataParallel(net)
        parallel.register_comm_hook(None, keep)
        for _ in range(2):
            net.zero_grad()
            output = parallel(*inputs)[0].sum()
            output.backward()
    finally:
        torch.distributed.destroy_process_group()
    assert torch.equal(output, expected)
    for parameter, grad in zip(net.parameters(), used):
        assert torch.allclose(parameter.grad, grad)


def test_derivatives_of_what_is_not_finite():
    """Parameters that features do not depend on do not reach them."""
    net = SAKENet(3, 8, 2, num_layers=2, num_rbf=4)
    inputs = torch.randn(5, 3), torch.randn(5, 3)
    expected = net(*inputs)[0]
    with torch.no_grad():
        net.stack.convs[-1].lin_vel.weight.fill_(float('nan'))
    assert torch.equal(net(*inputs)[0], expected)


def test_parameters_that_are_spared():
    net = SAKENet(3, 8, 2, num_layers=3, vel_input=False,
                  update_pos=[True, True, False])
    names = {name for name, _ in net.named_parameters() if 'vel' in name}
    assert names == {'stack.convs.0.lin_vel.weight',
                     'stack.convs.1.lin_vel.weight',
                     *(f'stack.convs.1.mlp_vel.{name}'
                       for name in ('0.weight', '0.bias', '2.weight'))}
