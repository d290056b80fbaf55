package main

import (
	"fmt"
	"net/http"
	"os"

	"refresher/internal/session"
)

type certificatesCommand struct {
	operator `embed:""`
}

// certificateInfo is one App Certificate in the service's answer.
type certificateInfo struct {
	Fingerprint     string          `json:"fingerprint"`
	SignedBy        []string        `json:"signedBy"`
	Sessions        int             `json:"sessions"`
	Detached        int             `json:"detached"`
	LastTokenEndsAt session.UnixSec `json:"lastTokenEndsAt"`
	MayBeDeleted    bool            `json:"mayBeDeleted"`
	Why             string          `json:"why"`
}

// Run prints a line for each App Certificate: how many sessions hold tokens that it signed, and whether it
// may be deleted.
func (c *certificatesCommand) Run() error {
	var r struct {
		Certificates []certificateInfo `json:"certificates"`
		Partial      bool              `json:"partial"`
	}
	return c.show(http.MethodGet, "/v1/certificates", "", &r, func() error {
		table := table()
		fmt.Fprintln(table, "CERTIFICATE\tNODES\tSESSIONS\tDETACHED\tLAST TOKEN ENDS\tMAY BE DELETED")
		for _, one := range r.Certificates {
			verdict := "no: " + one.Why
			if one.MayBeDeleted {
				verdict = "yes: " + one.Why
			}
			fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\t%s\n", one.Fingerprint, len(one.SignedBy), one.Sessions, one.Detached, in(one.LastTokenEndsAt), verdict)
		}
		if r.Partial {
			defer fmt.Fprintln(os.Stderr, "there was no time to count all sessions")
		}
		return table.Flush()
	})
}
