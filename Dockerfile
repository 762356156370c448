# aka serve, in an image of its own. `docker build -t aka .`; how to run it is in README.md, "In a container".

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/aka
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY protos protos
COPY client client
COPY server server
RUN pip --python /opt/aka/bin/python install -c constraints.txt '.[cli,postgres,server,telemetry]'

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="aka" \
      org.opencontainers.image.description="An identity-alias service: which profile is this identifier, over gRPC." \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 aka \
 && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin aka \
 && install --directory --owner 10001 --group 10001 --mode 0700 /data
COPY --from=build /opt/aka /opt/aka
# The compiled modules of Python's own library, which the base image lacks and a read-only root would not take.
RUN /opt/aka/bin/aka version
ENV PATH="/opt/aka/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    AKA_DATABASE_URL=sqlite:////data/aka.db \
    AKA_GRPC_ADDRESS=0.0.0.0:50051 \
    AKA_REST_ADDRESS=0.0.0.0:8080 \
    AKA_METRICS_ADDRESS=0.0.0.0:9464
# By its numbers, so that an orchestrator sees that it is not root.
USER 10001:10001
# SQLite sorts here what is too much for memory, where nothing else can be written.
WORKDIR /data
VOLUME /data
EXPOSE 50051 8080 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["aka", "health"]
ENTRYPOINT ["aka"]
CMD ["serve"]
