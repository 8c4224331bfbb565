"""A batch that has ended, made in the database by itself."""

import uuid
from collections.abc import Iterator

from sqlalchemy import Engine, text

from cutout.storage import Bucket

FILL = (
    "INSERT INTO accounts (name) VALUES ('bench') ON CONFLICT DO NOTHING",
    "INSERT INTO batches (id, name) VALUES (:batch, 'bench')",
    # One in fifty failed.
    """
    INSERT INTO jobs (batch_id, external_id, source, details, state, place, key, sha256, media_type,
        size_bytes, width, height, code, message, finished_at)
    SELECT :batch, 'SKU-' || n, 'https://shop.example/pictures/' || n || '.jpg',
        jsonb_build_object('title', 'Product number ' || n, 'vendor', 'Example'),
        CASE WHEN fails THEN 'failed' ELSE 'succeeded' END, n,
        CASE WHEN NOT fails THEN 'cutouts/' || :batch || '/SKU-' || n || '.png' END,
        CASE WHEN NOT fails THEN sha256(n::text::bytea) END,
        CASE WHEN NOT fails THEN 'image/png' END, 123456, 1200, 1200,
        CASE WHEN fails THEN 'IMAGE_NOT_A_PICTURE' END,
        CASE WHEN fails THEN 'the file starts with b''not a pi'', which no picture does' END, now()
    FROM generate_series(1, :rows) AS n, LATERAL (SELECT n % 50 = 0 AS fails) AS fate
    """,
    """
    INSERT INTO attempts (job_id, number, fence, worker_id, account, image_sha256, outcome, ended_at,
        request_id)
    SELECT id, 1, 1, uuidv7(), 'bench', sha256('x'), 'charged', now(), gen_random_uuid()::text
    FROM jobs WHERE batch_id = :batch AND state = 'succeeded'
    """,
    """
    INSERT INTO ingests (batch_id, fingerprint, kind, manifest_key, records, finished_at)
    VALUES (:batch, CAST(CAST(:batch AS text) AS bytea), 'CSV manifest', 'manifests/' || :batch, :rows, now())
    """,
)


def fill(engine: Engine, bucket: Bucket, rows: int) -> uuid.UUID:
    """A batch of so many jobs with their calls and the manifest that they came from."""
    batch = uuid.uuid4()
    with engine.begin() as connection:
        for statement in FILL:
            asked = statement.replace(":batch", f"CAST('{batch}' AS uuid)").replace(":rows", str(rows))
            connection.exec_driver_sql(asked.replace("%", "%%"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE jobs, attempts"))
    bucket.put_pieces(_manifest(rows), key=f"manifests/{batch}", media_type="text/csv")
    return batch


def _manifest(rows: int) -> Iterator[bytes]:
    yield b"external_id,source,title,vendor\r\n"
    for n in range(1, rows + 1):
        yield f"SKU-{n},https://shop.example/pictures/{n}.jpg,Product number {n},Example\r\n".encode()
