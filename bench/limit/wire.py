"""Arrivals of calls at the endpoint's machine, by the kernel's clock and not by when a busy process looks."""

import ctypes
import multiprocessing
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.sharedctypes import SynchronizedArray

SO_ATTACH_FILTER, SO_TIMESTAMPNS = 26, 35
ETH_P_IP, PACKET_OUTGOING, SNAP = 0x0800, 4, 200
MOST = 200_000
CALL = b"POST /api/cutout"
ETHERNET = 14


class Wire:
    """Arrivals of calls at a port of this machine since the last clear; Unix times."""

    def __init__(self, times: "SynchronizedArray[float]") -> None:
        self._times = times
        self._from = 0

    def clear(self) -> None:
        """Count anew."""
        self._from = int(self._times[0])

    def arrivals(self) -> list[float]:
        return sorted(self._times[1 + self._from : 1 + int(self._times[0])])


@contextmanager
def wire(port: int) -> Iterator[Wire | None]:
    """Listen on the loopback while the context lasts; None without the right to (needs to be root)."""
    try:
        listener = _listener(port)
    except PermissionError:
        yield None
        return
    times = multiprocessing.Array("d", MOST + 1)
    context = multiprocessing.get_context("fork")
    recorder = context.Process(target=_record, args=(listener, times), daemon=True)
    recorder.start()
    try:
        yield Wire(times)
    finally:
        recorder.terminate()
        recorder.join()
        listener.close()


def _record(listener: socket.socket, times: "SynchronizedArray[float]") -> None:
    with suppress(KeyboardInterrupt):
        while True:
            packet, notes, _, address = listener.recvmsg(SNAP, 256)
            if address[2] == PACKET_OUTGOING or not _payload(packet).startswith(CALL):
                continue
            seconds, nanoseconds = struct.unpack("qq", notes[0][2])
            count = int(times[0])
            times[count + 1] = seconds + nanoseconds / 1e9
            times[0] = count + 1


def _payload(packet: bytes) -> bytes:
    tcp = ETHERNET + 4 * (packet[ETHERNET] & 0xF)
    return packet[tcp + 4 * (packet[tcp + 12] >> 4) :]


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP))
    listener.bind(("lo", 0))
    # TCP over IPv4 to this port, and no more of it than its head.
    program = [
        (0x30, 0, 0, ETHERNET + 9),
        (0x15, 0, 4, socket.IPPROTO_TCP),
        (0xB1, 0, 0, ETHERNET),
        (0x48, 0, 0, ETHERNET + 2),
        (0x15, 0, 1, port),
        (0x06, 0, 0, SNAP),
        (0x06, 0, 0, 0),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    listener.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(code))
    )
    listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
    return listener
