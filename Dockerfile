# syntax=docker/dockerfile:1
# One image for `cai serve`, `cai worker`, `cai train` and every other command: `docker run IMAGE train --help`.
# All state is in /data. Packages are those of constraints.txt.
#
# A machine without a GPU is served best by torch's CPU build, which lies in an index of its own. The address of that
# index is a build argument: `docker build --build-arg PIP_EXTRA_INDEX_URL=... .`. Without it torch comes from the index
# that pip is set up with, which for Linux means CUDA.
# The image has no compiler, and on GPUs the packed attention of `cai train` is compiled when it first runs: train there
# with `prefix_packing=false`, or in an image that is made from this one and adds gcc.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim-trixie AS build
ARG PIP_EXTRA_INDEX_URL
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY base base
COPY cai_feedback cai_feedback
COPY constitution constitution
COPY critic critic
COPY principles principles
COPY service service
COPY trainers trainers
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint constraints.txt setuptools \
    && pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && python -m venv --without-pip /opt/cai \
    && pip --python /opt/cai install --constraint constraints.txt "$(echo /wheels/*.whl)[ray,train]"

FROM python:${PYTHON}-slim-trixie
RUN useradd --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin cai \
    && install --directory --owner=cai --group=cai /data
COPY --from=build /opt/cai /opt/cai
# Models that are fetched are kept in /data/.cache.
ENV PATH=/opt/cai/bin:$PATH \
    HOME=/data \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8300
# Of `cai serve`. For other commands turn it off: `docker run --no-healthcheck`.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8300/readyz', timeout=4)"]
ENTRYPOINT ["cai"]
CMD ["serve", "--host", "0.0.0.0", "--data", "/data"]
