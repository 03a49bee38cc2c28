# The image of kinetail: one static binary, no shell, user 65532, a root that can be read-only.
#
#   docker buildx build -t REGISTRY/kinetail:0.1.0 .
#
# For a release, for both architectures, with a bill of materials and a statement of origin in the registry:
#
#   docker buildx build --platform linux/amd64,linux/arm64 --sbom=true --provenance=mode=max \
#     --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" --build-arg SOURCE="$(git remote get-url origin)" \
#     --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" --build-arg CREATED="$(git log -1 --format=%cI)" \
#     -t REGISTRY/kinetail:0.1.0 --push .
#   docker buildx imagetools inspect REGISTRY/kinetail:0.1.0 --format '{{ json .SBOM }}'      # or .Provenance
#
# With nothing below it:            --build-arg BASE=scratch
# Around a binary that is there:    --build-context compile=DIRECTORY     (in which are kinetail and licenses/)
# With podman:                      podman build -t REGISTRY/kinetail:0.1.0 .
#
# What it must be and do is checked by tests/deploy/image.py, also of an image that is there: --image REGISTRY/kinetail:0.1.0
#
# The binary is linked statically with glibc rather than with musl: the memory and speed that README.md states were measured with glibc's
# allocator, and since 2.34 glibc looks up names and hosts without loading a library.

ARG RUST=docker.io/library/rust:1.95.0-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1
# A stripped binary does not say what it is made of: the bill of materials is taken from Cargo.lock, which is in the context.
ARG BUILDKIT_SBOM_SCAN_CONTEXT=true
ARG BASE=gcr.io/distroless/static-debian13:nonroot@sha256:e2e927ec666bae08560abb3c55d0659eceabb657f56b6782ab500a9fc7f555e3

# --- the binary, compiled on the builder's architecture for the target's -------------------------------------------------------------
FROM --platform=${BUILDPLATFORM} ${RUST} AS compile
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ARG TARGETARCH
WORKDIR /build
ENV CARGO_TERM_COLOR=never \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc

# ring and zstd have parts in C. For the builder's own architecture everything is there.
# hadolint ignore=DL3008
RUN arch=${TARGETARCH:-$(dpkg --print-architecture)}; \
    case "${arch}" in \
        amd64) triple=x86_64-linux-gnu gcc=x86-64-linux-gnu libc=amd64 rust=x86_64-unknown-linux-gnu ;; \
        arm64) triple=aarch64-linux-gnu gcc=aarch64-linux-gnu libc=arm64 rust=aarch64-unknown-linux-gnu ;; \
        *) echo "kinetail is built for amd64 and arm64, not for ${arch}" >&2; exit 1 ;; \
    esac; \
    echo "${rust}" > target-triple; \
    if ! command -v "${triple}-gcc"; then \
        apt-get update; \
        apt-get install -y --no-install-recommends "gcc-${gcc}" "libc6-dev-${libc}-cross"; \
        rm -rf /var/lib/apt/lists/*; \
        rustup target add "${rust}"; \
    fi

# A binary that is linked statically, and small: relocations in a thirtieth of their room, functions of the same code once, and no tables for
# unwinding, which a program that aborts when it panics has no use for. Rust brings the linker that can do it for both architectures. kinetail's own
# code, most of which runs seldom, is built small, and the whole is put together for speed, below: docs/sizing.md says what that costs. Cargo does
# not strip what has such a profile.
RUN bin=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/gcc-ld; \
    echo 'SECTIONS { /DISCARD/ : { *(.eh_frame .eh_frame_hdr .gcc_except_table .gcc_except_table.*) } } INSERT AFTER .text;' > small.ld; \
    mkdir .cargo; \
    printf "[target.'cfg(all())']\nrustflags = ['-Ctarget-feature=+crt-static', '-Clink-args=-B%s -fuse-ld=lld -Wl,%s']\n" \
        "${bin}" "-z,pack-relative-relocs,--icf=all,-T,/build/small.ld" > .cargo/config.toml; \
    printf "[profile.release.package.kinetail]\nopt-level = 's'\n" >> .cargo/config.toml

# The dependencies, which change more seldom than the source, are a layer of their own.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/bench; \
    touch src/lib.rs tests/bench/producer.rs; \
    echo 'fn main() {}' > src/main.rs; \
    cargo build --release --locked --target "$(cat target-triple)"; \
    rm -r src

COPY src src
COPY LICENSE deploy/third-party.sh ./
ARG SOURCE_DATE_EPOCH
# SHELL is Docker's alone; with podman this is what keeps the empty program of above from being taken for a build.
RUN set -eu; \
    target=$(cat target-triple); \
    find src -name '*.rs' -exec touch {} +; \
    cargo rustc --release --locked --bin kinetail --target "${target}" -- -C opt-level=3 -C strip=symbols; \
    install -m 0755 "target/${target}/release/kinetail" /kinetail; \
    readelf --dynamic /kinetail >dynamic; \
    if grep NEEDED dynamic; then echo "the binary needs libraries that the image does not have" >&2; exit 1; fi; \
    install -D -m 0644 LICENSE /licenses/LICENSE; \
    bash third-party.sh "${target}" >/licenses/THIRD-PARTY.txt; \
    gzip -9n /licenses/THIRD-PARTY.txt

# --- what the image holds, with its owners -------------------------------------------------------------------------------------------
FROM --platform=${BUILDPLATFORM} ${RUST} AS rootfs
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
COPY --from=compile /kinetail /rootfs/kinetail
COPY --from=compile /licenses /rootfs/licenses
# The state is kinetail's alone. Into the directory of logs the service writes, whatever its user is: a volume that is mounted on either
# path gets these owners and modes where the platform takes them from the image, as ECS does.
RUN set -eu; \
    chmod 0755 /rootfs /rootfs/kinetail; \
    chmod -R u=rwX,go=rX /rootfs/licenses; \
    install -d -m 0755 /rootfs/etc/ssl/certs /rootfs/var/lib /rootfs/var/log; \
    install -d -m 1777 /rootfs/tmp; \
    install -m 0644 /etc/ssl/certs/ca-certificates.crt /rootfs/etc/ssl/certs/ca-certificates.crt; \
    install -d -o 65532 -g 65532 -m 0700 /rootfs/var/lib/kinetail; \
    install -d -o 65532 -g 65532 -m 1777 /rootfs/var/log/kinetail

# --- the image -----------------------------------------------------------------------------------------------------------------------
# Digest and name are in the default of BASE, or in what the builder was given.
# hadolint ignore=DL3006
FROM ${BASE} AS image
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=
LABEL org.opencontainers.image.title="kinetail" \
      org.opencontainers.image.description="Tails log files into Amazon Kinesis Data Streams without losing a line" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}"
COPY --from=rootfs /rootfs/ /
USER 65532:65532
VOLUME ["/var/lib/kinetail", "/var/log/kinetail"]
EXPOSE 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["/kinetail"]
CMD ["run"]
