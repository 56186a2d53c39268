"""Files of settings execute nothing and name no others."""

import pytest

from torch_sake.cli import main

pytest.importorskip('jsonargparse')


def fails(arguments, capsys):
    try:
        status = main(arguments)
    except SystemExit as error:
        status = error.code
    assert status == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    return error


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize('text', [
    'data: !!python/object/apply:os.system ["echo > MARKER"]',
    '!!python/object/apply:builtins.open {args: [MARKER, w]}',
    'data: {class_path: builtins.open, init_args: {file: MARKER, mode: w}}',
    'class_path: builtins.open\ninit_args: {file: MARKER, mode: w}',
], ids=str)
def test_code(folder, marker, text, capsys):
    (folder / 'a.yaml').write_text(text.replace('MARKER', str(marker)))
    fails(['train', '--config', 'a.yaml'], capsys)
    fails(['train', '--config', (folder / 'a.yaml').read_text()], capsys)


@pytest.mark.parametrize('key', ['config', 'config+'])
def test_other_files(folder, capsys, key):
    (folder / 'inner.yaml').write_text('data: inner.xyz\n')
    (folder / 'outer.yaml').write_text(f'{key}: inner.yaml\nseed: 1\n')
    error = fails(['train', '--config', 'outer.yaml'], capsys)
    assert 'inner.xyz' not in error
    error = fails(['train', '--config', f'{{{key}: inner.yaml}}'], capsys)
    assert 'inner.xyz' not in error


def test_several_files_that_are_typed(folder, capsys):
    (folder / 'a.yaml').write_text('data: a.xyz\nseed: -1\n')
    (folder / 'b.yaml').write_text('data: b.xyz\nnum_train: 3\n')
    assert main(['train', '--config', 'a.yaml', '--config', 'b.yaml',
                 '--seed', '2']) == 2
    assert "(got 'b.xyz')" in capsys.readouterr().err


def test_addresses(folder, capsys, server):
    """Even where another package has had them allowed."""
    import jsonargparse
    allow = getattr(jsonargparse, 'set_parsing_settings', None)
    for allowed in (False, True) if allow else (False, ):
        if allow:
            allow(config_read_mode_urls_enabled=allowed)
        try:
            for address in (server, f'{server}/a.yaml', 'file:///a.yaml'):
                assert fails(['train', '--config', address], capsys)
        finally:
            if allow:
                allow(config_read_mode_urls_enabled=False)
