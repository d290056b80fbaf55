package nodetest

import (
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Metric returns the value of one metric of the node. The name may have labels, such as
// refresher_sessions{state="attached"}.
func (n *Node) Metric(name string) float64 {
	n.t.Helper()
	return n.Metrics(name)[0]
}

// Metrics reads several values from one scrape.
func (n *Node) Metrics(names ...string) []float64 {
	n.t.Helper()
	_, text := n.Get("/metrics")
	found := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			found[name] = value
		}
	}
	values := make([]float64, len(names))
	for i, name := range names {
		var err error
		if values[i], err = strconv.ParseFloat(found[name], 64); err != nil {
			n.t.Fatalf("%s has no metric %s: %q", n.name, name, found[name])
		}
	}
	return values
}

// Get requests a path of the operations port.
func (n *Node) Get(path string) (status int, text string) {
	n.t.Helper()
	request, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, "http://"+n.ops+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	request.Close = true // an idle connection would outlive the test, and its goroutines would count as leaked
	client := &http.Client{Timeout: Patience}
	response, err := client.Do(request)
	if err != nil {
		n.t.Fatalf("%s: %v", n.name, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		n.t.Fatalf("%s: %v", n.name, err)
	}
	return response.StatusCode, string(body)
}
