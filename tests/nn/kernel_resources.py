r"""Prints what the compiled kernels of the spatial attention take from a GPU,
without one: a line for each, with the bytes of shared memory, the registers of
a thread and the bytes that did not fit into these. Arguments are the target,
the precision of products, heads, channels, combinations and dimensions."""

import os.path as osp
import re
import subprocess
import sys
import tempfile
import warnings

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from torch_sake.ops import spatial_attention_operators as operators

CUOBJDUMP = osp.join(osp.dirname(triton.__file__), 'backends', 'nvidia', 'bin',
                     'cuobjdump')
TYPES = {torch.float: '*fp32', torch.long: '*i64'}


class Compiler:
    r"""In the place of a kernel, compiles it for what it is launched with."""
    def __init__(self, kernel, arch):
        self.kernel, self.arch = kernel, arch

    def __getitem__(self, grid):
        return self.launch

    def launch(self, *args, num_warps, **constants):
        signature = dict.fromkeys(constants, 'constexpr')
        hints = {}  # as Triton itself gives them
        for place, (name, value) in enumerate(
                zip(self.kernel.arg_names, args)):
            if value is None or isinstance(value, int) and value == 1:
                signature[name], constants[name] = 'constexpr', value
                continue
            is_tensor = isinstance(value, torch.Tensor)
            signature[name] = TYPES[value.dtype] if is_tensor else 'i32'
            if is_tensor or value % 16 == 0:
                hints[(place, )] = [['tt.divisibility', 16]]
        signature = {name: signature[name] for name in self.kernel.arg_names}
        kernel = triton.compile(
            ASTSource(self.kernel, signature, constants, hints),
            target=GPUTarget('cuda', self.arch, 32),
            options=dict(num_warps=num_warps))
        with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
            file.write(kernel.asm['cubin'])
            file.flush()
            usage = subprocess.run([CUOBJDUMP, '-res-usage', file.name],
                                   capture_output=True, text=True).stdout
        registers, stack = re.search(r'REG:(\d+) STACK:(\d+)', usage).groups()
        print(self.kernel.__name__, self.arch, kernel.metadata.shared,
              registers, stack, flush=True)


def main(arch, precision, heads, channels, num_coefficients, dim):
    torch.set_float32_matmul_precision(precision)
    for name in ('node_kernel', 'edge_kernel', 'weight_kernel'):
        setattr(operators, name, Compiler(getattr(operators, name), arch))
    index = torch.zeros(4, dtype=torch.long)
    edge = [torch.zeros(4, size) for size in (channels, heads, dim)]
    weight = torch.zeros(num_coefficients, heads * channels)
    inputs = [*edge, weight, index, index, torch.zeros(1, dtype=torch.long)]
    grad = torch.zeros(1, dim, num_coefficients)
    # The derivatives of energies and those of forces:
    for direction in ([None] * 4, [*edge, None]):
        operators.node_sums(*inputs, *direction)
        operators.edge_gradients(grad, *inputs, *direction)
        operators.weight_gradient(grad, *inputs, *direction)


if __name__ == '__main__':
    warnings.simplefilter('ignore')
    main(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
