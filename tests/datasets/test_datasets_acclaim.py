import gzip
import math

import pytest
import torch

from torch_sake.datasets.motion.acclaim import read_motion, read_skeleton
from torch_sake.datasets.motion.kinematics import joint_positions


def load(mocap):
    skeleton = read_skeleton(mocap / 'raw' / '35.asf')
    return skeleton, read_motion(mocap / 'raw' / '35_01.amc', skeleton)


def about(axis, degrees):
    """The rotation about an axis, as the exponential of its generator."""
    generator = torch.zeros(3, 3).double()
    one, other = (axis + 1) % 3, (axis + 2) % 3
    generator[other, one], generator[one, other] = 1.0, -1.0
    return torch.matrix_exp(math.radians(degrees) * generator)


def test_skeleton(mocap):
    skeleton, motion = load(mocap)
    assert [bone.name for bone in skeleton.bones] == ['root', 'rknee', 'rhip',
                                                      'lknee']
    assert skeleton.parents == [-1, 2, 0, 0] and skeleton.degrees
    assert skeleton.bones[1].channels == ['rx', 'rz']
    assert skeleton.bones[1].offset == [0.0, -4.0, 0.0]
    assert skeleton.bones[2].channels == []
    assert motion.values.shape == (40, 11) and motion.first_frame == 1


def test_joint_positions(mocap):
    skeleton, motion = load(mocap)
    pos = joint_positions(skeleton, motion)
    frame = 7
    tx, ty, tz, rx, ry, rz, knee_x, knee_z, *left = motion.values[frame]
    root = about(2, rz) @ about(1, ry) @ about(0, rx)
    hip = torch.tensor([tx, ty, tz]) + root @ torch.tensor(
        [-1.5, -2.0, 0.0]).double()
    axes = about(2, 30) @ about(1, -20) @ about(0, 10)
    knee = root @ axes @ about(2, knee_z) @ about(0, knee_x) @ axes.t()
    axes = about(2, 20) @ about(0, -90)
    other = root @ axes @ about(2, left[2]) @ about(1, left[1]) @ about(
        0, left[0]) @ axes.t()
    expected = torch.stack([
        torch.tensor([tx, ty, tz]), hip + knee @ torch.tensor(
            [0.0, -4.0, 0.0]).double(), hip,
        torch.tensor([tx, ty, tz]) + other @ torch.tensor(
            [1.8, 0.0, 2.4]).double()])
    assert torch.allclose(pos[frame], expected, atol=1e-12)
    # Bones keep their lengths:
    for joint, length in ((1, 4.0), (2, 2.5), (3, 3.0)):
        bone = pos[:, joint] - pos[:, skeleton.parents[joint]]
        assert torch.allclose(bone.norm(dim=1), torch.tensor(length).double())


def test_radians_and_compression(mocap):
    skeleton, motion = load(mocap)
    text = (mocap / 'raw' / '35.asf').read_text()
    for degrees in ('10 -20 30', '-90 0 20'):
        radians = ' '.join(repr(math.radians(float(value)))
                           for value in degrees.split())
        text = text.replace(f'axis {degrees}', f'axis {radians}')
    with gzip.open(mocap / 'r.asf.gz', 'wt') as file:
        file.write(text.replace('angle deg', 'angle rad'))
    in_radians = read_skeleton(mocap / 'r.asf.gz')
    assert torch.allclose(joint_positions(in_radians, motion),
                          joint_positions(skeleton, motion), atol=1e-12)
    path = mocap / 'r.amc'
    path.write_text((mocap / 'raw' / '35_01.amc').read_text().replace(
        ':DEGREES', ':RADIANS'))
    assert not read_motion(path, skeleton).degrees


@pytest.mark.parametrize('old, new, match', [
    (':root', 'root', "must have a section ':root'"),
    ('length 4.0', 'length four', "line 16: There must be 1 finite numbers"),
    ('length 4.0', 'length inf', "line 16: There must be 1 finite numbers"),
    ('length 4.0\n', '', "line 20: There must be a 'length' in the bone"),
    ('dof rx rz', 'dof rx rx', "line 18: There must be different channels"),
    ('dof rx rz', 'dof tx', "line 18: There must be different channels"),
    ('30 XYZ', '30 ZYX', "line 17: There must be the order of rotations XYZ"),
    ('angle deg', 'angle turns', "line 5: There must be the unit"),
    ('orientation 0', 'orientation 1', "line 10: There must be a root at"),
    ('name rhip', 'name rknee', "must have bones of different names"),
    ('rhip rknee', 'rhip', r"must connect all .*\['rknee'\]"),
    ('rhip rknee', 'rhip toes', "line 40: There must be names of bones"),
    ('rhip rknee', 'rhip lknee', "line 40: There must be bones that are"),
    ('root rhip', 'rknee rhip', "line 39: There must be bones that are"),
    ('rhip rknee\n  end\n', 'rhip rknee\n', "line 40: There must be an end"),
    ('XYZ\n  end', 'XYZ\n  begin', "line 28: There must be an end"),
])
def test_wrong_skeletons(mocap, old, new, match):
    path = mocap / 'raw' / '35.asf'
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match='35.asf.*' + match):
        read_skeleton(path)


@pytest.mark.parametrize('size', [100, 400, 600, -20])
def test_truncated_skeletons(mocap, size):
    path = mocap / 'raw' / '35.asf'
    path.write_text(path.read_text()[:size])
    with pytest.raises(ValueError, match="35.asf'(, line|.* must)"):
        read_skeleton(path)


@pytest.mark.parametrize('old, new, match', [
    ('\n2\nroot', '\n2\nspine', "line 9: There must be one of the joints"),
    ('rknee', 'rankle', "line 6: There must be one of the joints"),
    ('\n2\n', '\n3\n', "line 8: There must be the number of the next frame"),
    ('\n2\n', '\ntwo\n', "line 8: There must be the number of the next"),
    ('rknee', 'rknee 0', "line 6: There must be 2 finite numbers"),
    ('rknee -19.0', 'rknee nan', "line 6: There must be 2 finite numbers"),
])
def test_wrong_motions(mocap, old, new, match):
    skeleton, _ = load(mocap)
    path = mocap / 'raw' / '35_01.amc'
    text = path.read_text().replace('rknee 2.0', 'rknee -19.0')
    assert old in text, text[:400]
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match="35_01.amc', " + match):
        read_motion(path, skeleton)


def test_missing_joints_and_truncated_motions(mocap):
    skeleton, _ = load(mocap)
    path = mocap / 'raw' / '35_01.amc'
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(''.join(lines[:6] + lines[7:]))  # a frame lacks a joint
    with pytest.raises(ValueError, match=r"line 7: .* the joints \['lknee'\]"):
        read_motion(path, skeleton)
    path.write_text(''.join(lines[:-1]))
    with pytest.raises(ValueError, match=r"line 162: .*\['lknee'\].*the end"):
        read_motion(path, skeleton)
    path.write_text(''.join(lines[:-1]) + lines[-1][:8])
    with pytest.raises(ValueError, match="line 163: There must be 3 finite"):
        read_motion(path, skeleton)
    path.write_text(''.join(lines[:3]))
    with pytest.raises(ValueError, match="There must be a frame"):
        read_motion(path, skeleton)
    with pytest.raises(ValueError, match="There is no file"):
        read_motion(mocap / 'raw' / '35_09.amc', skeleton)
    packed = mocap / 'raw' / '35_02.amc.gz'
    packed.write_bytes(packed.read_bytes()[:-30])
    with pytest.raises(ValueError, match="not a complete text file"):
        read_motion(packed, skeleton)
