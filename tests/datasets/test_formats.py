"""Outputs of programs that are read by ASE: what their labels are called, in
which units they are, and which sign they have. The files are as the programs
write them, but for the parts that nobody reads.
"""

import numpy as np
import pytest

from torch_sake.datasets import convert_frames, load_frames, read_frames

pytest.importorskip('ase')
ase_units = pytest.importorskip('ase.units')

KBAR = 0.1 * ase_units.GPa  # in eV/Angstrom^3

OUTCAR = """
 vasp.6.3.2 27Jun22 (build Aug 1 2022 12:00:00) complex
 POTCAR:    PAW_PBE Ni 02Aug2007
 POTCAR:    PAW_PBE Ni 02Aug2007
   ions per type =               2
   ISPIN  =      1    spin polarized calculation?
"""
STEP = """
----------------------------- Iteration    {n}(   1)  ------------------------
  in kB      -4.29429    -4.58894    -4.50342     0.50047    -0.94049     0.3
      direct lattice vectors                 reciprocal lattice vectors
     4.000000000  0.000000000  0.000000000     0.250000000  0.0  0.0
     0.000000000  5.000000000  0.000000000     0.000000000  0.2  0.0
     0.000000000  0.000000000  6.000000000     0.000000000  0.0  0.166666667

 POSITION                                       TOTAL-FORCE (eV/Angst)
 ------------------------------------------------------------------------------
      0.00000      0.00000      0.00000        0.030415     -0.114705     {n}.5
      2.00000      2.50000      3.00000       -0.030415      0.114705    -{n}.5
 ------------------------------------------------------------------------------

  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy   TOTEN  =       -10.{n} eV

  energy  without entropy=      -10.2  energy(sigma->0) =      -9.{n}
"""
VASPRUN = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <kpoints>
  <varray name="kpointlist" ><v> 0.0 0.0 0.0 </v></varray>
  <varray name="weights" ><v> 1.0 </v></varray>
 </kpoints>
 <atominfo>
  <array name="atoms" ><set>
   <rc><c>Ni</c><c> 1</c></rc><rc><c>Ni</c><c> 1</c></rc>
  </set></array>
 </atominfo>
 <structure name="initialpos" >
  <crystal><varray name="basis" >
   <v> 4.0 0.0 0.0 </v><v> 0.0 5.0 0.0 </v><v> 0.0 0.0 6.0 </v>
  </varray></crystal>
  <varray name="positions" ><v> 0.0 0.0 0.0 </v><v> 0.5 0.5 0.5 </v></varray>
 </structure>
 {steps}
</modeling>
"""
CALCULATION = """<calculation>
  <scstep><energy>
   <i name="e_fr_energy"> -10.{n} </i><i name="e_0_energy"> -9.{n} </i>
  </energy></scstep>
  <structure>
   <crystal><varray name="basis" >
    <v> 4.0 0.0 0.0 </v><v> 0.0 5.0 0.0 </v><v> 0.0 0.0 6.0 </v>
   </varray></crystal>
   <varray name="positions" ><v> 0.0 0.0 0.0 </v><v> 0.5 0.5 0.5 </v></varray>
  </structure>
  <varray name="forces" >
   <v> 0.030415 -0.114705 {n}.5 </v><v> -0.030415 0.114705 -{n}.5 </v>
  </varray>
  <varray name="stress" >
   <v> -4.29429 0.50047 0.3 </v><v> 0.50047 -4.58894 -0.94049 </v>
   <v> 0.3 -0.94049 -4.50342 </v>
  </varray>
  <energy>
   <i name="e_fr_energy"> -10.{n} </i><i name="e_0_energy"> -9.{n} </i>
  </energy>
 </calculation>"""
ORCA = """
                                 *****************
                                 * O   R   C   A *
                                 *****************

---------------------------------
CARTESIAN COORDINATES (ANGSTROEM)
---------------------------------
   H     0.0000000    0.0000000    0.0000000
   H     0.7400000    0.0000000    0.0000000

Number of atoms                             ...      2

------------------
CARTESIAN GRADIENT
------------------

   1   H   :   -0.047131485    0.021510429    0.0000000001
   2   H   :    0.047131485   -0.021510429   -0.0000000001

-------------------------   --------------------
FINAL SINGLE POINT ENERGY        -1.164229201230
-------------------------   --------------------
ORCA TERMINATED NORMALLY
"""
CP2K = """       2
 i =        {n}, time =        0.500, E =        -1.164229201{n}
  H         0.0000000000        0.0000000000        0.0000000000
  H         0.7400000000        0.0000000000        0.0000000000
"""


@pytest.mark.parametrize('name', ['OUTCAR', 'vasprun.xml'])
def test_vasp(tmp_path, name):
    path = tmp_path / name
    if name == 'OUTCAR':
        path.write_text(OUTCAR + STEP.format(n=1) + STEP.format(n=2))
    else:
        path.write_text(VASPRUN.format(steps='\n'.join(
            CALCULATION.format(n=n) for n in (1, 2))))
    # What a POSCAR beside it says of constraints has no influence on forces:
    (tmp_path / 'POSCAR').write_text(
        'x\n1\n4 0 0\n0 5 0\n0 0 6\nNi\n2\nSelective dynamics\nDirect\n'
        '0 0 0 F F F\n.5 .5 .5 T T T\n')
    with pytest.warns(UserWarning, match="differ by up to 500 meV per atom.*"
                      "--energy_key free_energy"):
        frames = read_frames(path)
    assert frames.energy.tolist() == [-9.1, -9.2]
    assert frames.units == {'energy': 'eV', 'length': 'Angstrom'}
    # VASP has the stress with the other sign, in the order xy, yz, zx.
    stress = -KBAR * np.array([[-4.29429, 0.50047, 0.3],
                               [0.50047, -4.58894, -0.94049],
                               [0.3, -0.94049, -4.50342]])
    for number, data in enumerate(frames, 1):
        assert data.z.tolist() == [28, 28]
        assert data.pos[1].tolist() == [2, 2.5, 3]
        assert data.force[0].tolist() == [0.030415, -0.114705, number + 0.5]
        assert np.abs(data.stress[0].numpy() - stress).max() < 1e-12
        assert data.cell[0].diagonal().tolist() == [4, 5, 6]
    free = convert_frames(path, tmp_path / 'm.frames',
                          energy_key='free_energy')
    assert free[1].energy.item() == -10.2
    with pytest.raises(ValueError, match="'units' must be that of the file"):
        load_frames(path, units='Hartree')


def test_orca(tmp_path):
    path = tmp_path / 'h2.out'
    path.write_text(ORCA)
    data, = read_frames(path)
    assert data.energy.item() == pytest.approx(
        -1.16422920123 * ase_units.Hartree, abs=1e-6)
    assert data.force[0].tolist() == pytest.approx([
        value * ase_units.Hartree / ase_units.Bohr
        for value in (0.047131485, -0.021510429, -1e-10)], abs=1e-9)
    assert data.pos[1].tolist() == [0.74, 0, 0]


def test_positions_of_cp2k(tmp_path):
    """Energies in Hartree, positions in Angstrom, in one file."""
    path = tmp_path / 'h2-pos-1.xyz'
    path.write_text(CP2K.format(n=0) + CP2K.format(n=1))
    with pytest.raises(ValueError, match="no 'energy' but 'E' .--energy_key E"
                       ):
        read_frames(path)
    frames = load_frames(path, energy_key='E', units='Hartree')
    assert frames.energy.tolist() == [-1.1642292010, -1.1642292011]
    assert frames.info(1) == {'i': 1, 'time': 0.5}
    frames = frames.in_units({'energy': 'eV', 'length': 'Angstrom'})
    assert frames.energy[1].item() == pytest.approx(
        -1.1642292011 * ase_units.Hartree, abs=1e-6)
    assert frames[1].pos[1].tolist() == [0.74, 0, 0]


def test_what_has_no_labels(tmp_path):
    """What ASE takes for another format by its ending is said."""
    path = tmp_path / 'some.out'
    path.write_text('nothing that is known\n')
    with pytest.raises(ValueError, match="some.out': There are no frames .it "
                       "was read as 'espresso-out'"):
        read_frames(path)
    path = tmp_path / 'a.gen'
    path.write_text('2 C\nH\n1 1 0 0 0\n2 1 0 0 0.7\n')
    frames = read_frames(path)
    assert frames[0].pos[1].tolist() == [0, 0, 0.7]
    assert not frames.known('energy').any()
