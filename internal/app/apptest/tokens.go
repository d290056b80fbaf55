package apptest

import (
	"fmt"
	"strings"

	"refresher/internal/agora"
)

// ServicesOf says what a token opens, such as: 007 rtc "c" "7" 1 2 3 4, rtm "7" 1.
// A 006 token has no names.
func ServicesOf(text string) (string, error) {
	token, err := agora.Parse(text)
	if err != nil {
		return "", err
	}
	var services []string
	for _, s := range token.Services {
		words := []string{s.Type.String()}
		if s.Type == agora.ServiceRTC && token.Version == agora.V007 {
			words = append(words, fmt.Sprintf("%q", s.Channel))
		}
		if token.Version == agora.V007 {
			words = append(words, fmt.Sprintf("%q", s.User))
		}
		for _, p := range s.Privileges {
			words = append(words, fmt.Sprint(p.ID))
			if p.ExpiresAt != token.ExpiresAt {
				return "", fmt.Errorf("privilege %d of %s ends at %d, the token at %d", p.ID, s.Type, p.ExpiresAt, token.ExpiresAt)
			}
		}
		services = append(services, strings.Join(words, " "))
	}
	return string(token.Version) + " " + strings.Join(services, ", "), nil
}
