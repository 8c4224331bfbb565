"""Steps of a job as a script would write them, with httpx, boto3 and Pillow: fit, post, download, put."""

import io
import threading

import boto3
import httpx
from botocore.config import Config
from PIL import Image

from cutout.settings import Settings

PATH = "/api/cutout/general/commodity-background-removal"
LONGEST_SIDE = 1999
QUALITY = 95


class PlainSteps:
    """The steps, with an HTTP client for each thread; `fits`: pictures are too large to be sent."""

    def __init__(self, settings: Settings, threads: int, *, fits: bool) -> None:
        secret = settings.s3_secret_key
        self._bucket, self._fits = settings.s3_bucket, fits
        self._url = settings.endpoint_url + PATH
        self._headers = {"ailabapi-api-key": settings.endpoint_api_keys[0].get_secret_value()}
        self._own = threading.local()
        self._s3 = boto3.client(
            "s3",
            endpoint_url=settings.s3_endpoint_url,
            aws_access_key_id=settings.s3_access_key,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            config=Config(max_pool_connections=threads),
        )

    def read(self, key: str) -> bytes:
        """Read a picture from the bucket."""
        body: bytes = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return body

    def cut_out(self, picture: bytes, key: str) -> None:
        """Buy the cutout and put it into the bucket."""
        client = self._client()
        sent = fitted(picture) if self._fits else picture
        answer = client.post(self._url, headers=self._headers, files={"image": ("a.jpg", sent, "image/jpeg")})
        result = client.get(answer.json()["data"]["image_url"])
        result.raise_for_status()
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=result.content)

    def _client(self) -> httpx.Client:
        client: httpx.Client | None = getattr(self._own, "client", None)
        if client is None:
            client = self._own.client = httpx.Client(timeout=60.0)
        return client


def fitted(picture: bytes) -> bytes:
    """A JPEG whose longer side may be sent: decoded at half its size where that is enough, resized once."""
    image: Image.Image = Image.open(io.BytesIO(picture))
    ratio = LONGEST_SIDE / max(image.size)
    size = round(image.width * ratio), round(image.height * ratio)
    image.draft(None, size)
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()
