#!/bin/sh
# Before the package is removed: the service is stopped. An upgrade, which Debian
# calls "upgrade" and RPM counts as 1 package left, leaves it running.
set -e

case "${1:-}" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now refresher.service
	fi
	;;
esac
