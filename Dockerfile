# The exporter on a slim Python, for amd64 and arm64:
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg REVISION=$(git rev-parse HEAD) --push -t IMAGE:TAG .
#
# The Python is the one the tests run on.
ARG PYTHON=3.11-slim-bookworm

# The wheel is pure Python, so it is built once, on the builder's own platform, with nothing but what is pinned.
FROM --platform=$BUILDPLATFORM python:${PYTHON} AS wheel
WORKDIR /source
COPY requirements-build.lock ./
RUN python -m pip install --no-cache-dir --only-binary :all: --require-hashes --target /build -r requirements-build.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY exporter ./exporter
RUN PYTHONPATH=/build python -m pip wheel --no-index --no-build-isolation --no-deps --wheel-dir /wheels .

# Installed into an environment of its own, which has no pip. Wheels only: there is no compiler here, and none is needed.
# The versions are those of the lock (`make pins`), and `check` finds what they leave out.
FROM python:${PYTHON} AS installed
RUN python -m venv --without-pip /opt/fleet-exporter
COPY requirements.lock ./
RUN python -m pip --python /opt/fleet-exporter/bin/python install --no-cache-dir --only-binary :all: --require-hashes \
      -r requirements.lock
COPY --from=wheel /wheels /wheels
RUN python -m pip --python /opt/fleet-exporter/bin/python install --no-index --no-deps /wheels/*.whl && \
    python -m pip --python /opt/fleet-exporter/bin/python check
# Descriptions of 400 services of AWS are a fifth of the layer; the program asks two, and two more give credentials.
RUN cd /opt/fleet-exporter/lib/python3*/site-packages/botocore/data && find . -mindepth 1 -maxdepth 1 -type d \
      ! -name cloudwatch ! -name sts ! -name sso ! -name sso-oidc -exec rm -r {} +

FROM python:${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="matillion-fleet-exporter" \
      org.opencontainers.image.description="Task capacity of Matillion agents on Amazon EKS, for Prometheus, CloudWatch and the Horizontal Pod Autoscaler" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=installed /opt/fleet-exporter /opt/fleet-exporter
# Compiled files came with the installation; at run time nothing is written to the root filesystem, which may be read-only.
ENV PATH=/opt/fleet-exporter/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65534:65534
WORKDIR /
EXPOSE 9850 8443
# Health is Kubernetes' to ask for: /healthz and /readyz. No shell is involved in starting.
ENTRYPOINT ["fleet-exporter"]
CMD ["--help"]
