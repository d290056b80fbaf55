package hook

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// signer signs each request with all of its keys. While a secret is being replaced there are two keys, and a receiver
// may verify a request with either key.
type signer []*standardwebhooks.Webhook

// newSigner parses the values of the flags "<name>-secret" and "<name>-previous-secret". The previous secret
// may be empty.
func newSigner(name, secret, previous string) (signer, error) {
	key, err := parseSecret(name+"-secret", secret)
	if err != nil || previous == "" {
		return signer{key}, err
	}
	before, err := parseSecret(name+"-previous-secret", previous)
	return signer{key, before}, err
}

// minKey and maxKey are the sizes of a signing key in bytes that Standard Webhooks allows. A secret without
// the prefix whsec_ may be longer than maxKey, since a character of text has less entropy than a random byte.
const minKey, maxKey = 24, 64

// parseSecret returns the signing key of a secret: the decoded base64 after "whsec_", or the secret itself
// without that prefix. Errors contain no part of the secret.
func parseSecret(flag, secret string) (*standardwebhooks.Webhook, error) {
	const prefix = "whsec_"
	encoded, prefixed := strings.CutPrefix(secret, prefix)
	if secret == "" {
		return nil, fmt.Errorf("%s: is missing; want a secret of at least %d bytes that signs the requests, for example from openssl rand -hex 32", flag, minKey)
	}
	if !prefixed {
		if len(secret) < minKey {
			return nil, fmt.Errorf("%s: want at least %d bytes, have %d", flag, minKey, len(secret))
		}
		return standardwebhooks.NewWebhookRaw([]byte(secret))
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("%s: the text after %s is not base64; want %d to %d bytes in base64, for example from openssl rand -base64 32", flag, prefix, minKey, maxKey)
	}
	if len(key) < minKey || len(key) > maxKey {
		return nil, fmt.Errorf("%s: want %d to %d bytes in base64 after %s, have %d", flag, minKey, maxKey, prefix, len(key))
	}
	return standardwebhooks.NewWebhookRaw(key)
}

// sign sets the webhook headers: id, timestamp and signatures of body.
func (s signer) sign(header http.Header, id string, at time.Time, body []byte) error {
	var signatures []string
	for _, key := range s {
		signature, err := key.Sign(id, at, body)
		if err != nil {
			return fmt.Errorf("sign: %w", err)
		}
		signatures = append(signatures, signature)
	}
	header.Set(standardwebhooks.HeaderWebhookID, id)
	header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return nil
}
