// Package monitoring tests the dashboard and the alerts: a real Prometheus scrapes three nodes
// with calls, and evaluates the dashboard's queries and the alert rules.
//
//	go test -tags programs -run TestLive -panels -v ./test/monitoring
//
// prints what each panel of the dashboard shows, as text. make panels runs this command.
package monitoring
