#!/bin/sh
# After the Debian or RPM package was installed or upgraded. The service is
# neither started nor restarted: its settings come first, and nodes are restarted
# one by one.
set -e

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
