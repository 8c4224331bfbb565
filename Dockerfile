# docker-compose.yml builds two targets: `cutout`, the default, and `sandbox`, which adds numpy. The target `heif` is
# `cutout` with the decoder of HEIC (docs/reference/pictures.md): name it in docker-compose.yml for the workers.
#
# The base is pinned by tag, so that a rebuild takes Python's and Debian's security fixes. To pin it by digest,
# append @sha256:... from `docker buildx imagetools inspect python:3.13-slim-trixie`.

FROM python:3.13-slim-trixie AS python
ENV PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore


FROM python AS dependencies
WORKDIR /build
COPY requirements.lock ./
# Wheels only: nothing is compiled, and no stranger's build script runs.
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv install --no-cache-dir --only-binary=:all: --require-hashes -r requirements.lock


FROM dependencies AS sandbox-dependencies
COPY requirements-dev.lock ./
# Of all that development needs, the entry of numpy with its hashes.
RUN awk '/^[^ ]/ {keep = /^numpy==/} keep' requirements-dev.lock > numpy.lock \
    && pip --python /opt/venv install --no-cache-dir --only-binary=:all: --require-hashes --no-deps -r numpy.lock


FROM dependencies AS heif-dependencies
COPY requirements-dev.lock ./
# The extra `heif`: pillow-heif needs nothing but Pillow, which is there.
RUN awk '/^[^ ]/ {keep = /^pillow-heif==/} keep' requirements-dev.lock > heif.lock \
    && pip --python /opt/venv install --no-cache-dir --only-binary=:all: --require-hashes --no-deps -r heif.lock


FROM python AS runtime
LABEL org.opencontainers.image.title="cutout" \
      org.opencontainers.image.description="Job queue between a product catalog and a paid background removal endpoint"
RUN groupadd --gid 10001 cutout \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin cutout \
    && install --directory --owner=cutout --group=cutout --mode=0700 /spool
WORKDIR /app
COPY --from=dependencies /opt/venv /opt/venv
COPY api ./api
COPY cli ./cli
COPY cutout ./cutout
COPY local ./local
COPY migrations ./migrations
COPY sandbox ./sandbox
COPY worker ./worker
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app
# The packages lie as they are in the repository, so that nothing need be built; this is their console script.
# Compiled now, since the file system is read-only later.
RUN printf '#!/opt/venv/bin/python\nfrom cli.main import main\nmain()\n' > /usr/local/bin/cutout \
    && chmod 0755 /usr/local/bin/cutout \
    && python -m compileall -q /app
USER 10001:10001
ENTRYPOINT ["cutout"]
CMD ["--help"]


FROM runtime AS sandbox
COPY --from=sandbox-dependencies /opt/venv /opt/venv


FROM runtime AS heif
COPY --from=heif-dependencies /opt/venv /opt/venv


FROM runtime AS cutout
