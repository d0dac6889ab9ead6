# docker build -t chobi .
# docker run --stop-timeout 20 -p 3000:3000 -p 1935:1935 -p 8189:8189/udp -p 8189:8189/tcp -v chobi-data:/data \
#   -e CHOBI_WEBRTC__EXTERNAL_ADDRESSES=203.0.113.5 -e CHOBI_PUBLIC__BASE_URL=https://live.example.org \
#   -e RTMP_SERVER_URL=rtmp://live.example.org:1935/live chobi
# Settings: mount a file over /etc/chobi/chobi.toml, or pass CHOBI_<SECTION>__<KEY>. No secret is in the image. A folder mounted in
# the place of chobi-data must belong to user 10001.

FROM node:22-bookworm-slim AS pages
WORKDIR /build/control/web
COPY control/web/package.json control/web/package-lock.json control/web/.npmrc ./
RUN npm ci
COPY control/web ./
RUN npm run build

FROM rust:1.95-bookworm AS server
RUN apt-get update \
 && apt-get install --yes --no-install-recommends cmake nasm \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
COPY --from=pages /build/control/web/dist control/web/dist
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin chobi && install -s target/release/chobi /usr/local/bin/chobi

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates libstdc++6 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home chobi \
 && install -d -o chobi -g chobi -m 0700 /data
COPY --from=server /usr/local/bin/chobi /usr/local/bin/chobi
COPY config/default.toml /etc/chobi/chobi.toml
ENV CHOBI_CONFIG_FILE=/etc/chobi/chobi.toml \
    CHOBI_DATA_DIR=/data
USER chobi
VOLUME /data
# HTTP (pages, API, WebSocket, HLS) and RTMP. The operators' port 9090 stays inside, where the health check asks it.
EXPOSE 3000 3443 1935 1936 8189 8189/udp
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9090 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200'"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["chobi"]
CMD ["serve"]
