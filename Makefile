# make demo    be inside a container            make test    run every test
# make bench   ratios against crun              make lint    formatting and clippy
# make test-guest  the same in a virtual machine with cgroup v2 alone (make test runs a part of them there); takes long
# make fuzz    a minute for each of pull's fuzz targets (FUZZ_SECONDS)
# make install the six tools and their man pages below $(PREFIX)
#
# Everything but install works from a fresh clone on Debian 12 with Rust; what is missing of Debian's packages is
# installed first. Containers need root: as another user, sudo is asked for it.

TOOLS   := pull mount-overlay netns cgctl nsrun gocker-sh
TARGET  := $(or $(CARGO_TARGET_DIR),target)/x86_64-unknown-linux-gnu/release
PREFIX  ?= /usr/local
DESTDIR ?=

SUDO    := $(if $(filter 0,$(shell id -u)),,sudo env PATH="$(PATH)" CARGO_HOME="$(or $(CARGO_HOME),$(HOME)/.cargo)" \
             RUSTUP_HOME="$(or $(RUSTUP_HOME),$(HOME)/.rustup)")

BUILD_NEEDS := gcc libc6-dev
DEMO_NEEDS  := $(BUILD_NEEDS) busybox-static
FUZZ_NEEDS  := $(BUILD_NEEDS) g++
# What the tests check with: other people's tools.
TEST_NEEDS  := $(DEMO_NEEDS) apache2-utils attr bsdutils containerd containernetworking-plugins cpio crun curl \
               debootstrap docker-registry docker.io e2fsprogs fish iproute2 iptables iputils-ping jq keyutils kmod \
               libcap2-bin mandoc nftables openssl podman procps python3 python3-jsonschema qemu-system-x86 runc \
               shellcheck skopeo strace umoci util-linux zsh zstd

.PHONY: all demo test test-guest bench fuzz lint install clean
all: build

.PHONY: build
build: need-build
	cargo build --locked --release --bins --workspace

demo: need-demo build
	$(SUDO) env GOCKER_BIN_DIR="$(abspath $(TARGET))" demo/demo

# The unit tests, then the tests that run the tools. `make test T=netns::` runs those with that in their name.
test: need-test build
	rm -f target/test-skips
	cargo test --locked --quiet --workspace --exclude tests --bins --lib
	$(SUDO) env GOCKER_BIN_DIR="$(abspath $(TARGET))" cargo test --locked --package tests -- $(T)
	@if [ -s target/test-skips ]; then echo 'Skipped:'; sort target/test-skips; fi

# `make test-guest T=netns::` runs those with that in their name.
test-guest: need-test build
	$(SUDO) env GOCKER_BIN_DIR="$(abspath $(TARGET))" tests/guest/run $(or $(T),cgctl:: gocker_sh:: mount_overlay:: netns:: nsrun:: pipeline::)

bench: need-test build
	$(SUDO) env GOCKER_BIN_DIR="$(abspath $(TARGET))" cargo bench --locked --quiet --package tests

FUZZ_SECONDS ?= 60
fuzz: need-fuzz
	fuzz/run $(FUZZ_SECONDS)

lint:
	cargo fmt --check
	cargo clippy --locked --quiet --workspace --all-targets -- -D warnings

install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install $(addprefix $(TARGET)/,$(TOOLS)) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(foreach tool,$(TOOLS),$(tool)/$(tool).1) $(DESTDIR)$(PREFIX)/share/man/man1

clean:
	cargo clean

# need-X installs what is missing of X_NEEDS; nothing is asked of the network when nothing is.
.PHONY: need-build need-demo need-test need-fuzz
need-build: ; @demo/need $(BUILD_NEEDS)
need-demo:  ; @demo/need $(DEMO_NEEDS)
need-test:  ; @demo/need $(TEST_NEEDS)
need-fuzz:  ; @demo/need $(FUZZ_NEEDS)
