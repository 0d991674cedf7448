# One image for the service and for indexing jobs; docker-compose.yml runs both. `make image` builds it.
FROM python:3.11-slim AS build
# torch comes from the index of CPU builds that the Makefile names: --build-arg TORCH_INDEX_URL=… takes another one.
ARG TORCH_INDEX_URL=
ARG EXTRAS=models
WORKDIR /src
COPY constraints.txt Makefile ./
RUN python -m venv /opt/lsr \
 && index="${TORCH_INDEX_URL:-$(sed -n 's/^TORCH_CPU_INDEX *:= *//p' Makefile)}" \
 && /opt/lsr/bin/pip install --no-cache-dir --no-deps --index-url "$index" "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml README.md LICENSE ./
COPY lsr lsr
COPY index index
COPY encoders encoders
COPY service service
COPY eval eval
RUN /opt/lsr/bin/pip install --no-cache-dir -c constraints.txt ".[$EXTRAS]"

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 lsr && mkdir -p /data /cache /live /opt/kernels && chown lsr /data /cache /live /opt/kernels
COPY --from=build /opt/lsr /opt/lsr
COPY docker/entrypoint docker/kernels docker/warm.sh /usr/local/bin/
# PYTHONSAFEPATH: packages named `index` or `eval` must never be taken from the working directory.
ENV PATH=/opt/lsr/bin:$PATH PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 NUMBA_CACHE_DIR=/cache/numba HF_HOME=/cache/hub
USER lsr
# The first start of an empty kernel cache takes a minute or more: the image brings it warm (docker/entrypoint).
RUN warm.sh
WORKDIR /data
VOLUME ["/data", "/cache"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=90s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]
ENTRYPOINT ["entrypoint"]
CMD ["serve", "/data", "--host", "0.0.0.0", "--port", "8080", "--api-key-file", "/run/secrets/lsr_api_key"]
