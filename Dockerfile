# The image: the program, C's runtime and the certificate authorities; no shell, no root.

FROM rust:1.95-bookworm AS build
WORKDIR /src

# The dependencies in a layer of their own: it is built anew only when Cargo.toml or Cargo.lock change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/it benches \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs tests/it/main.rs benches/hashing.rs benches/load.rs benches/slow_way.rs \
    && cargo build --release --locked \
    && rm -r src

COPY . .
# Newer than the empty program above, whatever time the files carry.
RUN find . -path ./target -prune -o -type f -exec touch {} + \
    && cargo build --release --locked --bin zoom-archiver \
    && install -D target/release/zoom-archiver /image/zoom-archiver \
    && mkdir /image/data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /image/zoom-archiver /zoom-archiver
# A volume takes its owner from here.
COPY --from=build --chown=65532:65532 /image/data /data
USER 65532:65532
# glibc must give large pieces of memory back: docs/performance.md, "Memory".
ENV ZOOM_ARCHIVER_DATA_DIR=/data MALLOC_MMAP_THRESHOLD_=1048576
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/zoom-archiver", "healthcheck"]
ENTRYPOINT ["/zoom-archiver"]
CMD ["serve"]
