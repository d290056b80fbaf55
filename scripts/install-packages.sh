#!/usr/bin/env bash
# Installs the Debian packages that the tests and checks need, where their commands
# or files are missing. If none is missing, it prints nothing and needs no password.
# Starts no service: the tests start their own.
set -euo pipefail

packages=()
services=()
need() { # command-or-file package [service]
	if ! command -v "$1" >/dev/null && [[ ! -e $1 ]]; then
		packages+=("$2")
		services+=("${@:3}")
	fi
}
need redis-server redis-server redis-server
need promtool prometheus prometheus
need nginx nginx nginx
need haproxy haproxy haproxy
need caddy caddy caddy
need systemd-analyze systemd
need git git
need chromium chromium
need firefox-esr firefox-esr
need WebKitWebDriver webkit2gtk-driver
need Xvfb xvfb
need node nodejs
need npm npm
need python3 python3
# For the quick start, which test/browser follows.
need /usr/lib/python3/dist-packages/flask python3-flask
need /usr/lib/python3/dist-packages/jwt python3-jwt
need curl curl
need openssl openssl
# For test/machines, which runs the commands of docs/operate.
need jq jq
# For test/clients, which runs the clients of docs/build/clients.
need /usr/lib/python3/dist-packages/websockets python3-websockets
need java default-jre-headless
need kotlinc kotlin
need /usr/share/java/okhttp.jar libokhttp-java
need /usr/share/java/com.android.json.jar libandroid-json-java
need mcs mono-mcs
need mono mono-runtime
need /usr/lib/mono/4.5/System.Net.Http.dll libmono-system-net-http4.0-cil
need /usr/lib/cli/Newtonsoft.Json-5.0/Newtonsoft.Json.dll libnewtonsoft-json5.0-cil

give_up() {
	echo "scripts/install-packages.sh: $1" >&2
	exit 1
}

install_packages() {
	local wanted="these Debian packages are missing: ${packages[*]}"
	command -v apt-get >/dev/null || give_up "$wanted. There is no apt-get here: install them another way."

	local as_root=()
	if ((EUID != 0)); then
		command -v sudo >/dev/null || give_up "$wanted. Install them as root, or install sudo."
		as_root=(sudo)
		[[ -t 0 ]] || as_root+=(-n)
	fi

	echo "Installing these Debian packages, which tests and checks need: ${packages[*]}"
	# Debian starts a service as soon as it is installed, unless this file
	# forbids it. If the file exists already, it stays as it is.
	local policy=/usr/sbin/policy-rc.d
	if [[ ! -e $policy ]]; then
		# shellcheck disable=SC2064 # Expanded now: the variables are local.
		trap "${as_root[*]} rm -f $policy" EXIT
		printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 755 /dev/stdin $policy
	fi

	"${as_root[@]}" apt-get update -qq -o Acquire::Retries=3
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
		-o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "${packages[@]}" >/dev/null

	if [[ -d /run/systemd/system && ${#services[@]} -gt 0 ]]; then
		"${as_root[@]}" systemctl disable --quiet "${services[@]}"
	fi
}

if ((${#packages[@]} > 0)); then
	install_packages </dev/null
fi

node -e 'const [major, minor] = process.versions.node.split(".").map(Number);
	process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)' ||
	give_up "Node.js 20.19 or newer is needed, and this is $(node --version)."
