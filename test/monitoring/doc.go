// Package monitoring looks at the service as its operators do: a real Prometheus
// scrapes three nodes with calls on them, and the dashboard's queries and the alerts
// are evaluated there. There is nothing here but tests.
//
//	go test -tags programs -run TestLive -panels -v ./test/monitoring
//
// prints what each panel of the dashboard shows, as text: `make panels`.
package monitoring
