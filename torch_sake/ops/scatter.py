r"""Sums over the edges of each node and the products that are their
derivatives. All of them are differentiable as often as one likes, which PyG's
segment operators are not.
"""

import warnings

import torch
from torch import Tensor
from torch.autograd import Function

from torch_sake.ops.plain import plain_operators_needed
from torch_sake.ops.segments import Segments

with warnings.catch_warnings():  # once and for all: that they are in beta
    warnings.simplefilter('ignore')
    torch.eye(1).to_sparse_csr()


def sum_edges(values: Tensor, segments: Segments) -> Tensor:
    r"""Returns :math:`\sum_j v_{ij}`.

    Shapes:
        - **input:** values :math:`(E, *)`
        - **output:** sums :math:`(N, *)`
    """
    if not _are_quick(segments, values):
        out = values.new_zeros((segments.num_nodes, ) + values.shape[1:])
        return out.index_add(0, segments.index, values)
    return _Sum.apply(values, segments)


def sum_outer_products(coefficients: Tensor, vectors: Tensor,
                       segments: Segments) -> Tensor:
    r"""Returns :math:`\sum_j \vec{u}_{ij} \otimes c_{ij}`, without a tensor of
    size :math:`(E, D, C)`.

    Shapes:
        - **input:** coefficients :math:`(E, C)`, vectors :math:`(E, D)`
        - **output:** sums :math:`(N, D, C)`
    """
    if not _are_quick(segments, coefficients, vectors):
        return torch.stack([
            sum_edges(coefficients * component, segments)
            for component in vectors.split(1, dim=1)
        ], dim=1)
    return _SumOuterProducts.apply(coefficients, vectors, segments)


def project_edges(vec: Tensor, vectors: Tensor, segments: Segments) -> Tensor:
    r"""Returns :math:`\vec{V}_i \cdot \vec{u}_{ij}` for each edge, without a
    tensor of size :math:`(E, D, C)`.

    Shapes:
        - **input:** vectors of the nodes :math:`(N, D, C)`, of the edges
          :math:`(E, D)`
        - **output:** products :math:`(E, C)`
    """
    if not _are_quick(segments, vec, vectors):
        return sum(
            component * values.index_select(0, segments.index)
            for component, values in zip(vectors.split(1, dim=1),
                                         vec.unbind(dim=1)))
    return _ProjectEdges.apply(vec, vectors, segments)


def contract_edges(vec: Tensor, coefficients: Tensor,
                   segments: Segments) -> Tensor:
    r"""Returns :math:`\vec{V}_i \cdot c_{ij}`, summed over the channels of
    both, for each edge, without a tensor of size :math:`(E, D, C)`.

    Shapes:
        - **input:** vectors of the nodes :math:`(N, D, C)`, coefficients
          :math:`(E, C)`
        - **output:** vectors :math:`(E, D)`
    """
    if not _are_quick(segments, vec, coefficients):
        return torch.stack([
            (values.index_select(0, segments.index) * coefficients).sum(dim=1)
            for values in vec.unbind(dim=1)
        ], dim=1)
    return _ContractEdges.apply(vec, coefficients, segments)


def sum_gated_vectors(gates: Tensor, vec: Tensor, sources: Segments,
                      targets: Segments) -> Tensor:
    r"""Returns :math:`\sum_j \mathbf{g}_{ij} \odot \vec{V}_j`.

    Shapes:
        - **input:** gates :math:`(E, C)`, vectors of the nodes
          :math:`(N, D, C)`
        - **output:** sums :math:`(N, D, C)`
    """
    if not _are_quick(targets, gates, vec):
        return sum_edges(
            gates.unsqueeze(1) * vec.index_select(0, sources.index), targets)
    return _SumGatedVectors.apply(gates, vec, sources, targets)


def multiply_vectors(vec: Tensor, other: Tensor, sources: Segments,
                     targets: Segments) -> Tensor:
    r"""Returns :math:`\sum_{\alpha} V_{j \alpha} W_{i \alpha}` for each edge
    and channel.

    Shapes:
        - **input:** vectors of the nodes :math:`(N, D, C)`, twice
        - **output:** products :math:`(E, C)`
    """
    if not _are_quick(targets, vec, other):
        return _multiply_vectors(vec, other, sources, targets)
    return _MultiplyVectors.apply(vec, other, sources, targets)


def _multiply_vectors(vec: Tensor, other: Tensor, sources: Segments,
                      targets: Segments) -> Tensor:
    return sum(
        a.index_select(0, sources.index) * b.index_select(0, targets.index)
        for a, b in zip(vec.unbind(dim=1), other.unbind(dim=1)))


def _are_quick(segments: Segments, *values: Tensor) -> bool:
    r"""Returns whether there is a quick way for values of these types."""
    dtype = values[0].dtype
    return (segments.order is not None
            and not any(map(plain_operators_needed, values))
            and dtype in (torch.float, torch.double)
            and all(value.dtype == dtype for value in values))


def _bag(indices: Tensor, values: Tensor, offsets: Tensor,
         weights: Tensor | None = None) -> Tensor:
    r"""Returns weighted sums of the rows :obj:`values[indices]`."""
    return torch.embedding_bag(values.contiguous(), indices, offsets,
                               per_sample_weights=weights)[0]


class _Sum(Function):
    @staticmethod
    def forward(ctx, values: Tensor, segments: Segments) -> Tensor:
        ctx.index = segments.index
        rest = values.shape[1:]
        out = _bag(segments.order, values.reshape(len(values), rest.numel()),
                   segments.offsets)
        return out.view(-1, *rest)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return grad.index_select(0, ctx.index), None


# The three are the derivatives of one form, sum_ij u_ij . V_i c_ij, with
# respect to each of its factors: those of V, of c and of u.


class _SumOuterProducts(Function):
    @staticmethod
    def forward(ctx, coefficients: Tensor, vectors: Tensor,
                segments: Segments) -> Tensor:
        ctx.save_for_backward(coefficients, vectors)
        ctx.segments = segments
        return torch.stack([
            _bag(segments.order, coefficients, segments.offsets, component)
            for component in vectors.index_select(
                0, segments.order).t().contiguous()
        ], dim=1)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        coefficients, vectors = ctx.saved_tensors
        return (project_edges(grad, vectors, ctx.segments)
                if ctx.needs_input_grad[0] else None,
                contract_edges(grad, coefficients, ctx.segments)
                if ctx.needs_input_grad[1] else None, None)


class _ProjectEdges(Function):
    @staticmethod
    def forward(ctx, vec: Tensor, vectors: Tensor,
                segments: Segments) -> Tensor:
        ctx.save_for_backward(vec, vectors)
        ctx.segments = segments
        rows = _rows(vectors, segments)
        return _bag(rows, vec.flatten(end_dim=1),
                    torch.arange(0, rows.numel(), vectors.size(1)),
                    vectors.flatten())

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        vec, vectors = ctx.saved_tensors
        return (sum_outer_products(grad, vectors, ctx.segments)
                if ctx.needs_input_grad[0] else None,
                contract_edges(vec, grad, ctx.segments)
                if ctx.needs_input_grad[1] else None, None)


class _ContractEdges(Function):
    @staticmethod
    def forward(ctx, vec: Tensor, coefficients: Tensor,
                segments: Segments) -> Tensor:
        ctx.save_for_backward(vec, coefficients)
        ctx.segments = segments
        num_edges, dim = coefficients.size(0), vec.size(1)
        # The products of rows of two matrices at some places:
        places = torch.sparse_csr_tensor(
            torch.arange(0, num_edges * dim + 1, dim),
            _rows(vec, segments), coefficients.new_zeros(num_edges * dim),
            (num_edges, segments.num_nodes * dim), check_invariants=False)
        products = torch.sparse.sampled_addmm(
            places, coefficients, vec.flatten(end_dim=1).t())
        return products.values().view(num_edges, dim)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        vec, coefficients = ctx.saved_tensors
        return (sum_outer_products(coefficients, grad, ctx.segments)
                if ctx.needs_input_grad[0] else None,
                project_edges(vec, grad, ctx.segments)
                if ctx.needs_input_grad[1] else None, None)


# And the two of one form, sum_ij g_ij . (V_j * W_i):


class _SumGatedVectors(Function):
    @staticmethod
    def forward(ctx, gates: Tensor, vec: Tensor, sources: Segments,
                targets: Segments) -> Tensor:
        ctx.save_for_backward(gates, vec)
        ctx.segments = sources, targets
        return torch.stack([
            _bag(targets.order,
                 gates * component.index_select(0, sources.index),
                 targets.offsets) for component in vec.unbind(dim=1)
        ], dim=1)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        gates, vec = ctx.saved_tensors
        sources, targets = ctx.segments
        return (multiply_vectors(vec, grad, sources, targets)
                if ctx.needs_input_grad[0] else None,
                sum_gated_vectors(gates, grad, targets, sources)
                if ctx.needs_input_grad[1] else None, None, None)


class _MultiplyVectors(Function):
    @staticmethod
    def forward(ctx, vec: Tensor, other: Tensor, sources: Segments,
                targets: Segments) -> Tensor:
        ctx.save_for_backward(vec, other)
        ctx.segments = sources, targets
        return _multiply_vectors(vec, other, sources, targets)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        vec, other = ctx.saved_tensors
        sources, targets = ctx.segments
        return (sum_gated_vectors(grad, other, targets, sources)
                if ctx.needs_input_grad[0] else None,
                sum_gated_vectors(grad, vec, sources, targets)
                if ctx.needs_input_grad[1] else None, None, None)


def _rows(vectors: Tensor, segments: Segments) -> Tensor:
    r"""Returns the rows of :math:`(N \cdot D, C)` that each edge sees."""
    dim = vectors.size(1)
    return (segments.index.unsqueeze(1) * dim +
            torch.arange(dim)).flatten()  # [E * D]
