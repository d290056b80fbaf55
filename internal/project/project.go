package project

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"refresher/internal/access/credential"
	"refresher/internal/agora"
)

// Project is one Agora project that tokens are made for.
type Project struct {
	AppID string
	// Certificates are its App Certificates. The first signs tokens. The signatures of the
	// others, such as the previous or the next one, are recognised, and resume keys that
	// other nodes sealed with them are opened.
	Certificates []string
	// CertificateFile has the Certificates, one a line. It is read again when it changes.
	// Empty: they do not change.
	CertificateFile string
	// Keys check the signatures of credentials, which must name Issuer and Audience if
	// those are set.
	Keys     credential.Keys
	Audience string
	Issuer   string
	// KeyFiles are the files that ReadKeys reads the Keys from. It is called again when
	// one of them changes.
	KeyFiles []string
	ReadKeys func() (credential.Keys, error)
}

// credentials returns what credentials of the project are checked with.
func (p *Project) credentials() credential.Project {
	return credential.Project{App: p.AppID, Keys: p.Keys, Audience: p.Audience, Issuer: p.Issuer}
}

// maxCertificates is how many App Certificates a project may have.
const maxCertificates = 8

// ParseCertificates reads App Certificates, one a line.
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
