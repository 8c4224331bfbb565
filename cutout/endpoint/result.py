"""Download of the paid result from where the endpoint left it."""

from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Self

import httpx

from cutout.endpoint.endpoint_errors import ResultGone, ResultUnavailable, ResultUrlRefused
from cutout.network import (
    IN_MEMORY_BYTES,
    AddressPolicy,
    BadStatus,
    Blob,
    FetchError,
    GuardedTransport,
    HostList,
    TooLarge,
    UrlRefused,
    egress_proxy,
    fetch_pieces,
    gather,
    port_of,
)

# A four-channel PNG of 1999x1999 is 16 MB uncompressed; paid results far larger than that are still kept.
MAX_RESULT_BYTES = 512_000_000
DEADLINE_S = 110.0
MAX_REDIRECTS = 3


class ResultDownloader:
    """Downloader limited to hosts of an allow-list, by https from public addresses. One per thread.

    Entries that are this machine by their spelling, and those of `private`, may be private and plain http.
    """

    def __init__(
        self,
        hosts: HostList,
        *,
        private: HostList | None = None,
        max_bytes: int = MAX_RESULT_BYTES,
        deadline_s: float = DEADLINE_S,
        directory: Path | None = None,
        proxy: str | None = None,
    ) -> None:
        """Private hosts are reached without `proxy`.

        `directory` holds large results, in files without a name, while they are checked.
        """
        self._private = HostList(hosts.local().patterns + (private or HostList()).patterns)
        self._hosts = HostList(hosts.patterns + self._private.patterns)
        self._max_bytes = max_bytes
        self._deadline_s = deadline_s
        self._directory = directory
        self._transport = GuardedTransport(
            policy=AddressPolicy(exempt=self._private), proxy=egress_proxy(proxy)
        )

    def download(self, url: str) -> Blob:
        """Download a result, to be checked by `check_result`.

        Raises ResultGone, ResultUrlRefused, or ResultUnavailable, also if it is too large.
        """
        pieces = fetch_pieces(
            self._transport,
            url,
            max_bytes=self._max_bytes,
            deadline_s=self._deadline_s,
            max_redirects=MAX_REDIRECTS,
            check_url=self._check_url,
        )
        try:
            with closing(pieces):
                return gather(pieces, self._directory)
        except BadStatus as error:
            if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
                raise ResultGone(f"deleted ({error}): the endpoint keeps a result for 24 hours") from error
            raise ResultUnavailable(str(error)) from error
        except UrlRefused as error:
            raise ResultUrlRefused(str(error)) from error
        except TooLarge as error:
            raise ResultUnavailable(f"the result is too large: {error}") from error
        except FetchError as error:
            raise ResultUnavailable(str(error)) from error
        except OSError as error:
            raise ResultUnavailable(
                f"a result of more than {IN_MEMORY_BYTES:,} bytes does not fit in {self._directory}"
                f" ({error.strerror}): make room there, or set a larger CUTOUT_SPOOL_DIR"
            ) from error

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_url(self, url: httpx.URL) -> None:
        host = url.raw_host.decode()
        if url.userinfo:
            raise UrlRefused("the result's URL contains a user name")
        if not self._hosts.allows(host, port_of(url)):
            raise UrlRefused(
                f"the result is at {host[:100]}, port {port_of(url)}, which is not allowed;"
                " if the endpoint has moved its results there, add the host to CUTOUT_RESULT_HOSTS"
            )
        if url.scheme != "https" and not self._private.allows(host, port_of(url)):
            raise UrlRefused(f"the result at {host[:100]} is offered without https")
