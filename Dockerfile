# syntax=docker/dockerfile:1
# The bot without its stand-ins. Holds no set-up and no secret: both come with the machine (fly.toml).

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# Relocated where it is linked: otherwise the tables of all the world's time zones, 1.5 MB of addresses, are written anew at every
# start and stay in memory, though one zone is used. The price: the program's own code lies at a fixed address, as Go's programs do.
# The caches stay with the builder, so a second build compiles only what changed; the binary is taken out of them at once.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo rustc --profile lean --locked --no-default-features --features shell --bin watchbell -- -C relocation-model=static \
    && install -D target/lean/watchbell /out/watchbell

# Time zones and certificate roots are compiled in: nothing is installed here.
FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin watchbell
COPY --from=build /out/watchbell /usr/local/bin/watchbell
ENV WATCHBELL_CONFIG=/etc/watchbell/watchbell.toml

# A new volume belongs to root, and so does what somebody leaves there over `fly ssh console`. So this begins as root, gives the
# state to the bot's own user, and becomes that user for good before the bot starts. `exec`: SIGTERM reaches the bot itself.
ENTRYPOINT ["/bin/sh", "-ec", "mkdir -p /data/state; chown -R watchbell:watchbell /data/state; exec setpriv --reuid=watchbell --regid=watchbell --init-groups --no-new-privs --inh-caps=-all /usr/local/bin/watchbell run --config \"$WATCHBELL_CONFIG\" \"$@\"", "watchbell"]
