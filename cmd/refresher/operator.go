package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// operator has the flags that all commands for operators share, and their HTTP client.
type operator struct {
	URL        string `env:"REFRESHER_API_URL" default:"http://127.0.0.1:8080" help:"URL of the service."`
	Credential string `env:"REFRESHER_CREDENTIAL" placeholder:"JWT" help:"Credential with the scope admin. Give it by the environment, since process lists show flags."`
	JSON       bool   `name:"json" help:"Print JSON."`
}

// operatorTimeout limits one request, from dialling to the end of the answer.
const operatorTimeout = 30 * time.Second

const maxAnswer = 8 << 20

// base returns the URL of the HTTP API, without a final slash. The flag --url may also have the URL of the
// service's WebSocket.
func (o *operator) base() (string, error) {
	u, err := url.Parse(o.URL)
	if err == nil && (u.Scheme == "ws" || u.Scheme == "wss") {
		u.Scheme = "http" + strings.TrimPrefix(u.Scheme, "ws")
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", errors.New("--url: want http://host:port or https://host")
	}
	return strings.TrimSuffix(strings.TrimSuffix(u.String(), "/"), "/v1/ws"), nil
}

// ask sends a request with a JSON body, or without a body if `body` is empty. It decodes the answer into `into`, and
// returns a *refusalError if the status is not 200.
func (o *operator) ask(method, path, body string, into any) error {
	base, err := o.base()
	if err != nil {
		return err
	}
	if err := resolveSecrets(flagged("--credential", &o.Credential, "")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), operatorTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, base+path, strings.NewReader(body))
	if err != nil {
		return errors.New("--url: want http://host:port or https://host")
	}
	if o.Credential != "" {
		r.Header.Set("Authorization", "Bearer "+o.Credential)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		refusal := refusalError{status: answer.Status}
		_ = json.Unmarshal(text, &refusal.body) // a proxy may answer with a text that is not JSON
		return &refusal
	}
	return understand(text, into)
}

// refusalError is an answer whose status is not 200.
type refusalError struct {
	status string
	body   struct {
		Error string
		Done  json.RawMessage // what the node has done despite the error; empty if nothing
	}
}

func (e *refusalError) Error() string {
	return strings.TrimSuffix("the service answers "+e.status+": "+e.body.Error, ": ")
}

// list yields the elements of a list that the service returns in pages. The JSON field `member` of each page has its
// elements.
func (o *operator) list(path string, query url.Values, member string) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		for {
			var page map[string]json.RawMessage
			var elements []json.RawMessage
			var cursor string
			err := o.ask(http.MethodGet, path+"?"+query.Encode(), "", &page)
			if err == nil {
				err = understand(page[member], &elements)
			}
			if next, more := page["cursor"]; more && err == nil {
				err = understand(next, &cursor)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for _, element := range elements {
				if !yield(element, nil) {
					return
				}
			}
			if cursor == "" {
				return
			}
			query.Set("cursor", cursor)
		}
	}
}

// printList prints a table with one line for each element: its head is `columns`, and the function `row` returns the
// cells of an element. With --json it prints each element as a line of JSON. It stops after `most` elements; 0 means no
// limit.
func (o *operator) printList(elements iter.Seq2[json.RawMessage, error], most int, columns string, row func(json.RawMessage) ([]string, error)) error {
	table := table()
	if !o.JSON {
		fmt.Fprintln(table, columns)
	}
	listed := 0
	for element, err := range elements {
		if err != nil && listed == 0 {
			return err // the head of an empty table would look like an answer
		}
		if err != nil {
			return errors.Join(table.Flush(), err)
		}
		if most > 0 && listed == most {
			fmt.Fprintf(os.Stderr, "stopped after %d; see --max\n", listed)
			break
		}
		listed++
		if o.JSON {
			fmt.Println(string(element))
			continue
		}
		cells, err := row(element)
		if err != nil {
			return errors.Join(table.Flush(), err)
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	return table.Flush()
}

func understand(text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("the service's answer cannot be decoded: %w", err)
	}
	return nil
}

// show sends a request. With --json it prints the answer; otherwise it decodes the answer into `into`, which the
// function `report` then prints.
func (o *operator) show(method, path, body string, into any, report func() error) error {
	var raw json.RawMessage
	if err := o.ask(method, path, body, &raw); err != nil {
		return err
	}
	if o.JSON {
		return printJSON(raw)
	}
	if err := understand(raw, into); err != nil {
		return err
	}
	return report()
}

func printJSON(v any) error {
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(v)
}

func printRows(rows [][2]string) error {
	table := table()
	for _, row := range rows {
		fmt.Fprintf(table, "%s\t%s\n", row[0], row[1])
	}
	return table.Flush()
}

// table returns a writer that aligns columns which are separated by tabs. The caller must flush it.
func table() *tabwriter.Writer { return tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0) }
