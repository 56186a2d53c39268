import pytest
import torch

from torch_sake import SAKE, SAKEConv, SAKENet, VectorSAKEConv
from torch_sake.models import EGNN, GNN, RadialField
from torch_sake.nn import EGNNConv


class Own(torch.nn.Module):
    """A module with a way of its own to be reset."""
    def __init__(self):
        super().__init__()
        self.lin = torch.nn.Linear(4, 4)
        self.resets = 0

    def reset_parameters(self):
        self.resets += 1
        torch.nn.init.constant_(self.lin.weight, 7.0)


class OwnLinear(torch.nn.Linear):
    def reset_parameters(self):
        torch.nn.init.constant_(self.weight, 7.0)


MODULES = [
    lambda: SAKEConv(4, 4, num_rbf=4, edge_dim=2),
    lambda: VectorSAKEConv(4, 4, num_rbf=4, edge_dim=2, vec_input=True,
                           vec_output=True),
    lambda: EGNNConv(4),
    lambda: SAKEConv(4, 4, num_rbf=4, edge_dim=2).edge_embedding,
    lambda: SAKEConv(4, 4, num_rbf=4).attention,
    lambda: SAKE(4, num_layers=1, num_rbf=4, cutoff=None),
    lambda: SAKENet(4, 4, 4, num_layers=1, num_rbf=4),
    lambda: EGNN(4, 4, 4, num_layers=1),
    lambda: GNN(4, 4, 4, num_layers=1),
    lambda: RadialField(4, num_layers=1),
]


def own_modules(module):
    """Modules in the place of each child, alone and within another one."""
    linear = OwnLinear(4, 4)
    nested = torch.nn.Sequential(torch.nn.Sequential(Own()), torch.nn.SiLU())
    return [Own(), linear, nested, torch.nn.LayerNorm(4)]


@pytest.mark.parametrize('build', MODULES)
def test_what_was_replaced_is_reset_in_its_own_way(build):
    for name, child in build().named_children():
        if name == 'aggr_module' or not list(child.parameters()):
            continue
        for own in own_modules(child):
            module = build()
            setattr(module, name, own)
            for parameter in module.parameters():
                torch.nn.init.constant_(parameter, 3.0)
            module.reset_parameters()
            for part in own.modules():
                if isinstance(part, Own):
                    assert part.resets > 0, name
                    assert (part.lin.weight == 7).all(), name
                elif isinstance(part, OwnLinear):
                    assert (part.weight == 7).all(), name
                elif isinstance(part, torch.nn.LayerNorm):
                    assert (part.weight == 1).all(), name


@pytest.mark.parametrize('build', MODULES)
def test_resets_are_those_of_a_new_module(build):
    torch.manual_seed(0)
    module = build()
    for parameter in module.parameters():
        torch.nn.init.constant_(parameter, 3.0)
    module.reset_parameters()
    for name, parameter in module.named_parameters():
        assert not (parameter == 3).any(), name
