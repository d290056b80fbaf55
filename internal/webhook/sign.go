package webhook

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// signer signs requests with each of its keys.
type signer []*standardwebhooks.Webhook

// newSigner reads the secret of the flag "<name>-secret", and the one before, which
// may be empty, of "<name>-previous-secret".
func newSigner(name, secret, previous string) (signer, error) {
	key, err := parseSecret(name+"-secret", secret)
	if err != nil {
		return nil, err
	}
	keys := [][]byte{key}
	if previous != "" {
		if key, err = parseSecret(name+"-previous-secret", previous); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	var s signer
	for _, key := range keys {
		one, err := standardwebhooks.NewWebhookRaw(key)
		if err != nil {
			return nil, fmt.Errorf("%s-secret: %w", name, err)
		}
		s = append(s, one)
	}
	return s, nil
}

// sign sets the headers that prove where body comes from.
func (s signer) sign(header http.Header, id string, at time.Time, body []byte) error {
	var signatures []string
	for _, one := range s {
		signature, err := one.Sign(id, at, body)
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
