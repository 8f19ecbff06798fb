"""A proxy that is not wanted: counts who comes, and lets nobody through."""

import contextlib
import socket
import threading

VARIABLES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY")


class CountingProxy:
    """Listens on loopback until the end of a block.

    Attributes:
      requests: first line of what each connection asked for.
      environment: variables that name it as the proxy for everything.
    """

    def __init__(self):
        self.requests = []

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._count)
        self._thread.start()
        url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.environment = dict.fromkeys(VARIABLES, url)
        return self

    def __exit__(self, *error):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _count(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                line = connection.recv(4096).partition(b"\r\n")[0]
                self.requests.append(line.decode("latin-1"))
                connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
