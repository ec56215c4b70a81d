"""What test_sandbox.py has the processes of submissions do: it is all they see of the tests."""

import contextlib
import io
import socket
import traceback


def serve(connection: socket.socket) -> None:
    """Run the source that comes, up to a zero byte, and send back what it prints."""
    source = b""
    while not source.endswith(b"\0"):
        source += connection.recv(2**16)
    printed = io.StringIO()
    names = {"__name__": "__main__", "connection": connection, "printed": printed}
    with contextlib.redirect_stdout(printed):
        try:
            exec(source[:-1].decode(), names)
        except BaseException as error:
            traceback.print_exception(error, limit=0, file=printed)
    connection.sendall(printed.getvalue().encode())
