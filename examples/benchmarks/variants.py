"""Changes to a model that no setting makes, for learning.py: what they cost or
bring is a question for a study. 'VectorSAKE+tanh' is VectorSAKE after the
change 'tanh'. Each is a function of the model, before it is trained.
"""

import math

import torch
from torch.nn import GELU, Linear, SiLU, Tanh

from torch_sake.nn import VectorSAKEConv
from torch_sake.nn.attention import normalize_attention
from torch_sake.ops.segments import Segments


def replace_activation(model, activation):
    """Puts another activation in the place of every SiLU."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, SiLU):
                setattr(module, name, activation())


def initialize(model, init):
    """Initializes every matrix anew."""
    for module in model.modules():
        if isinstance(module, Linear):
            init(module.weight)


def scale_output(model, scale):
    """Begins with energies of another size."""
    with torch.no_grad():
        model.mlp_out[-1].weight *= scale


def scale_steps(model, scale):
    """Begins with steps of another length of the atoms that are moved."""
    with torch.no_grad():
        for conv in model.stack.convs:
            if conv.update_pos:
                conv.lin_vel.weight *= scale


class BesselBasis(torch.nn.Module):
    """Waves sin(k pi d / D) / d with trainable frequencies k pi (DimeNet)."""
    def __init__(self, num_rbf, max_distance):
        super().__init__()
        self.num_rbf, self.max_distance = num_rbf, max_distance
        self.frequencies = torch.nn.Parameter(
            math.pi * torch.arange(1.0, num_rbf + 1))

    def forward(self, dist):
        scaled = dist / self.max_distance  # [E, 1]
        return math.sqrt(2) * torch.sin(self.frequencies * scaled) / scaled


def use_bessel_basis(model):
    for conv in model.stack.convs:
        conv.basis = BesselBasis(conv.basis.num_rbf, conv.basis.max_distance)


class AttentionConv(VectorSAKEConv):
    """VectorSAKEConv with weights of edges whose sum is at most 1, and a
    learned one of each edge (attention) or equal ones (a mean), in the place
    of its plain sums.
    """
    def __init__(self, *args, learned, **kwargs):
        super().__init__(*args, **kwargs)
        self.lin_logits = Linear(self.hidden_channels, 1) if learned else None

    def message(self, source_j, target_i, dist, direction, edge_attr,
                edge_weight, vec_target, vec_source, sources: Segments,
                targets: Segments):
        embedding, direction = super().message(
            source_j, target_i, dist, direction, edge_attr, None, vec_target,
            vec_source, sources, targets)
        logits = torch.zeros_like(embedding[:, :1])
        if self.lin_logits is not None:
            logits = self.lin_logits(embedding)
        weights = self.avg_num_neighbors * normalize_attention(
            logits, targets, edge_weight)  # [E, 1], 1 on average
        return embedding * weights, direction


def use_attention(model, learned):
    convs = model.stack.convs
    for number, conv in enumerate(convs):
        changed = AttentionConv(
            conv.in_channels, conv.out_channels, conv.hidden_channels,
            cutoff=conv.cutoff, update_pos=conv.update_pos,
            avg_num_neighbors=conv.avg_num_neighbors, vec_input=conv.vec_input,
            vec_output=conv.vec_output, vel_gate=conv.vel_gate,
            bound_vec=conv.bound_vec, learned=learned)
        for name, child in conv.named_children():  # with their own variants
            setattr(changed, name, child)
        changed.look_at_values = False
        convs[number] = changed


VARIANTS = {
    'tanh': lambda model: replace_activation(model, Tanh),
    'gelu': lambda model: replace_activation(model, GELU),
    'orthogonal': lambda model: initialize(model, torch.nn.init.orthogonal_),
    'glorot': lambda model: initialize(model, torch.nn.init.xavier_uniform_),
    'small': lambda model: scale_output(model, 0.1),
    'large': lambda model: scale_output(model, 10.0),
    'short_steps': lambda model: scale_steps(model, 0.1),
    'bessel': use_bessel_basis,
    'mean': lambda model: use_attention(model, learned=False),
    'attention': lambda model: use_attention(model, learned=True),
}
