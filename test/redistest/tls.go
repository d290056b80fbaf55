package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// StartTLS is Start with TLS on the server's port. It returns the server, and the PEM file of
// the authority that signed the server's certificate, which is for 127.0.0.1 and localhost.
// Clients need no certificate.
func StartTLS(t testing.TB, config ...string) (s *Server, ca string) {
	t.Helper()
	a := NewAuthority(t)
	s = newServer(t, tlsKind)
	s.start(append(a.settings(s.host, "localhost"), append([]string{"tls-auth-clients no"}, config...)...)...)
	return s, a.CAFile
}

// StartTLSFor is Start with TLS on the server's port, with a certificate for a name or an
// address. The server requires its clients to have a certificate of the same authority.
func StartTLSFor(t testing.TB, a *Authority, host string, config ...string) *Server {
	t.Helper()
	s := newServer(t, tlsKind)
	s.start(append(a.settings(host), config...)...)
	return s
}

// Authority signs the certificates of servers and clients. Its methods can fail the test.
type Authority struct {
	// CAFile holds the authority's own certificate, in PEM.
	CAFile string

	t      testing.TB
	dir    string
	ca     *x509.Certificate
	key    *ecdsa.PrivateKey
	issued int64
}

const day = 24 * time.Hour

// NewAuthority makes a certificate authority for the test.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, dir: t.TempDir(), ca: &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "redistest authority"},
		NotBefore:             time.Now().Add(-day),
		NotAfter:              time.Now().Add(day),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}}
	a.CAFile = filepath.Join(a.dir, "ca.pem")
	a.key = a.newKey()
	a.write(a.CAFile, "CERTIFICATE", a.sign(a.ca, a.key))
	return a
}

// Issue makes a certificate for names and addresses, usable by servers and clients. It returns
// the PEM files of the certificate and its key.
func (a *Authority) Issue(hosts ...string) (certFile, keyFile string) {
	a.t.Helper()
	a.issued++
	c := &x509.Certificate{
		SerialNumber: big.NewInt(a.issued + 1),
		Subject:      pkix.Name{CommonName: fmt.Sprintf("redistest %d", a.issued)},
		NotBefore:    a.ca.NotBefore,
		NotAfter:     a.ca.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, host)
		}
	}
	key := a.newKey()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatalf("redistest: %v", err)
	}
	certFile = filepath.Join(a.dir, fmt.Sprintf("%d.pem", a.issued))
	keyFile = filepath.Join(a.dir, fmt.Sprintf("%d.key", a.issued))
	a.write(certFile, "CERTIFICATE", a.sign(c, key))
	a.write(keyFile, "PRIVATE KEY", der)
	return certFile, keyFile
}

// settings returns the settings of a server with a certificate for hosts. By default such a
// server requires a certificate of its clients.
func (a *Authority) settings(hosts ...string) []string {
	a.t.Helper()
	certFile, keyFile := a.Issue(hosts...)
	return []string{"tls-ca-cert-file " + a.CAFile, "tls-cert-file " + certFile, "tls-key-file " + keyFile}
}

func (a *Authority) newKey() *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatalf("redistest: %v", err)
	}
	return key
}

func (a *Authority) sign(c *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, a.ca, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatalf("redistest: %v", err)
	}
	return der
}

func (a *Authority) write(file, sort string, der []byte) {
	a.t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: sort, Bytes: der})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		a.t.Fatalf("redistest: %v", err)
	}
}
