package api

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"
)

// TestRoutesAreThoseOfOpenAPI compares the routes and their audiences with docs/openapi.yaml.
func TestRoutesAreThoseOfOpenAPI(t *testing.T) {
	a, err := New(Config{Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	audiences := map[audience]string{probes: "probes", anybody: "anybody", callers: "credential", admins: "operators"}
	var served []string
	for _, r := range a.routes {
		served = append(served, r.method+" /"+strings.Join(r.path, "/")+" "+audiences[r.open])
	}
	text, err := os.ReadFile("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]yaml.Node
	}
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	var documented []string
	for path, item := range document.Paths {
		if _, other := item["servers"]; other { // this endpoint is on the operations port, which package api does not serve
			continue
		}
		for _, method := range []string{"get", "post", "put", "patch", "delete"} {
			node, ok := item[method]
			if !ok {
				continue
			}
			var operation struct {
				Tags     []string
				Security []map[string]any
			}
			if err := node.Decode(&operation); err != nil {
				t.Fatal(err)
			}
			open := "anybody"
			for _, s := range operation.Security {
				if _, ok := s["credential"]; ok {
					open = "credential"
				}
			}
			switch tag := operation.Tags[0]; {
			case tag == "probes", tag == "operators" && open == "credential":
				open = tag
			}
			path := regexp.MustCompile(`{\w+}`).ReplaceAllString(path, "*")
			documented = append(documented, strings.ToUpper(method)+" "+path+" "+open)
		}
	}
	slices.Sort(served)
	slices.Sort(documented)
	if diff := cmp.Diff(served, documented); diff != "" {
		t.Errorf("served (-), in openapi.yaml (+):\n%s", diff)
	}
}
