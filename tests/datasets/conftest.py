import gzip
import os
from pathlib import Path

import pytest


@pytest.fixture
def shared_data():
    r"""Folder of real data that is not part of the repository."""
    default = Path(__file__).resolve().parents[2] / '..' / 'shared'
    path = Path(os.environ.get('TORCH_SAKE_SHARED', default)) / 'data'
    if not path.is_dir():
        pytest.skip(f'There are no data in {path}')
    return path


ASF = """# A pelvis with two legs, of which one is listed before its hip.
:version 1.10
:units
  mass 1.0
  angle deg
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name rknee
     direction 0 -1 0
     length 4.0
     axis 10 -20 30 XYZ
    dof rx rz
    limits (-160.0 20.0)
           (-70.0 70.0)
  end
  begin
     id 2
     name rhip
     direction -0.6 -0.8 0
     length 2.5
     axis 0 0 0 XYZ
  end
  begin
     id 3
     name lknee
     direction 0.6 0 0.8
     length 3.0
     axis -90 0 20 XYZ
    dof rx ry rz
  end
:hierarchy
  begin
    root rhip lknee
    rhip rknee
  end
"""


def amc(num_frames, first_frame=1):
    """A motion of the skeleton, line by line."""
    lines = ['#!OML:ASF', ':FULLY-SPECIFIED', ':DEGREES']
    for frame in range(num_frames):
        values = [((17 * frame + 31 * channel) % 41) - 20.0
                  for channel in range(11)]
        lines += [str(first_frame + frame),
                  'root ' + ' '.join(map(str, values[:6])),
                  'rknee ' + ' '.join(map(str, values[6:8])),
                  'lknee ' + ' '.join(map(str, values[8:]))]
    return '\n'.join(lines) + '\n'


@pytest.fixture
def mocap(tmp_path):
    """A folder with a skeleton and two trials of 40 frames, one of them
    compressed and cut at its beginning."""
    raw = tmp_path / 'raw'
    raw.mkdir()
    (raw / '35.asf').write_text(ASF)
    (raw / '35_01.amc').write_text(amc(40))
    with gzip.open(raw / '35_02.amc.gz', 'wt') as file:
        file.write(amc(40, first_frame=11))
    return tmp_path
