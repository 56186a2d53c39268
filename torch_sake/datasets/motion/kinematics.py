import torch
from torch import Tensor

from torch_sake.datasets.motion.acclaim import AXES, Motion, Skeleton


def joint_positions(skeleton: Skeleton, motion: Motion) -> Tensor:
    r"""Returns where the joints of a moving skeleton are, by forward
    kinematics

    .. math::
        \mathbf{R}_k = \mathbf{R}_{p(k)} \mathbf{C}_k \mathbf{M}_k
        \mathbf{C}_k^{-1}, \quad
        \vec{r}_k = \vec{r}_{p(k)} + \mathbf{R}_k \vec{b}_k

    with the parent :math:`p(k)` of a joint, the bone :math:`\vec{b}_k` in the
    rest pose, the rotation :math:`\mathbf{C}_k` of its axes and that of its
    motion, :math:`\mathbf{M}_k`. The root is at its translation.

    Shapes:
        - **output:** positions :math:`(T, J, 3)`, in double precision and in
          the unit of the files
    """
    values = torch.from_numpy(motion.values)
    columns, begin = [], 0
    for bone in skeleton.bones:
        columns.append(dict(zip(bone.channels, values[:, begin:].unbind(1))))
        begin += len(bone.channels)

    zero = values.new_zeros(len(values))
    turned, pos = [None] * len(columns), [None] * len(columns)
    for index in _parents_first(skeleton.parents):
        bone, channels = skeleton.bones[index], columns[index]
        fixed = values.new_tensor(bone.axis)
        axes = rotation(fixed.deg2rad() if skeleton.degrees else fixed)
        angles = torch.stack([channels.get('r' + axis, zero)
                              for axis in AXES], dim=-1)
        moved = rotation(angles.deg2rad() if motion.degrees else angles)
        moved = axes @ moved @ axes.t()  # [T, 3, 3]
        parent = skeleton.parents[index]
        if parent < 0:
            turned[index] = moved
            pos[index] = torch.stack([channels.get('t' + axis, zero)
                                      for axis in AXES], dim=-1)
        else:
            turned[index] = turned[parent] @ moved
            pos[index] = pos[parent] + turned[index] @ values.new_tensor(
                bone.offset)
    return torch.stack(pos, dim=1)


def rotation(angles: Tensor) -> Tensor:
    r"""Returns rotations about the axes x, y and z, applied in this order.

    Shapes:
        - **input:** angles about x, y and z in radians :math:`(*, 3)`
        - **output:** matrices :math:`(*, 3, 3)`
    """
    out = torch.eye(3, dtype=angles.dtype)
    for axis in range(3):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        cos, sin = angles[..., axis].cos(), angles[..., axis].sin()
        matrix = torch.zeros(*angles.shape, 3, dtype=angles.dtype)
        matrix[..., axis, axis] = 1.0
        matrix[..., one, one] = matrix[..., other, other] = cos
        matrix[..., other, one], matrix[..., one, other] = sin, -sin
        out = matrix @ out
    return out


def _parents_first(parents):
    r"""Returns the joints in an order in which parents come first."""
    depth = []
    for joint in range(len(parents)):
        depth.append(0)
        while parents[joint] >= 0:
            joint, depth[-1] = parents[joint], depth[-1] + 1
    return sorted(range(len(parents)), key=depth.__getitem__)
