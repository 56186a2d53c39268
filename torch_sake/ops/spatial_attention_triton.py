r"""Kernels in Triton of the sums of :mod:`torch_sake.nn.spatial_attention`.

With the message :math:`\mathbf{m} = \mathbf{w} \otimes \mathbf{e}` of an edge,
its products :math:`\mathbf{z} = \mathbf{W} \mathbf{m}` and a tensor
:math:`\vec{G}_i` for each node, there are three of them, of

.. math::
    \Phi = \sum_i \sum_j (\vec{G}_i \cdot \vec{u}_{ij}) \cdot
    \tanh \mathbf{z}_{ij}

its derivatives with respect to :math:`\vec{G}` (the sums themselves), to
:math:`\mathbf{e}, \mathbf{w}, \vec{u}` of each edge, and to
:math:`\mathbf{W}`.
Given a direction (all arguments that begin with :obj:`d_`), they are those of
the derivative of :math:`\Phi` along it: all second derivatives. A tensor of
all edges and combinations is never written. Whatever a program sums it sums
alone, in a fixed order.
"""

import triton
import triton.language as tl


@triton.jit
def _add_product(sums, left, right, PRECISION: tl.constexpr):
    # Before 3.8, Triton takes sums for ones in single precision if not told.
    return tl.dot(left, right, sums, input_precision=PRECISION,
                  out_dtype=sums.dtype)


@triton.jit
def _message(embedding, attention, edge, valid, k, F: tl.constexpr,
             H: tl.constexpr):
    inside = valid[:, None] & (k < F * H)[None, :]
    return tl.load(
        embedding + edge[:, None] * F + (k % F)[None, :], inside, 0) * tl.load(
            attention + edge[:, None] * H + (k // F)[None, :], inside, 0)


@triton.jit
def _products(embedding, attention, weight, d_embedding, d_attention, d_weight,
              edge, valid, c, C, F: tl.constexpr, H: tl.constexpr,
              BLOCK_E: tl.constexpr, BLOCK_C: tl.constexpr,
              BLOCK_K: tl.constexpr, PRECISION: tl.constexpr):
    r"""Returns z and its change dz, for some edges and combinations."""
    z = tl.zeros([BLOCK_E, BLOCK_C], dtype=weight.dtype.element_ty)
    dz = tl.zeros([BLOCK_E, BLOCK_C], dtype=weight.dtype.element_ty)
    for first in range(0, F * H, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        place = c[None, :] * (F * H) + k[:, None]
        inside = (c < C)[None, :] & (k < F * H)[:, None]
        matrix = tl.load(weight + place, inside, 0)
        message = _message(embedding, attention, edge, valid, k, F, H)
        z = _add_product(z, message, matrix, PRECISION)
        if d_embedding is not None:
            change = (_message(d_embedding, attention, edge, valid, k, F, H) +
                      _message(embedding, d_attention, edge, valid, k, F, H))
            dz = _add_product(dz, change, matrix, PRECISION)
        if d_weight is not None:
            d_matrix = tl.load(d_weight + place, inside, 0)
            dz = _add_product(dz, message, d_matrix, PRECISION)
    return z, dz


@triton.jit
def _tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def _derivatives(grad, direction, d_direction, c_value, dz, change, edge, node,
                 valid, c, C, D, BLOCK_E: tl.constexpr, BLOCK_C: tl.constexpr,
                 BLOCK_D: tl.constexpr, TANGENT: tl.constexpr):
    r"""Returns the derivatives with respect to z, to dz (if there is one) and,
    added to the change, to the vectors of the edges."""
    slope = 1 - c_value * c_value
    vectors = change
    product = tl.zeros([BLOCK_E, BLOCK_C], dtype=grad.dtype.element_ty)
    d_product = tl.zeros([BLOCK_E, BLOCK_C], dtype=grad.dtype.element_ty)
    dims = tl.arange(0, BLOCK_D)
    for d in range(D):
        g = tl.load(grad + (node[:, None] * D + d) * C + c[None, :],
                    valid[:, None] & (c < C)[None, :], 0)
        product += g * tl.load(direction + edge * D + d, valid, 0)[:, None]
        if d_direction is not None:
            d_product += g * tl.load(d_direction + edge * D + d, valid,
                                     0)[:, None]
        if TANGENT:
            along = tl.sum(g * slope * dz, axis=1)
        else:
            along = tl.sum(g * c_value, axis=1)
        vectors += tl.where(dims[None, :] == d, along[:, None], 0)
    by_change = product * slope
    by_z = by_change
    if TANGENT:
        by_z = slope * (d_product - 2 * c_value * product * dz)
    return by_z, by_change, vectors


@triton.jit
def node_kernel(embedding, attention, direction, weight, d_embedding,
                d_attention, d_direction, d_weight, order, offsets, out,
                num_nodes, num_edges, C, D, F: tl.constexpr, H: tl.constexpr,
                ROWS: tl.constexpr, BLOCK_E: tl.constexpr,
                BLOCK_C: tl.constexpr, BLOCK_D: tl.constexpr,
                BLOCK_K: tl.constexpr, PRECISION: tl.constexpr):
    r"""The sums of some nodes and combinations. The rows are the dimensions of
    one node after the other, whose edges follow one another."""
    NODES: tl.constexpr = ROWS // BLOCK_D
    TANGENT: tl.constexpr = (d_embedding is not None) or (d_weight is not None)
    first_node = tl.program_id(0) * NODES
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    rows = tl.arange(0, ROWS)
    node, dim = first_node + rows // BLOCK_D, rows % BLOCK_D
    row_begin = tl.load(offsets + node, node < num_nodes, num_edges)
    row_end = tl.load(offsets + node + 1, node + 1 < num_nodes, num_edges)
    row_end = tl.where(dim < D, row_end, 0)  # no edges for what is padding
    begin = tl.load(offsets + first_node)
    end = tl.load(offsets + first_node + NODES, first_node + NODES < num_nodes,
                  num_edges)
    sums = tl.zeros([ROWS, BLOCK_C], dtype=out.dtype.element_ty)
    for first in range(begin, end, BLOCK_E):
        position = first + tl.arange(0, BLOCK_E)
        valid = position < end
        edge = tl.load(order + position, valid, 0)
        z, dz = _products(embedding, attention, weight, d_embedding,
                          d_attention, d_weight, edge, valid, c, C, F, H,
                          BLOCK_E, BLOCK_C, BLOCK_K, PRECISION)
        c_value = _tanh(z)
        mine = ((position[None, :] >= row_begin[:, None]) &
                (position[None, :] < row_end[:, None]))
        place = edge[None, :] * D + dim[:, None]
        vectors = tl.load(direction + place, mine, 0)
        # Vectors count in full, as they do outside of products of matrices.
        if TANGENT:
            sums = _add_product(sums, vectors, (1 - c_value * c_value) * dz,
                                'ieee')
            if d_direction is not None:
                vectors = tl.load(d_direction + place, mine, 0)
                sums = _add_product(sums, vectors, c_value, 'ieee')
        else:
            sums = _add_product(sums, vectors, c_value, 'ieee')
    tl.store(out + (node * D + dim)[:, None] * C + c[None, :], sums,
             ((node < num_nodes) & (dim < D))[:, None] & (c < C)[None, :])


@triton.jit
def edge_kernel(grad, embedding, attention, direction, weight, d_embedding,
                d_attention, d_direction, d_weight, index, order,
                out_embedding, out_attention, out_direction, num_edges, C, D,
                F: tl.constexpr, H: tl.constexpr, BLOCK_E: tl.constexpr,
                BLOCK_C: tl.constexpr, BLOCK_D: tl.constexpr,
                BLOCK_F: tl.constexpr, BLOCK_H: tl.constexpr,
                BLOCK_K: tl.constexpr, PRECISION: tl.constexpr):
    r"""The derivatives of some edges."""
    TANGENT: tl.constexpr = (d_embedding is not None) or (d_weight is not None)
    position = tl.program_id(0) * BLOCK_E + tl.arange(0, BLOCK_E)
    valid = position < num_edges
    edge = tl.load(order + position, valid, 0)
    node = tl.load(index + edge, valid, 0)
    f, heads = tl.arange(0, BLOCK_F), tl.arange(0, BLOCK_H)
    dims = tl.arange(0, BLOCK_D)
    inside = valid[:, None] & (f < F)[None, :]
    place = edge[:, None] * F + f[None, :]
    e = tl.load(embedding + place, inside, 0)
    if d_embedding is not None:
        de = tl.load(d_embedding + place, inside, 0)
    dtype: tl.constexpr = weight.dtype.element_ty
    by_embedding = tl.zeros([BLOCK_E, BLOCK_F], dtype=dtype)
    by_attention = tl.zeros([BLOCK_E, BLOCK_H], dtype=dtype)
    by_direction = tl.zeros([BLOCK_E, BLOCK_D], dtype=dtype)
    for first in range(0, C, BLOCK_C):
        c = first + tl.arange(0, BLOCK_C)
        z, dz = _products(embedding, attention, weight, d_embedding,
                          d_attention, d_weight, edge, valid, c, C, F, H,
                          BLOCK_E, BLOCK_C, BLOCK_K, PRECISION)
        by_z, by_change, by_direction = _derivatives(
            grad, direction, d_direction, _tanh(z), dz, by_direction, edge,
            node, valid, c, C, D, BLOCK_E, BLOCK_C, BLOCK_D, TANGENT)
        for h in range(H):
            w = tl.load(attention + edge * H + h, valid, 0)
            at = c[:, None] * (F * H) + h * F + f[None, :]
            there = (c < C)[:, None] & (f < F)[None, :]
            matrix = tl.load(weight + at, there, 0)
            by_message = tl.dot(by_z, matrix, input_precision=PRECISION,
                                out_dtype=dtype)
            if d_weight is not None:
                by_message = _add_product(by_message, by_change,
                                          tl.load(d_weight + at, there, 0),
                                          PRECISION)
            by_embedding += by_message * w[:, None]
            along = tl.sum(by_message * e, axis=1)
            if d_embedding is not None:
                by_message = tl.dot(by_change, matrix,
                                    input_precision=PRECISION, out_dtype=dtype)
                dw = tl.load(d_attention + edge * H + h, valid, 0)
                by_embedding += by_message * dw[:, None]
                along += tl.sum(by_message * de, axis=1)
            by_attention += tl.where(heads[None, :] == h, along[:, None], 0)
    tl.store(out_embedding + place, by_embedding, inside)
    tl.store(out_attention + edge[:, None] * H + heads[None, :], by_attention,
             valid[:, None] & (heads < H)[None, :])
    tl.store(out_direction + edge[:, None] * D + dims[None, :], by_direction,
             valid[:, None] & (dims < D)[None, :])


@triton.jit
def weight_kernel(grad, embedding, attention, direction, weight, d_embedding,
                  d_attention, d_direction, d_weight, index, order, out,
                  num_edges, edges_per_program, C, D, F: tl.constexpr,
                  H: tl.constexpr, BLOCK_E: tl.constexpr,
                  BLOCK_C: tl.constexpr, BLOCK_D: tl.constexpr,
                  BLOCK_K: tl.constexpr, BLOCK_M: tl.constexpr,
                  PRECISION: tl.constexpr):
    r"""The part of the derivatives of some weights that comes from some of the
    edges."""
    TANGENT: tl.constexpr = (d_embedding is not None) or (d_weight is not None)
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    k = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    part = tl.program_id(2)
    begin = part * edges_per_program
    end = tl.minimum(begin + edges_per_program, num_edges)
    sums = tl.zeros([BLOCK_C, BLOCK_M], dtype=out.dtype.element_ty)
    unused = tl.zeros([BLOCK_E, BLOCK_D], dtype=out.dtype.element_ty)
    for first in range(begin, end, BLOCK_E):
        position = first + tl.arange(0, BLOCK_E)
        valid = position < end
        edge = tl.load(order + position, valid, 0)
        node = tl.load(index + edge, valid, 0)
        z, dz = _products(embedding, attention, weight, d_embedding,
                          d_attention, d_weight, edge, valid, c, C, F, H,
                          BLOCK_E, BLOCK_C, BLOCK_K, PRECISION)
        by_z, by_change, _ = _derivatives(
            grad, direction, d_direction, _tanh(z), dz, unused, edge, node,
            valid, c, C, D, BLOCK_E, BLOCK_C, BLOCK_D, TANGENT)
        sums = _add_product(
            sums, tl.trans(by_z),
            _message(embedding, attention, edge, valid, k, F, H), PRECISION)
        if d_embedding is not None:
            change = (_message(d_embedding, attention, edge, valid, k, F, H) +
                      _message(embedding, d_attention, edge, valid, k, F, H))
            sums = _add_product(sums, tl.trans(by_change), change, PRECISION)
    tl.store(out + part * C * F * H + c[:, None] * (F * H) + k[None, :], sums,
             (c < C)[:, None] & (k < F * H)[None, :])
