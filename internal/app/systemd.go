package app

import "github.com/coreos/go-systemd/v22/daemon"

// notifySystemd tells systemd the state of the service, where it was started by a
// unit with Type=notify: daemon.SdNotifyReady, daemon.SdNotifyStopping.
func (a *App) notifySystemd(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		a.logger.Warn("systemd could not be notified", "state", state, "error", err)
	}
}
