"""Code that wants to speak with others; the test listens for it."""

from __future__ import annotations

from hostile.submissions import Hostile, attack

BANK = [
    Hostile(
        "this machine",
        "A service that listens on the machine's own address.",
        attack(
            """
            import socket
            def connect(kind, address, how=socket.SOCK_STREAM):
                with socket.socket(kind, how) as made:
                    made.settimeout(2)
                    made.connect(address)
                    return made.sendall(b"pwned")
            look(
                lambda: connect(socket.AF_INET, ("127.0.0.1", PORT)),
                lambda: connect(socket.AF_INET, ("localhost", PORT)),
                lambda: connect(socket.AF_INET, ("0.0.0.0", PORT)),
                lambda: connect(socket.AF_INET6, ("::1", PORT)),
                lambda: connect(socket.AF_INET, ("127.0.0.1", PORT), socket.SOCK_DGRAM),
                lambda: connect(socket.AF_UNIX, PATH),
                lambda: connect(socket.AF_UNIX, f"/proc/1/root{PATH}"),
                lambda: connect(socket.AF_UNIX, "\\0" + ABSTRACT),
            )
            """
        ),
    ),
    Hostile(
        "the internet",
        "Names and addresses of the world, and a file that carries a secret there.",
        attack(
            """
            import socket, urllib.request
            look(
                lambda: "REACHED" + str(socket.getaddrinfo("pypi.org", 443)),
                lambda: "REACHED" + str(socket.create_connection(("1.1.1.1", 53), 2)),
                lambda: "REACHED" + str(socket.create_connection(("2606:4700:4700::1111", 53), 2)),
                lambda: "REACHED" + urllib.request.urlopen("http://1.1.1.1", timeout=2).read(9),
            )
            """
        ),
    ),
    Hostile(
        "kinds of sockets that no namespace holds",
        "The virtual machine's host, radios, buses, and the kernel's own services.",
        attack(
            """
            import socket
            allowed = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
            def make(number, kind):
                try:
                    socket.socket(number, kind, 0).close()
                    print("REACHED", number, kind)
                except OSError as error:
                    if number == socket.AF_VSOCK:
                        print("VSOCK", type(error).__name__)
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
                for number in range(2, 46):
                    if number not in allowed: make(number, kind)
            make(socket.AF_INET, socket.SOCK_RAW)
            """
        ),
        seen=("VSOCK PermissionError",),
    ),
    Hostile(
        "a service for the next",
        "A server that waits for whoever comes next.",
        attack(
            """
            import os, socket
            if os.fork() == 0:
                os.setsid()
                for kind, address in ((socket.AF_INET, ("0.0.0.0", PORT)),
                                      (socket.AF_UNIX, "\\0" + ABSTRACT)):
                    made = socket.socket(kind)
                    made.bind(address)
                    made.listen()
                while True:
                    made.accept()
            print("attacked")
            """
        ),
    ),
]
