# The image of oncegate: docker build --tag oncegate:0.1.0 .
#
# Two stages: the first builds a wheel and installs it with the versions of uv.lock, the second has Python and nothing
# to build with. It runs as user 10001, needs no writable root, and keeps its state where you mount it (/state).
# No image could be pulled where this file is tested: its tests lint it, follow it step by step in a Debian that
# debootstrap made, and run it there (tests/docs/test_container.py, tests/test_newcomers.py).
# Pin the base by digest: --build-arg PYTHON=python:3.13-slim-bookworm@sha256:...

ARG PYTHON=python:3.13-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /build
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY src ./src
# the versions that were tested, as uv.lock names them, into an environment that is copied whole
RUN python -m venv /opt/uv && \
    /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check 'uv>=0.9,<1' && \
    python -m venv /opt/oncegate && \
    UV_PROJECT_ENVIRONMENT=/opt/oncegate /opt/uv/bin/uv sync --locked --no-dev --no-editable --extra all --no-cache && \
    /opt/oncegate/bin/oncegate --version

FROM ${PYTHON}
LABEL org.opencontainers.image.title="oncegate" \
      org.opencontainers.image.description="Signed, single-use links for private object storage" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 oncegate && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /state --shell /usr/sbin/nologin oncegate && \
    install --directory --owner=10001 --group=10001 --mode=0750 /state
COPY --from=build /opt/oncegate /opt/oncegate
ENV PATH=/opt/oncegate/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /state
VOLUME /state
EXPOSE 8080 8081
# SIGTERM: no new connections, transfers finish for [viewer] drain, then what broke is settled
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8081/healthz', timeout=5)"]
ENTRYPOINT ["oncegate"]
CMD ["serve"]
