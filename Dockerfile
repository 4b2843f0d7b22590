# eosin to serve exported Runs: base, ONNX Runtime, slides and server; no PyTorch, not as root.
#
#   docker build -t eosin .
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/exported:/run-folder:ro" -v "$PWD/token:/token:ro" eosin
#
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY requirements-serve.lock ./
RUN python -m venv /opt/eosin \
    && /opt/eosin/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements-serve.lock
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY src src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && /opt/eosin/bin/pip install --no-cache-dir --no-deps /wheels/*.whl \
    && /opt/eosin/bin/eosin --version

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 10001 eosin \
    && install --directory --owner=eosin /data
COPY --from=build /opt/eosin /opt/eosin
ENV PATH=/opt/eosin/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
ENTRYPOINT ["eosin"]
CMD ["serve", "/run-folder", "--host", "0.0.0.0", "--token-file", "/token"]
