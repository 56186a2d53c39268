import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

MARKER = 'executed'


class Pickled:
    """Leaves a file behind when it is unpickled."""
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, 'w')


@pytest.fixture
def marker(tmp_path):
    """A file that hostile inputs write. At the end there must be none."""
    path = tmp_path / 'marker' / MARKER
    path.parent.mkdir()
    yield path
    assert not path.exists(), 'something was executed'


@pytest.fixture
def pickled(marker):
    """What leaves the marker behind when it is unpickled."""
    return Pickled(marker)


@pytest.fixture
def server():
    """A server of this machine, which must not be asked for anything."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *args):
            pass

    server = HTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}/q'
    server.shutdown()
    thread.join()
    server.server_close()
    assert asked == []
