FROM python:3.13-slim AS build
WORKDIR /mien
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY LICENSES LICENSES
COPY src src
RUN python -m venv /opt/mien && /opt/mien/bin/pip install --no-cache-dir --compile '.[serve]'

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home mien
COPY --from=build /opt/mien /opt/mien
ENV PATH=/opt/mien/bin:$PATH PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=15s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["mien", "serve", "--host", "0.0.0.0"]
