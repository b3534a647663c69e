# `cairn serve` on a CPU; with --build-arg COMPUTE=cuda on an NVIDIA GPU, whose driver is the host's;
# with COMPUTE=graph without torch.
FROM python:3.11.14-slim-trixie AS build
ARG COMPUTE=cpu
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV VIRTUAL_ENV=/opt/cairn
WORKDIR /src
COPY pyproject.toml constraints.txt ./
COPY deploy/install.sh deploy/
RUN deploy/install.sh dependencies
COPY README.md LICENSE ./
COPY embed embed
COPY index index
COPY rerank rerank
COPY classify_head classify_head
COPY pipelines pipelines
RUN deploy/install.sh cairn

FROM python:3.11.14-slim-trixie
COPY --from=build /opt/cairn /opt/cairn
ENV PATH=/opt/cairn/bin:$PATH HOME=/tmp
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/v1/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["cairn"]
CMD ["serve", "--run", "/run", "--host", "0.0.0.0"]
