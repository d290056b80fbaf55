package main

// chosen is the label matcher in every query: it selects the services and nodes that the user chose.
const chosen = `job=~"$job",instance=~"$node"`

// byBucket returns the rates of a histogram's buckets, summed by bucket.
func byBucket(name, labels string) string {
	by := "le"
	if labels != "" {
		by += ", " + labels
	}
	return `sum by (` + by + `) (rate(` + name + `_bucket{` + chosen + `}[$__rate_interval]))`
}

func quantile(q, name, labels string) string {
	return `histogram_quantile(` + q + `, ` + byBucket(name, labels) + `)`
}

// rate returns the rate of a counter, summed by labels.
func rate(name, matchers, labels string) string {
	if matchers != "" {
		matchers = "," + matchers
	}
	by := ""
	if labels != "" {
		by = " by (" + labels + ")"
	}
	return `sum` + by + ` (rate(` + name + `{` + chosen + matchers + `}[$__rate_interval]))`
}

func of(name string) string { return name + `{` + chosen + `}` }

// connected is the rate of renewals by margin. It leaves out the renewals of clients whose tokens had already expired,
// since these clients had no connection.
const connected = `(sum by (le) (rate(refresher_renewal_margin_seconds_bucket{` + chosen + `}[$__rate_interval]))` +
	` - ignoring (le) group_left sum(rate(refresher_renewal_margin_seconds_bucket{` + chosen + `,le=~"0|0[.]0"}[$__rate_interval])))`

// bad and good count the renewals of the last 30 days, as docs/operate/runbook.md defines them. The recording rules sum
// them by service and not by node, since there would be too many raw series in 30 days. Both have a sample for each
// evaluation of the rules, so that their sums can be compared.
const (
	bad  = `sum(sum_over_time(job:refresher_renewals_bad:rate5m{job=~"$job"}[30d]))`
	good = `sum(sum_over_time(job:refresher_renewals_good:rate5m{job=~"$job"}[30d]))`
)

var (
	none    = []threshold{{color: "green"}, {1, "red"}}
	isUp    = []threshold{{color: "red"}, {1, "green"}}
	ofLimit = []threshold{{color: "green"}, {.8, "orange"}, {.95, "red"}}
)

var rows = []row{
	{panels: []panel{
		{
			kind: "stat", title: "Calls at risk now", unit: "short", anchor: "refreshersessionsatrisk", w: 4, h: 4, thresholds: none,
			description: "Connected, pushed, not confirmed, and less than 30 s of their tokens left.",
			queries:     []query{{`sum(` + of("refresher_sessions_at_risk") + `)`, "at risk"}},
		},
		{
			kind: "stat", title: "Margin, the worst 1%", unit: "s", anchor: "refresherbudgetburnsfast", w: 4, h: 4,
			thresholds: []threshold{{color: "red"}, {30, "green"}}, calm: "no renewals",
			description: "Remaining life of the old tokens when clients confirmed the new ones: 99 of 100 had more. Clients that reconnected after their tokens had expired are not counted. Valid for tokens of two minutes or more.",
			queries:     []query{{`histogram_quantile(0.01, ` + connected + `)`, "p1"}},
		},
		{
			kind: "stat", title: "Push lag, p99", unit: "s", anchor: "refresherpusheslate", w: 4, h: 4,
			thresholds: []threshold{{color: "green"}, {1, "orange"}, {10, "red"}}, calm: "no renewals",
			description: "How late the nodes send: from when a renewal was due to when it was written to the connection.",
			queries:     []query{{quantile("0.99", "refresher_push_lag_seconds", ""), "p99"}},
		},
		{
			kind: "stat", title: "Ran out, last hour", unit: "short", anchor: "refreshertokensranout", w: 4, h: 4,
			thresholds:  []threshold{{color: "green"}, {1, "orange"}},
			description: "Connected clients whose tokens expired before they confirmed new ones. Sleeping phones and closed tabs are not counted here: see Renewals by outcome.",
			queries:     []query{{`sum(increase(refresher_tokens_ran_out_total{` + chosen + `,client="attached"}[1h]))`, "attached"}},
		},
		{
			kind: "stat", title: "Store", unit: "bool_on_off", anchor: "refresherstoreaway", w: 4, h: 4, thresholds: isUp, calm: "no Redis",
			description: "Whether every node reaches all of Redis. Calls go on without it.",
			queries:     []query{{`min(` + of("refresher_store_up") + `)`, "up"}},
		},
		{
			kind: "stat", title: "Nodes not ready", unit: "short", anchor: "refreshernodenotready", w: 4, h: 4, thresholds: none,
			description: "Nodes that accept no new calls: they drain, have not loaded the revocations, or could not renew in time; and nodes that do not answer.",
			queries:     []query{{`count(up{` + chosen + `}) - (sum(` + of("refresher_ready") + `) or vector(0))`, "not ready"}},
		},
	}},
	{title: "The promise", panels: []panel{
		{
			kind: "timeseries", title: "Margin", unit: "s", anchor: "the-objective", thresholds: []threshold{{color: "transparent"}, {30, "red"}},
			description: "Life left in the old tokens at the ack: for the worst of 100, the worst of 10, and half. The line is the 30 s that are promised.", calm: "no renewals",
			queries: []query{
				{`histogram_quantile(0.01, ` + connected + `)`, "p1"}, {`histogram_quantile(0.1, ` + connected + `)`, "p10"}, {`histogram_quantile(0.5, ` + connected + `)`, "p50"},
			},
		},
		{
			kind: "timeseries", title: "At risk, by node", unit: "short", anchor: "refreshersessionsatrisk",
			description: "Connected, pushed, not confirmed, under 30 s left.",
			queries:     []query{{`sum by (instance) (` + of("refresher_sessions_at_risk") + `)`, "{{instance}}"}},
		},
		{
			kind: "stat", title: "Error budget left, 30 days", unit: "percentunit", anchor: "the-objective",
			thresholds: []threshold{{color: "red"}, {.25, "orange"}, {.5, "green"}}, calm: "no renewals",
			description: "Of the one renewal in 10,000 that may come late, how much is left. Below 0 the objective is missed. It is the service's, whatever nodes are chosen, and knows as many days as Prometheus keeps.",
			queries:     []query{{`1 - (` + bad + ` / (` + bad + ` + ` + good + ` > 0)) / 0.0001`, "left"}},
		},
		{
			kind: "timeseries", title: "Renewals by outcome", unit: "ops", anchor: "refreshertokensranout", stacked: true,
			description: "acked: confirmed. nacked: refused by the SDK. expired: expired unconfirmed. ended: the session ended first.",
			queries:     []query{{rate("refresher_renewals_total", "", "outcome"), "{{outcome}}"}},
		},
		{
			kind: "timeseries", title: "Push lag", unit: "s", anchor: "refresherpusheslate", calm: "no renewals",
			description: "From due to written. It is the node's own, and under 10 ms where it has time.",
			queries: []query{
				{quantile("0.5", "refresher_push_lag_seconds", ""), "p50"}, {quantile("0.99", "refresher_push_lag_seconds", ""), "p99"}, {`max(` + of("refresher_schedule_behind_seconds") + `)`, "the most overdue now"},
			},
		},
		{
			kind: "timeseries", title: "Ack time, and pushes repeated", unit: "s", units: map[string]string{"share repeated": "percentunit"}, anchor: "refreshernacks", calm: "no renewals",
			description: "From the last push to the ack: the network and the client. Beside it the share of pushes that had to be repeated.",
			queries: []query{
				{quantile("0.5", "refresher_ack_seconds", ""), "p50"},
				{quantile("0.99", "refresher_ack_seconds", ""), "p99"},
				{rate("refresher_pushes_total", `attempt="repeated"`, "") + ` / (` + rate("refresher_pushes_total", "", "") + ` > 0)`, "share repeated"},
			},
		},
	}},
	{title: "Load", panels: []panel{
		{
			kind: "timeseries", title: "Sessions", unit: "short", anchor: "refreshernodefull", stacked: true,
			description: "Attached: connected. Detached: waiting for their client, until their tokens expire.",
			queries:     []query{{`sum by (state) (` + of("refresher_sessions") + `)`, "{{state}}"}},
		},
		{
			kind: "timeseries", title: "Sessions, by node", unit: "short", anchor: "refreshernodefull",
			description: "A node with far fewer than the others is new, or gets no clients from the load balancer.",
			queries:     []query{{`sum by (instance) (` + of("refresher_sessions") + `)`, "{{instance}}"}},
		},
		{
			kind: "timeseries", title: "Falls due", unit: "short", anchor: "refresherpeakahead",
			description: "How many sessions are due within 1, 5 and 15 minutes.",
			queries: []query{
				{`sum(refresher_schedule_due_seconds_bucket{` + chosen + `,le=~"60|60[.]0"})`, "within 1 min"},
				{`sum(refresher_schedule_due_seconds_bucket{` + chosen + `,le=~"300|300[.]0"})`, "within 5 min"},
				{`sum(refresher_schedule_due_seconds_bucket{` + chosen + `,le=~"900|900[.]0"})`, "within 15 min"},
			},
		},
		{
			kind: "timeseries", title: "Tokens issued, by service and cause", unit: "ops", anchor: "refreshertokensnotminted", stacked: true,
			description: "Up to three a bundle: RTC, RTM, Chat.",
			queries:     []query{{rate("refresher_tokens_issued_total", "", "service, cause"), "{{service}}, {{cause}}"}},
		},
		{
			kind: "timeseries", title: "Tokens that could not be minted", unit: "ops", anchor: "refreshertokensnotminted",
			description: "Each is tried again after a second. There should be none, ever.",
			queries:     []query{{rate("refresher_renewal_errors_total", "", "instance"), "{{instance}}"}},
		},
		{
			kind: "timeseries", title: "Moved between nodes", unit: "ops", anchor: "what-each-failure-looks-like",
			description: "adopted: from a dead node, with no client connected. lost: to another node, where the client now is.",
			queries:     []query{{rate("refresher_sessions_moved_total", "", "how"), "{{how}}"}},
		},
	}},
	{title: "Clients", panels: []panel{
		{
			kind: "timeseries", title: "Joins and resumes", unit: "ops", anchor: "refresherjoinsfail", stacked: true,
			description: "First messages of connections, by outcome: joined, resumed, or why they were refused.",
			queries:     []query{{rate("refresher_joins_total", "", "outcome"), "{{outcome}}"}},
		},
		{
			kind: "timeseries", title: "Connections", unit: "short", anchor: "refresherconnectionslost",
			description: "Open WebSockets, by node.",
			queries:     []query{{`sum by (instance) (` + of("refresher_connections") + `)`, "{{instance}}"}},
		},
		{
			kind: "timeseries", title: "Closed, by code", unit: "ops", anchor: "refresherconnectionslost", stacked: true,
			description: "1000 left, 1006 broken, 1012 drained, 4001 silent, 4002 too slow, 4409 came back elsewhere; docs/build/protocol.md has all.",
			queries:     []query{{rate("refresher_connections_closed_total", "", "code") + ` > 0 or ` + rate("refresher_connections_closed_total", `code="1000"`, "code"), "{{code}}"}},
		},
		{
			kind: "timeseries", title: "HTTP requests", unit: "reqps", anchor: "refresherhttpfails", stacked: true,
			description: "The token endpoints, renewals over HTTP, and operators.",
			queries:     []query{{rate("refresher_http_requests_total", "", "route, code"), "{{route}} {{code}}"}},
		},
		{
			kind: "timeseries", title: "HTTP time, p99", unit: "s", anchor: "refresherhttpfails",
			description: "From request to answer, by route.", calm: "no requests",
			queries: []query{{quantile("0.99", "refresher_http_request_seconds", "route"), "{{route}}"}},
		},
		{
			kind: "timeseries", title: "Credentials", unit: "ops", anchor: "refresherjoinsrefused", stacked: true,
			description: "Checked, by outcome.", calm: "credentials are off",
			queries: []query{{rate("refresher_credentials_total", "", "outcome"), "{{outcome}}"}},
		},
	}},
	{title: "Redis", panels: []panel{
		{
			kind: "timeseries", title: "Time of operations, p99", unit: "s", anchor: "refresherstoreslow",
			description: "acquire: a client came back. save: a batch of changes. wish: an operator changes a session. sweep and claim: leases. list: operators.", calm: "no Redis",
			queries: []query{{quantile("0.99", "refresher_store_operation_seconds", "operation"), "{{operation}}"}},
		},
		{
			kind: "timeseries", title: "Operations", unit: "ops", anchor: "refresherstoreerrors", calm: "no Redis",
			description: "How many, and how many failed.",
			queries: []query{
				{rate("refresher_store_operation_seconds_count", "", "operation"), "{{operation}}"}, {rate("refresher_store_errors_total", "", ""), "failed"},
			},
		},
		{
			kind: "timeseries", title: "Not written yet", unit: "short", anchor: "refresherstorebehind",
			description: "Sessions whose last change is not in Redis yet. It grows while Redis is down, and falls to 0 within seconds when Redis is back.",
			queries:     []query{{`sum by (instance) (` + of("refresher_store_unwritten") + `)`, "{{instance}}"}, {`sum(` + of("refresher_store_dropped_total") + `)`, "ends dropped, ever"}},
		},
		{
			kind: "timeseries", title: "Clock offset", unit: "s", signed: true, anchor: "refresherclockoff", calm: "no Redis",
			description: "How far Redis's clock is ahead of the node's.",
			queries:     []query{{of("refresher_store_clock_offset_seconds"), "{{instance}}"}},
		},
		{
			kind: "timeseries", title: "Changes by operators", unit: "ops", anchor: "refresherstoreaway",
			description: "Changes of one session: role, new tokens, end. pending: the session's node has not confirmed yet. unstored: made while Redis was down. failed: not made.",
			queries:     []query{{rate("refresher_wishes_total", "", "outcome"), "{{outcome}}"}},
		},
		{
			kind: "timeseries", title: "Revocations", unit: "short", anchor: "refresherrevocationsunsaved",
			description: "Revocations in force, as the nodes know them; and revocations and lifts that are not in Redis yet.",
			queries:     []query{{`max(` + of("refresher_revocations") + `)`, "standing"}, {`sum(` + of("refresher_revocations_unsaved") + `)`, "unsaved"}},
		},
	}},
	{title: "The back end", panels: []panel{
		{
			kind: "timeseries", title: "Approval requests", unit: "ops", anchor: "refresherbackendfails", stacked: true, calm: "no --authorize-url",
			description: "Requests to the approval webhook, by outcome.",
			queries:     []query{{rate("refresher_authorize_seconds_count", "", "outcome"), "{{outcome}}"}},
		},
		{
			kind: "timeseries", title: "Time to an answer, p99; failing", unit: "s", units: map[string]string{"failing": "bool_yes_no"}, anchor: "refresherbackendaway", calm: "no --authorize-url",
			description: "failing is 1 while the webhook counts as failing: calls then go on for --authorize-grace.",
			queries:     []query{{quantile("0.99", "refresher_authorize_seconds", ""), "p99"}, {`max(` + of("refresher_authorize_circuit_open") + `)`, "failing"}},
		},
		{
			kind: "timeseries", title: "Events", unit: "ops", units: map[string]string{"waiting": "short"}, anchor: "refreshereventswait", calm: "no --events-url",
			description: "Delivered and dropped, and how many wait.",
			queries:     []query{{rate("refresher_events_total", "", "outcome"), "{{outcome}}"}, {`sum(` + of("refresher_events_queued") + `)`, "waiting"}},
		},
	}},
	{title: "Nodes", panels: []panel{
		{
			kind: "timeseries", title: "Processor", unit: "percentunit", anchor: "refresherrenewalsbehind",
			description: "Cores in use, and of how many.",
			queries:     []query{{`sum by (instance) (rate(process_cpu_seconds_total{` + chosen + `}[$__rate_interval]))`, "{{instance}}"}, {`max(` + of("go_sched_gomaxprocs_threads") + `)`, "cores that it may use"}},
		},
		{
			kind: "timeseries", title: "Memory", unit: "bytes", anchor: "refreshermemory",
			description: "Resident, and of it Go's heap.",
			queries:     []query{{of("process_resident_memory_bytes"), "{{instance}} resident"}, {of("go_memstats_heap_inuse_bytes"), "{{instance}} heap"}},
		},
		{
			kind: "timeseries", title: "Open files, of their limit", unit: "percentunit", anchor: "refresherfiledescriptors", thresholds: ofLimit,
			description: "One for each connection.",
			queries:     []query{{of("process_open_fds") + ` / ` + of("process_max_fds"), "{{instance}}"}},
		},
		{
			kind: "timeseries", title: "Goroutines", unit: "short", anchor: "refreshermemory",
			description: "About one for each connection.",
			queries:     []query{{of("go_goroutines"), "{{instance}}"}},
		},
		{
			kind: "timeseries", title: "Garbage collection", unit: "percentunit", anchor: "refreshermemory",
			description: "Share of the time in which the program was paused.",
			queries:     []query{{`sum by (instance) (rate(go_gc_duration_seconds_sum{` + chosen + `}[$__rate_interval]))`, "{{instance}}"}},
		},
		{
			kind: "timeseries", title: "Files that are followed, and TLS", unit: "short", anchor: "refresherfilesbroken",
			description: "Certificates and keys that cannot be read, so that the previous ones stay in use; and, with TLS, the days until its certificate expires.",
			queries:     []query{{`sum by (instance) (` + of("refresher_files_broken") + `)`, "{{instance}} broken"}, {`(min(` + of("refresher_tls_certificate_expires_seconds") + `) - time()) / 86400`, "days of TLS left"}},
		},
		{
			kind: "timeseries", title: "Sessions by App Certificate", unit: "short", anchor: "refresheroldcertificatelingers", stacked: true,
			description: "By the fingerprint of the certificate that has signed the tokens they hold, and how many nodes sign with it. In a rotation all move to the new one within --certificate-spread.",
			queries:     []query{{`sum by (fingerprint) (` + of("refresher_sessions_by_certificate") + `)`, "{{fingerprint}}"}, {`count by (fingerprint) (` + of("refresher_certificate_signs") + `)`, "nodes that sign with {{fingerprint}}"}},
		},
		{
			kind: "table", title: "Builds", unit: "none", anchor: "refresherversionskew", w: 24, h: 6,
			description: "What runs where. Two versions at once are a deployment under way, or one that stopped half-way.",
			queries:     []query{{`sum by (version, revision, go_version, instance) (` + of("refresher_build_info") + `)`, "{{instance}} {{version}}"}},
		},
	}},
}
