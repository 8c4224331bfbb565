"""SeaweedFS, which speaks S3."""

import http.client
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.binaries import weed
from local.ports import SECOND
from local.secret import keep_secret
from local.server import Server

REGION = "us-east-1"


@dataclass(frozen=True)
class S3Access:
    """Where an S3 is and how to sign for it; None where that is left to the environment."""

    endpoint_url: str
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    region: str | None = None


class SeaweedServer(Server):
    """A SeaweedFS server: master, volumes, filer and S3 in one process."""

    name = "SeaweedFS"
    listeners = ("s3", "master", "volume", "filer", "admin")
    with_second_ports = True
    # It ends in 1.1 s, or, every few times, after 5 s of waiting for its own idle connections.
    grace_seconds = 1.8
    not_ready: ClassVar[tuple[type[Exception], ...]] = (OSError, http.client.HTTPException)

    @property
    def s3(self) -> S3Access:
        """Endpoint and keys; known from the first start on."""
        return S3Access(f"http://127.0.0.1:{self.port('s3')}", *self._keys(), REGION)

    def stop(self) -> None:
        """Shut the server down, within 2 s; harmless when it does not run."""
        super().stop()
        unlink_sockets(self._ports.values())

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would."""
        super().kill()
        unlink_sockets(self._ports.values())

    def _prepare(self) -> None:
        super()._prepare()
        (self.directory / "data").mkdir(mode=0o700, exist_ok=True)
        unlink_sockets(self._ports.values())

    def _command(self) -> list[str | Path]:
        return [
            weed(),
            "-logtostderr=true",
            "mini",
            f"-dir={self.directory / 'data'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *(f"-{listener}.port={self.port(listener)}" for listener in self.listeners),
            "-admin.ui=false",
            "-webdav=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            # Resumed, the master waits 5 to 20 s for peers that it never had.
            "-master.resumeState=false",
            # With the defaults, open connections and a farewell to the master delay the end by up to 30 s.
            "-idleTimeout=5",
            "-volume.preStopSeconds=0",
            # Unset, free disk space decides how many buckets there may be: some 77 with 80 GB free. Volumes
            # are not preallocated.
            "-volume.max=100000",
        ]

    def _environment(self) -> Mapping[str, str]:
        access_key, secret_key = self._keys()
        return {
            **super()._environment(),
            # weed makes an administrator of these.
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
            # The heap's soft bound. With 256 MiB it collects garbage all the time, for three times the CPU.
            "GOMEMLIMIT": "1GiB",
        }

    def _check(self) -> None:
        """Put and get: the ports listen before the volumes take data."""
        for method, path, body in (
            ("PUT", "/cutout-ready", b""),
            ("PUT", "/cutout-ready/probe", b"ready"),
            ("GET", "/cutout-ready/probe", b""),
        ):
            status, answer = self._request(method, path, body)
            if status not in {200, 409}:  # 409: the bucket is there already
                raise http.client.HTTPException(f"{method} {path} answered {status}: {answer[:200]!r}")

    def _request(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        # botocore signs and http.client sends, so that neither proxies nor AWS profiles have a say.
        request = AWSRequest(method, self.s3.endpoint_url + path, data=body)
        S3SigV4Auth(Credentials(*self._keys()), "s3", REGION).add_auth(request)
        connection = http.client.HTTPConnection("127.0.0.1", self.port("s3"), timeout=5)
        try:
            connection.request(method, path, body, dict(request.headers.items()))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _keys(self) -> tuple[str, str]:
        return keep_secret(self.directory / "access_key"), keep_secret(self.directory / "secret_key")


def unlink_sockets(ports: Iterable[int]) -> None:
    """Remove what weed leaves in /tmp for these ports; left by root, it hinders another user's weed."""
    for port in ports:
        for number in (port, port + SECOND):
            # weed's choice
            for socket in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):  # noqa: S108  # nosec B108
                with suppress(PermissionError, FileNotFoundError):
                    socket.unlink()
