"""The choice of ports."""

import socket
from pathlib import Path

import pytest

from local import ports


def test_they_are_kept(tmp_path: Path) -> None:
    """One file gives the same ports each time."""
    chosen = ports.keep_ports(tmp_path / "ports", 5, with_second=True)
    assert len(set(chosen)) == 5
    assert ports.keep_ports(tmp_path / "ports", 5, with_second=True) == chosen


@pytest.mark.parametrize("above", [0, ports.SECOND])
def test_one_that_was_taken_is_replaced(tmp_path: Path, above: int) -> None:
    """A kept port that another process listens on now, or whose second port it does, is given up."""
    [port] = ports.keep_ports(tmp_path / "ports", 1, with_second=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + above))
        taken.listen()
        assert ports.keep_ports(tmp_path / "ports", 1, with_second=True) != [port]


def test_a_torn_file_is_no_obstacle(tmp_path: Path) -> None:
    """A file that says nothing is written anew."""
    (tmp_path / "ports").write_text("[1")
    assert len(ports.keep_ports(tmp_path / "ports", 2)) == 2
