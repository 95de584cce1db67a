# docker build -t mien .                                             on the CPU
# docker build -t mien:gpu --build-arg RUNTIME='onnxruntime-gpu[cuda,cudnn]' .      on NVIDIA GPUs; see docs/containers.md
FROM python:3.13-slim AS build
ARG RUNTIME=onnxruntime
WORKDIR /mien
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY LICENSES LICENSES
COPY src src
RUN python -m venv /opt/mien \
    && /opt/mien/bin/pip install --no-cache-dir --compile '.[serve]' \
    && if [ "$RUNTIME" != onnxruntime ]; then \
        /opt/mien/bin/pip uninstall --yes onnxruntime \
        && /opt/mien/bin/pip install --no-cache-dir --compile "$RUNTIME"; \
    fi

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin mien
COPY --from=build /opt/mien /opt/mien
ENV PATH=/opt/mien/bin:$PATH PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=15s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["mien", "serve", "--host", "0.0.0.0"]
