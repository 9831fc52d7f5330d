# An image that serves MCP over stdin and stdout. Run it as docs/container.md shows, with a volume for the sessions.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY alc ./alc
COPY algocline_mcp ./algocline_mcp
RUN python3 -m venv /opt/alc
RUN /opt/alc/bin/pip install --no-cache-dir --no-compile '.[cluster,metrics]'
# The first start shall not compile: the image is read-only to its user. Hashes, because a copy changes times.
RUN /opt/alc/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/alc/lib

FROM python:3.13-slim
# tini, so that the server is not process 1, and workers whose server has ended are reaped.
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --create-home alc && install -d -o alc -g alc -m 700 /home/alc/sessions
# Where compose.yaml has a volume, which takes its owner from here.
RUN install -d -o alc -g alc -m 700 /home/alc/sessions/state /home/alc/sessions/state/principals
COPY --from=build /opt/alc /opt/alc
ENV PATH=/opt/alc/bin:$PATH ALC_HOME=/home/alc/sessions
USER alc
WORKDIR /home/alc
VOLUME /home/alc/sessions
# A server lives as long as its host's connection: there is nothing to ask from outside.
HEALTHCHECK NONE
ENTRYPOINT ["tini", "--", "alc"]
