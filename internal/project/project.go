package project

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"refresher/internal/access/credential"
	"refresher/internal/agora"
)

// Project is one Agora project that this node mints tokens for.
type Project struct {
	AppID string
	// Certificates are the project's App Certificates. The first one signs tokens. The other certificates, such as the
	// previous or the next one, only verify tokens, and decrypt resume keys that other nodes encrypted with them.
	Certificates []string
	// CertificateFile is the path of a file with the Certificates, one per line. The file is read again when it changes.
	// If the path is empty, the Certificates never change.
	CertificateFile string
	// Keys verify the signatures of credentials. If Issuer and Audience are set, credentials must name them.
	Keys     credential.Keys
	Audience string
	Issuer   string
	// KeyFiles are the files from which ReadKeys reads the Keys. ReadKeys is called again when one of the files changes.
	KeyFiles []string
	ReadKeys func() (credential.Keys, error)
}

// credentials returns the project in the form that package credential needs.
func (p *Project) credentials() credential.Project {
	return credential.Project{App: p.AppID, Keys: p.Keys, Audience: p.Audience, Issuer: p.Issuer}
}

const maxCertificates = 8

// ParseCertificates parses App Certificates, one per line.
func ParseCertificates(text string) ([]string, error) {
	certificates := strings.Fields(strings.TrimPrefix(text, "\ufeff"))
	if len(certificates) == 0 {
		return nil, errors.New("is empty; want an App Certificate, or several, one a line, the one that signs first")
	}
	if len(certificates) > maxCertificates {
		return nil, fmt.Errorf("has %d words; want at most %d App Certificates, one a line", len(certificates), maxCertificates)
	}
	for i, c := range certificates {
		if strings.ContainsAny(c, `"'`) {
			return nil, errors.New("is in quotes; leave them out")
		}
		if before := slices.Index(certificates[:i], c); before >= 0 {
			return nil, fmt.Errorf("has the same App Certificate twice, as number %d and %d; want each once", before+1, i+1)
		}
		if err := agora.CheckCertificate(c); err != nil {
			if len(certificates) > 1 {
				err = fmt.Errorf("certificate %d: %w", i+1, err)
			}
			return nil, err
		}
	}
	return certificates, nil
}
