// Command dashboard writes the Grafana dashboard. panels.go has its content. This file defines the form of a panel,
// which must have a description, a unit and a link to the runbook.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

//go:generate go run . ../../deploy/grafana/dashboards/refresher.json

// runbook is the URL of the runbook, to which the link of a panel adds an anchor.
const runbook = "${runbook}#"

// width is the width of Grafana's grid.
const width = 24

type object = map[string]any

// row is a heading with panels.
type row struct {
	title  string // empty for the first row, which has no heading
	panels []panel
}

// panel is one graph, figure or table.
type panel struct {
	kind        string // stat, timeseries or table
	title       string
	description string
	unit        string // Grafana's name of the unit
	anchor      string // anchor in the runbook
	w, h        int    // width and height in grid units; 0 means the default
	queries     []query
	thresholds  []threshold
	stacked     bool
	signed      bool              // whether values may be below zero
	units       map[string]string // units of queries that differ from the panel's, by legend
	calm        string            // why the panel has no data while nothing goes wrong; empty if it always has data
}

// query is a PromQL expression and the legend of its series.
type query struct{ expr, legend string }

// threshold gives a colour to the values from `from` on, up to the next threshold.
type threshold struct {
	from  float64 // ignored in the first threshold
	color string
}

func main() {
	text, err := json.MarshalIndent(dashboard(), "", "  ")
	if err == nil {
		err = os.WriteFile(os.Args[1], append(text, '\n'), 0o644) //nolint:gosec // it is for everybody
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var source = object{"type": "prometheus", "uid": "${datasource}"}

func dashboard() object {
	var panels []object
	id, y := 0, 0
	next := func() int { id++; return id }
	for _, r := range rows {
		if r.title != "" {
			panels = append(panels, object{
				"id": next(), "type": "row", "title": r.title, "collapsed": false, "panels": []any{},
				"gridPos": object{"x": 0, "y": y, "w": width, "h": 1},
			})
			y++
		}
		x, tallest := 0, 0
		for _, p := range r.panels {
			if p.w == 0 {
				p.w, p.h = 8, 7
			}
			if x+p.w > width {
				x, y, tallest = 0, y+tallest, 0
			}
			panels = append(panels, p.render(next(), x, y))
			x, tallest = x+p.w, max(tallest, p.h)
		}
		y += tallest
	}
	return object{
		"uid": "refresher", "title": "Refresher", "tags": []string{"agora", "refresher"}, "schemaVersion": 39, "version": 1,
		"description": "Is any call at risk, and is any about to be? The first row answers that; the rest says why.",
		"editable":    true, "graphTooltip": 1, "refresh": "15s", "timezone": "browser",
		"time":        object{"from": "now-3h", "to": "now"},
		"templating":  object{"list": variables()},
		"annotations": object{"list": annotations()},
		"links": []object{{
			"type": "link", "title": "Runbook", "url": strings.TrimSuffix(runbook, "#"), "icon": "doc", "targetBlank": true,
		}},
		"panels": panels,
	}
}

func (p *panel) render(id, x, y int) object {
	var targets []object
	overrides := []any{}
	for i, q := range p.queries {
		targets = append(targets, object{
			"refId": string(rune('A' + i)), "datasource": source, "expr": q.expr, "legendFormat": q.legend,
			"instant": p.kind != "timeseries", "range": p.kind == "timeseries", "exemplar": p.kind == "timeseries" && strings.Contains(q.expr, "_bucket"),
			"format": map[bool]string{true: "table", false: "time_series"}[p.kind == "table"],
		})
		if unit := p.units[q.legend]; unit != "" {
			overrides = append(overrides, object{
				"matcher":    object{"id": "byFrameRefID", "options": string(rune('A' + i))},
				"properties": []object{{"id": "unit", "value": unit}, {"id": "custom.axisPlacement", "value": "right"}},
			})
		}
	}
	steps := []object{{"color": "green", "value": nil}}
	for i, t := range p.thresholds {
		if i == 0 {
			steps = []object{{"color": t.color, "value": nil}}
		} else {
			steps = append(steps, object{"color": t.color, "value": t.from})
		}
	}
	custom := object{}
	options := object{}
	switch p.kind {
	case "timeseries":
		custom = object{"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": false}
		if p.stacked {
			custom["stacking"], custom["fillOpacity"] = object{"mode": "normal", "group": "A"}, 40
		}
		if len(p.thresholds) > 0 {
			custom["thresholdsStyle"] = object{"mode": "line"}
		}
		options = object{
			"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true},
			"tooltip": object{"mode": "multi", "sort": "desc"},
		}
	case "stat":
		options = object{
			"colorMode": "background", "graphMode": "none", "justifyMode": "center", "textMode": "auto",
			"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		}
	}
	color := object{"mode": "palette-classic"}
	if p.kind == "stat" {
		color = object{"mode": "thresholds"}
	}
	defaults := object{
		"unit": p.unit, "custom": custom, "color": color, "thresholds": object{"mode": "absolute", "steps": steps},
	}
	if !p.signed {
		defaults["min"] = 0
	}
	if p.calm != "" {
		defaults["noValue"] = p.calm
	}
	return object{
		"id": id, "type": p.kind, "title": p.title, "description": p.description, "datasource": source,
		"gridPos": object{"x": x, "y": y, "w": p.w, "h": p.h}, "targets": targets,
		"fieldConfig": object{"defaults": defaults, "overrides": overrides}, "options": options,
		"links": []object{{"title": "What to do", "url": runbook + p.anchor, "targetBlank": true}},
	}
}

// variables returns the variables of the dashboard, which choose the data source, the services and the nodes.
func variables() []object {
	// "All" has no custom value such as ".*", so it stands for the names that Grafana has found. With ".*" the panels
	// would count the processes of other services, too.
	choice := func(name, label, expr string) object {
		return object{
			"name": name, "label": label, "type": "query", "datasource": source, "refresh": 2, "sort": 1,
			"query": object{"query": expr, "refId": name}, "definition": expr,
			"multi": true, "includeAll": true, "current": object{"text": "All", "value": "$__all"},
		}
	}
	return []object{
		{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": object{}},
		choice("job", "Service", `label_values(refresher_build_info, job)`),
		choice("node", "Node", `label_values(refresher_build_info{job=~"$job"}, instance)`),
		{
			"name": "runbook", "label": "Runbook", "type": "textbox", "hide": 0,
			"query": defaultRunbook, "current": object{"text": defaultRunbook, "value": defaultRunbook},
		},
	}
}

// defaultRunbook is a placeholder for the address of docs/operate/runbook.md. An operator replaces it in the variable
// or in this file. The annotations of the alerts have the same placeholder.
const defaultRunbook = "https://docs.example.com/refresher/runbook.md"

// annotations returns the marks that all graphs show: when a node started, and when an alert paged an operator.
func annotations() []object {
	mark := func(name, color, expr, title string) object {
		return object{
			"name": name, "enable": true, "iconColor": color, "datasource": source, "expr": expr, "titleFormat": title, "step": "30s",
		}
	}
	return []object{
		mark("Starts", "blue", `changes(process_start_time_seconds{job=~"$job",instance=~"$node"}[1m]) > 0`, "{{instance}} started"),
		mark("Pages", "red", `ALERTS{alertname=~"Refresher.+",alertstate="firing",severity="page"}`, "{{alertname}}"),
	}
}
