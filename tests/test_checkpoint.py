"""What a checkpoint must hold, and damage to it."""

import json
import math
import os
import time

import pytest
import torch
from safetensors.torch import save, save_file

from torch_sake import (
    Potential,
    VectorSAKE,
    ZBLRepulsion,
    load_potential,
    load_property,
)
from torch_sake.checkpoint import load_checkpoint, save_checkpoint
from torch_sake.forecasting import Forecaster, load_forecaster
from torch_sake.potentials.load import load_checkpoints
from torch_sake.utils.inputs import BEST

ARGUMENTS = {'hidden_channels': 4, 'num_layers': 2, 'num_rbf': 4,
             'cutoff': 3.0, 'avg_num_neighbors': 4.0}
PRIOR = {'cutoff': 3.0, 'length': 'Angstrom', 'energy': 'eV'}
UNITS = {'length': 'Angstrom', 'energy': 'eV'}
CONFIG = {'data': 'water.xyz', 'root': None, 'num_frames': None,
          'data_seed': 0}
Z, POS = torch.tensor([8, 1, 1]), torch.eye(3)


def parts():
    """The tensors and the description of a checkpoint."""
    torch.manual_seed(0)
    potential = Potential(VectorSAKE(**ARGUMENTS), 2.0, torch.rand(100),
                          ZBLRepulsion(**PRIOR))
    tensors = {f'potential.{key}': value
               for key, value in potential.state_dict().items()}
    return tensors, {
        'kind': 'potential', 'config': dict(CONFIG), 'prior': dict(PRIOR),
        'model': {'name': 'VectorSAKE', 'arguments': dict(ARGUMENTS)},
        'energy_scale': 2.0, 'elements': [1, 8], 'units': dict(UNITS)}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / 'm.safetensors'
    save_checkpoint(path, *parts())
    return path


def assert_refused(path, match, load=load_potential):
    with pytest.raises(ValueError, match=match) as caught:
        load(path)
    message = str(caught.value)
    assert '\n' not in message and str(path) in message, message


@pytest.mark.slow
def test_flipped_bits(path):
    """One in each byte of the header, some in the tensors."""
    content, expected = path.read_bytes(), load_checkpoint(path)
    end = 8 + int.from_bytes(content[:8], 'little')
    num_tensors = 0
    for place in (*range(end), *range(end, len(content), 53)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 7
        path.write_bytes(damaged)
        try:
            tensors, description = load_checkpoint(path)
        except ValueError as error:
            num_tensors += place >= end
            assert str(path) in str(error) and '\n' not in str(error)
            continue
        assert description == expected[1]
        assert tensors.keys() == expected[0].keys()
        assert all(value.equal(expected[0][key])
                   for key, value in tensors.items())
    assert num_tensors == len(range(end, len(content), 53))  # all of them


def swap(content, one, other):
    """The same bytes under other names."""
    middle = b'in between'
    return content.replace(one, middle).replace(other, one).replace(
        middle, other)


def test_names_shapes_and_types_are_meant(path):
    content = path.read_bytes()

    def assert_refused_after(changed):
        assert changed != content
        path.write_bytes(changed)
        assert_refused(path, 'is damaged')

    names = [f'"potential.model.stack.convs.{index}.lin_source.weight"'.encode(
        ) for index in range(2)]
    assert_refused_after(swap(content, *names))
    assert_refused_after(content.replace(b'"shape":[1,4]', b'"shape":[4,1]'))
    embedding = content.index(b'embedding.weight":{"dtype":"F32"')
    assert_refused_after(content[:embedding] + content[embedding:].replace(
        b'F32', b'I32', 1))
    assert_refused_after(content.replace(b'"digest"', b'"dig3st"'))
    assert_refused_after(content.replace(b'\\"energy_scale\\": 2.0',
                                         b'\\"energy_scale\\": 3.0'))


def test_description_and_values_come_back(path):
    tensors, description = parts()
    loaded, found = load_checkpoint(path)
    assert found.pop('format') and found.pop('versions')
    assert found == description and list(found) == list(description)
    assert all(value.equal(tensors[key]) and value.dtype == tensors[key].dtype
               for key, value in loaded.items())
    # Types that numpy does not have, scalars and nothing:
    values = {'a': torch.randn(3).bfloat16(), 'b': torch.tensor(2.0),
              'c': torch.empty(0, 3), 'd': torch.tensor([True])}
    save_checkpoint(path, values, {})
    loaded, _ = load_checkpoint(path)
    assert all(loaded[key].equal(value) for key, value in values.items())


def test_tensors_do_not_lie_in_the_file(path):
    """Who copies another file over it changes no potential in use."""
    tensors, _ = load_checkpoint(path)
    expected = {key: value.clone() for key, value in tensors.items()}
    with open(path, 'r+b') as file:
        file.write(bytes(path.stat().st_size // 2))
        file.truncate()
    assert all(value.equal(expected[key]) for key, value in tensors.items())


def other(**changes):
    """Changes of the description, by names with dots; None of '-' removes."""
    def change(tensors, description):
        for name, value in changes.items():
            *way, key = name.split('__')
            owner = description
            for step in way:
                owner = owner[step]
            if value == '-':
                del owner[key]
            else:
                owner[key] = value
    return change


def tensor(name, function):
    def change(tensors, description):
        value = function(tensors.get(f'potential.{name}'))
        tensors.pop(f'potential.{name}', None)
        if value is not None:
            tensors[f'potential.{name}'] = value.contiguous()
    return change


WEIGHT = 'model.stack.convs.1.lin_source.weight'
CASES = [
    (other(kind=None), "kind None"),
    (other(kind=['potential']), r"kind \['potential'\]"),
    (other(kind='dynamics'), "of a potential .* kind 'dynamics'"),
    (other(model='-'), "'model' is missing"),
    (other(model=[]), "'model' must be of type dict"),
    (other(model__name='-'), "'model.name' is missing"),
    (other(model__name='SchNet'), "'model.name' must be one of .*SchNet"),
    (other(model__name={'a': []}), "'model.name' must be one of"),
    (other(model__arguments='-'), "'model.arguments' is missing"),
    (other(model__arguments=None), "'model.arguments' must be of type dict"),
    (other(model__arguments__cutoff=1e300), "cutoff' must be positive and fi"),
    (other(model__arguments__cutoff=math.nan), "cutoff' must be positive"),
    (other(model__arguments__cutoff='3'), "cutoff' must be of type float"),
    (other(model__arguments__hidden_channels=10**9), "'hidden_channels' must"),
    (other(model__arguments__hidden_channels=900), "embedding.weight' must"),
    (other(model__arguments__hidden_channels=-4), "'hidden_channels' must"),
    (other(model__arguments__hidden_channels=4.0), "'hidden_channels' must"),
    (other(model__arguments__num_layers=-1), "'model.arguments.num_layers' m"),
    (other(model__arguments__num_layers=10**9), "'num_layers' must be at mos"),
    (other(model__arguments__num_layers=1), "no tensor 'potential.model.st"),
    (other(model__arguments__num_layers=True), "'model.arguments.num_layers'"),
    (other(model__arguments__num_rbf=10**12), "'num_rbf' must be at most"),
    (other(model__arguments__avg_num_neighbors=1e-300), "avg_num_neighbors'"),
    (other(model__arguments__readout='lstm'), "'model.arguments.readout' mu"),
    (other(model__arguments__update_pos=1), "'update_pos' must be a bool"),
    (other(model__arguments__atomref=[1.0]), "'atomref' must be a tensor"),
    (other(model__arguments__colour='red'), r"no arguments \['colour'\]"),
    (other(model__arguments__interaction_graph='x'), "'interaction_graph'"),
    (other(energy_scale='-'), "'energy_scale' is missing"),
    (other(energy_scale=[2.0]), "'energy_scale' must be of type float"),
    (other(energy_scale=True), "'energy_scale' must be of type float"),
    (other(energy_scale=-2.0), "'energy_scale' must be positive"),
    (other(energy_scale=1e300), "'energy_scale' must be positive and finite"),
    (other(energy_scale=math.nan), "'energy_scale' must be positive"),
    (other(elements='-'), "'elements' is missing"),
    (other(elements=[]), "'elements' must be atomic numbers"),
    (other(elements=[1, 200]), "'elements' must be atomic numbers"),
    (other(elements=[0, 1]), "'elements' must be atomic numbers"),
    (other(elements={'1': 8}), "'elements' must be of type list"),
    (other(elements=[1, 8.0]), "'elements.1' must be of type int"),
    (other(elements=[[1]]), "'elements.0' must be of type int"),
    (other(units='-'), "'units' is missing"),
    (other(units__energy='furlong'), "'energy' must be one of"),
    (other(units__length=None), "'units.length' must be of type str"),
    (other(units__energy='-'), "'units' must have the keys"),
    (other(prior=3.0), "'prior' must be of type dict"),
    (other(prior__cutoff=None), "'prior.cutoff' must be of type float"),
    (other(prior__cutoff=9.0), "'prior' must end within the cutoff"),
    (other(prior__scale='0.7'), "'prior.scale' must be of type float"),
    (other(prior__scale=0.0), "'prior.scale' must be positive and finite"),
    (other(prior__energy='-'), "'prior.energy' is missing"),
    (other(prior__length='furlong'), "'length' must be one of"),
    (other(config=None), "'config' must be of type dict"),
    (other(config__data=None), "'config.data' must be of type str"),
    (other(config__data='-'), "'config.data' is missing"),
    (other(config__num_frames='x'), "'config.num_frames' must be of type in"),
    (other(readout='max'), "'readout' must be one of"),
    (other(history=3), "'history' must be of type list"),
    (tensor(WEIGHT, lambda value: None), f"'potential.{WEIGHT}' is missing"),
    (tensor(WEIGHT, lambda value: value[:2]), r"shape \[4, 4\] .*\[2, 4\]"),
    (tensor(WEIGHT, torch.Tensor.double), "torch.float32 .*torch.float64"),
    (tensor(WEIGHT, torch.Tensor.int), "torch.float32 .*torch.int32"),
    (tensor(WEIGHT, lambda value: value / 0), "must be finite"),
    (tensor(WEIGHT, lambda value: value * math.nan), "must be finite"),
    (tensor('model.embedding.weight', torch.Tensor.half), "types .*float16"),
    (tensor('model.embedding.weight', lambda value: None), "is missing"),
    (tensor('other', lambda value: torch.ones(1)), "no tensor 'potential.o"),
    (tensor('new\nline', lambda value: torch.ones(1)), "no tensor 'potentia"),
    (tensor('atomic_energies', lambda value: value[:9]), r"shape \[100\]"),
    (tensor('atomic_energies', torch.Tensor.float), "float64 .*float32"),
]


@pytest.mark.parametrize('change, match', CASES,
                         ids=[match for _, match in CASES])
def test_what_a_checkpoint_must_hold(change, match, path):
    content = parts()
    change(*content)
    save_checkpoint(path, *content)
    before = time.process_time()
    assert_refused(path, match)
    assert_refused(path, match, load_checkpoints)
    assert time.process_time() - before < 10.0  # and not hours


@pytest.mark.parametrize('text, match', [
    ('', 'no dictionary in JSON'), ('{', 'no dictionary in JSON'),
    ('[]', 'no dictionary in JSON'), ('null', 'no dictionary in JSON'),
    ('"x"', 'no dictionary in JSON'), (100000 * '[', 'no dictionary in JSON'),
    ('{}', 'of format 3 .got format None'),
    ('{"format": {"a": 3}, "versions": []}', 'of format 3'),
    ('{"format": 9, "versions": {"torch_sake": "7.0"}}', 'format 9.*7.0'),
    ('{"format": 3}', "'model' is missing|'energy_scale' is missing"),
])
def test_descriptions_of_others(text, match, path):
    from torch_sake.utils.fingerprint import digest
    tensors, _ = parts()
    path.write_bytes(save(tensors, {'torch_sake': text,
                                    'digest': digest(tensors, text)}))
    assert_refused(path, match)


@pytest.mark.parametrize('content', [b'', b'\0', b'text\n', 100 * b'\xff',
                                     b'\xff\0\0\0\0\0\0\0{"a":'])
def test_files_of_others(content, path):
    path.write_bytes(content)
    assert_refused(path, 'not a complete safetensors file')
    save_file(parts()[0], path)
    assert_refused(path, 'not a checkpoint of torch_sake')
    path.unlink()
    assert_refused(path, 'There is no checkpoint')
    path.mkdir()
    assert_refused(path / BEST, 'There is no checkpoint', lambda _:
                   load_potential(path))


def test_every_door(path):
    """All that takes a checkpoint says the same."""
    tensors, description = parts()
    description['units']['energy'] = 'furlong'
    save_checkpoint(path, tensors, description)
    pytest.importorskip('ase')
    from torch_sake.calculators import SAKECalculator
    for load in (load_potential, SAKECalculator, load_checkpoints,
                 lambda path: load_checkpoints([path, path])):
        assert_refused(path, "'energy' must be one of", load)
    openmm = pytest.importorskip('openmm')
    if hasattr(openmm, 'PythonForce'):
        from torch_sake.calculators import openmm_force
        assert_refused(path, "'energy' must be one of",
                       lambda path: openmm_force(path, [8, 1, 1]))
    assert_refused(path, "of a property .*'potential'", load_property)
    assert_refused(path, "of kind 'dynamics'", load_forecaster)


@pytest.mark.parametrize('entry, value, match', [
    ('kind', 'property', "'energy' must be one of|'label' is missing"),
    ('elements', None, "'elements' must be of type list"),
])
def test_commands(entry, value, match, path, capsys):
    pytest.importorskip('jsonargparse')
    from torch_sake.cli import main
    tensors, description = parts()
    save_checkpoint(path, tensors, {**description, entry: value})
    structure = path.parent / 'water.xyz'
    structure.write_text('3\n\nO 0 0 0\nH 0 0 1\nH 0 1 0\n')
    for arguments in (['evaluate', '--checkpoint', str(path)],
                      ['md', '--checkpoint', str(path), '--structure',
                       str(structure)],
                      ['relax', '--checkpoint', str(path), '--structure',
                       str(structure)],
                      ['train', '--init', str(path), '--data',
                       str(structure), '--out', str(path.parent / 'run')]):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.count('\n') == 1 and 'Traceback' not in error, error
        assert str(path) in error, error


def test_evaluations_need_a_run(path, capsys, tmp_path):
    """Checkpoints need no split and no settings of a run otherwise."""
    ase_io = pytest.importorskip('ase.io')
    pytest.importorskip('jsonargparse')
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    from torch_sake.cli import main
    atoms = Atoms('OHH', POS.numpy())
    atoms.calc = SinglePointCalculator(atoms, energy=1.0,
                                       forces=POS.numpy())
    ase_io.write(tmp_path / 'water.xyz', 3 * [atoms], format='extxyz')
    tensors, description = parts()
    description['config']['data'] = str(tmp_path / 'water.xyz')
    arguments = ['evaluate', '--checkpoint', str(path), '--data',
                 str(tmp_path / 'water.xyz'), '--part', 'test']
    for entry, match in (('other', "'split.test' is missing"),
                         ('config', "'config' is missing")):
        save_checkpoint(path, tensors, {
            key: value for key, value in description.items() if key != entry})
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.count('\n') == 1 and str(path) in error
        assert match in error, error


def test_properties(path):
    tensors, description = parts()
    description.update(kind='property', label='homo', readout='mean',
                       units={'length': 'Angstrom', 'homo': 'eV'}, prior=None)
    description['model']['arguments']['readout'] = 'mean'
    save_checkpoint(path, tensors, description)
    assert math.isfinite(load_property(path)(Z, POS))
    for change, match in (
            (other(label='-'), "'label' is missing"),
            (other(readout='-'), "'readout' is missing"),
            (other(readout='max'), "'readout' must be one of"),
            (other(units__length='m'), "'units' must have the keys 'length'"),
            (other(units__u0='eV'), "'units' must have the keys 'length'"),
            (other(readout='dipole'), "'references' must not be given")):
        content = tensors, json.loads(json.dumps(description))
        change(*content)
        save_checkpoint(path, *content)
        assert_refused(path, match, load_property)


def test_forecasters(path):
    torch.manual_seed(0)
    forecaster = Forecaster('SAKENet', 0, 1, 3, 1.0, 2.0, hidden_channels=4,
                            num_layers=2)
    tensors = {f'forecaster.{key}': value
               for key, value in forecaster.state_dict().items()}
    description = {'kind': 'dynamics', 'arguments': forecaster.arguments}
    save_checkpoint(path, tensors, description)
    assert str(load_forecaster(path)) == str(forecaster)
    for change, match in (
            (other(kind='potential'), "must be of kind 'dynamics'"),
            (other(arguments='-'), "'arguments' is missing"),
            (other(arguments__time=-1.0), "'arguments.time' must be positive"),
            (other(arguments__length=None), "'arguments.length' must be of"),
            (other(arguments__conv='-'), "'arguments.conv' is missing"),
            (other(arguments__model='x'), "'arguments.model' must be one of"),
            (other(arguments__colour=1), "unexpected keyword .*'colour'"),
            (other(arguments__cutoff=1e300), "'arguments.cutoff' must be pos"),
            (other(arguments__num_layers=10**9), "'num_layers' must be at mo"),
            (other(arguments__hidden_channels=10**9), "'hidden_channels' mu"),
            (other(arguments__hidden_channels=8), "shape .*got a tensor")):
        content = dict(tensors), json.loads(json.dumps(description))
        change(*content)
        save_checkpoint(path, *content)
        assert_refused(path, match, load_forecaster)
    name = sorted(tensors)[0]
    tensors[name] = tensors[name] * math.nan
    save_checkpoint(path, tensors, description)
    assert_refused(path, f"'{name}' must be finite", load_forecaster)


def test_sizes_take_no_memory(path):
    """A file of a few kilobytes with sizes of its own choosing."""
    resource = pytest.importorskip('resource')
    tensors, description = parts()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for size in (1000, 10**5, 10**9, 10**18, 10**30):
        for name in ('hidden_channels', 'num_layers', 'num_rbf'):
            description['model']['arguments'] = {**ARGUMENTS, name: size}
            save_checkpoint(path, tensors, description)
            assert_refused(path, '')
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 100_000 * (1 if os.uname().sysname == 'Linux'
                                       else 1024)
