# docker-compose.yml builds the target `cutout`, the default. The target `heif` is `cutout` with the decoder of HEIC
# (docs/reference/pictures.md): name it in docker-compose.yml for the workers and renderers.
#
# The target `sandbox` has the stand-in for the endpoint besides; neither has `cutout up` and `cutout demo`.
#
# Without arguments the base is a tag, so that a rebuild takes Python's and Debian's security fixes. A release is
# built from a digest, which it can be built from again, and says what it is:
#
#   docker buildx imagetools inspect python:3.13-slim-trixie --format '{{.Manifest.Digest}}'
#   docker build --build-arg PYTHON_IMAGE=python:3.13-slim-trixie@sha256:... --build-arg VERSION=1.0.0 \
#     --build-arg REVISION=$(git rev-parse HEAD) --build-arg SOURCE=https://... --sbom=true --provenance=mode=max .

ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS python
ENV PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore


FROM python AS dependencies
WORKDIR /build
COPY requirements.lock ./
# Wheels only: nothing is compiled, and no stranger's build script runs.
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv install --no-cache-dir --only-binary=:all: --require-hashes -r requirements.lock


FROM dependencies AS heif-dependencies
COPY requirements-dev.lock ./
# Of all that development needs, the entry of the extra `heif`: pillow-heif needs nothing but Pillow, which is there.
RUN awk '/^[^ ]/ {keep = /^pillow-heif==/} keep' requirements-dev.lock > heif.lock \
    && pip --python /opt/venv install --no-cache-dir --only-binary=:all: --require-hashes --no-deps -r heif.lock


FROM python AS runtime
ARG PYTHON_IMAGE
ARG VERSION=development
ARG REVISION=unknown
ARG SOURCE=
# What is named a version cannot be built from a tag that moves, or from an unknown revision.
RUN [ "$VERSION" = development ] \
    || { echo "$PYTHON_IMAGE" | grep -Eq '@sha256:[0-9a-f]{64}$' && echo "$REVISION" | grep -Eq '^[0-9a-f]{40}$'; } \
    || { echo "a build with VERSION=$VERSION needs PYTHON_IMAGE with a digest and REVISION, see the Dockerfile" >&2; exit 1; }
LABEL org.opencontainers.image.title="cutout" \
      org.opencontainers.image.description="Job queue between a product catalog and a paid background removal endpoint" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE"
RUN groupadd --gid 10001 cutout \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin cutout \
    && install --directory --owner=cutout --group=cutout --mode=0700 /spool /temporary
WORKDIR /app
COPY --from=dependencies /opt/venv /opt/venv
COPY api ./api
COPY cli ./cli
COPY console ./console
COPY cutout ./cutout
COPY migrations ./migrations
COPY worker ./worker
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    CUTOUT_METRICS_ADDRESS=0.0.0.0:9808 \
    CUTOUT_REVISION=$REVISION
# The packages lie as they are in the repository, so that nothing need be built; this is their console script.
# Compiled now, since the file system is read-only later.
RUN printf '#!/opt/venv/bin/python\nfrom cli.main import main\nmain()\n' > /usr/local/bin/cutout \
    && chmod 0755 /usr/local/bin/cutout \
    && python -m compileall -q /app
USER 10001:10001
# The process lives: its loop advances. Whether it is ready is asked by who sends it work. Not by urllib, which would
# ask a proxy that the environment names.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["python", "-ISc", "import os; from http.client import HTTPConnection; c = HTTPConnection('127.0.0.1', int(os.environ['CUTOUT_METRICS_ADDRESS'].rpartition(':')[2]), timeout=9); c.request('GET', '/livez'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["cutout"]
CMD ["--help"]


FROM runtime AS sandbox
COPY sandbox ./sandbox
# docker-compose.yml asks the sandbox itself; it has no probes.
HEALTHCHECK NONE


FROM runtime AS heif
COPY --from=heif-dependencies /opt/venv /opt/venv


FROM runtime AS cutout
