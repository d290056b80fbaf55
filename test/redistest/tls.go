package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// StartTLS is Start with TLS on the server's port. It returns with the server
// the PEM file of the authority that signed its certificate, which is for
// 127.0.0.1 and localhost. Clients need none.
func StartTLS(t testing.TB, config ...string) (s *Server, ca string) {
	t.Helper()
	s = newServer(t, tlsKind)
	ca = filepath.Join(s.dir, "ca.pem")
	certificate, key := filepath.Join(s.dir, "server.pem"), filepath.Join(s.dir, "server.key")
	if err := writeCertificates(ca, certificate, key); err != nil {
		t.Fatalf("redistest: make certificates: %v", err)
	}
	s.start(append([]string{
		"tls-ca-cert-file " + ca,
		"tls-cert-file " + certificate,
		"tls-key-file " + key,
		"tls-auth-clients no",
	}, config...)...)
	return s, ca
}

// writeCertificates makes an authority, and a server's certificate and key
// under it. The authority's key is forgotten.
func writeCertificates(caFile, serverFile, keyFile string) error {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	const day = 24 * time.Hour
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "redistest authority"},
		NotBefore:             now.Add(-day),
		NotAfter:              now.Add(day),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "redistest server"},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:  []net.IP{net.ParseIP(loopback)},
		DNSNames:     []string{"localhost"},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	serverDER, err := x509.CreateCertificate(rand.Reader, server, ca, &serverKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		return err
	}
	for _, file := range []struct {
		name, sort string
		der        []byte
	}{
		{caFile, "CERTIFICATE", caDER},
		{serverFile, "CERTIFICATE", serverDER},
		{keyFile, "PRIVATE KEY", keyDER},
	} {
		text := pem.EncodeToMemory(&pem.Block{Type: file.sort, Bytes: file.der})
		if err := os.WriteFile(file.name, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}
