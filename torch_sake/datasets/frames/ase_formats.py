r"""The formats of files of structures that may come from anywhere."""

# Those of ASE whose readers execute nothing and open no file that the file
# names. The others: 'octopus-in', 'onetep-in' and 'acemolecule-input' name
# files, 'castep-cell' starts the program 'castep', 'gpw' is handed to GPAW,
# 'abinit-gsr' and 'netcdftrajectory' may be HDF5, which has links to files,
# 'bundletrajectory' is a folder, 'mysql' and 'postgresql' are servers. What
# other packages add to ASE is not known.
READABLE = frozenset('''
    abinit-in abinit-out acemolecule-out aims aims-output castep-castep
    castep-geom castep-md castep-phonon cfg cif cjson cmdft cp2k-dcd
    cp2k-restart crystal cube dacapo-text db dftb dlp-history dlp4 dmol-arc
    dmol-car dmol-incoor elk eon espresso-in espresso-out extxyz gamess-us-out
    gamess-us-punch gaussian-in gaussian-out gen gpaw-out gpumd gromacs gromos
    json jsv lammps-data lammps-dump-binary lammps-dump-text magres mol mustem
    nomad-json nwchem-in nwchem-out onetep-out orca-output prismatic
    proteindatabank qbox res rmc6f runnerdata sdf siesta-xv struct struct_out
    sys traj turbomole turbomole-gradient v-sim vasp vasp-out vasp-xdatcar
    vasp-xml wout xsd xsf xtd xyz'''.split())


def check_format(name: str) -> str:
    r"""Returns ASE's name of a format, or raises an error if its reader might
    execute something or open other files.
    """
    if name not in READABLE:
        raise ValueError(f"files of the format {name!r} may name other files "
                         f"or programs: convert it to extended XYZ")
    return name
