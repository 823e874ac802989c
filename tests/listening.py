"""Where processes of ours can be reached, as the kernel tells it."""

import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from served_ui import until

from resources.servers.embedded import Services
from resources.servers.processes import GRPC_OFFSET
from resources.servers.weed import PORT_NAMES


def addresses(processes: Iterable[psutil.Process]) -> list[Any]:
    """The addresses (ip, port) at which they listen, or take datagrams."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # it may end meanwhile
            connections = process.net_connections("inet")
            found += [c.laddr for c in connections if c.status == psutil.CONN_LISTEN or c.type == socket.SOCK_DGRAM]
    return found


def of_servers(home: Path) -> list[Any]:
    """Those of the servers that come along, and of their children."""
    servers = [psutil.Process(pid) for pid in Services(home).status().pids.values()]
    return addresses([one for server in servers for one in (server, *server.children(recursive=True))])


def until_all_ports_are_open(home: Path) -> None:
    """Servers that answer may not have opened all yet: S3's admin port comes after S3."""
    ports = Services(home).status().ports
    wanted = {*ports.values(), *(ports[name] + GRPC_OFFSET for name in PORT_NAMES)}
    until(lambda: wanted <= {address.port for address in of_servers(home)}, "every port is open", 30, every_s=0.05)
