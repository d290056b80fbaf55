package client

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

const webSocketPath = "/v1/ws"

// endpoint returns the URL of the service's WebSocket. The parameter `text` is that URL, or the URL of the service,
// such as https://calls.example.com or, with a --base-path, https://example.com/calls.
func endpoint(text string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Host == "" {
		return "", errors.New("url: want a scheme and a host, such as https://calls.example.com or ws://127.0.0.1:8080/v1/ws")
	}
	switch u.Scheme {
	case "http", "https":
		u.Scheme = "ws" + strings.TrimPrefix(u.Scheme, "http")
		u.Path = strings.TrimSuffix(u.Path, "/")
		if !strings.HasSuffix(u.Path, webSocketPath) {
			u.Path += webSocketPath
		}
	case "ws", "wss":
		if u.Path == "" || u.Path == "/" {
			u.Path = webSocketPath
		}
	default:
		return "", fmt.Errorf("url: want ws:// or wss://, such as wss://calls.example.com/v1/ws; have %q", u.Scheme+"://")
	}
	return u.String(), nil
}

// HandshakeError means that the server at the URL refused the WebSocket handshake. It may be the Err of an Event.
type HandshakeError struct {
	Status int // status code of the HTTP response
}

func (e *HandshakeError) Error() string {
	return fmt.Sprintf("the URL answers %d %s to a WebSocket", e.Status, http.StatusText(e.Status))
}

// dialError returns the cause of a failed handshake. It omits the URL from the error, since the query may contain a
// secret.
func dialError(response *http.Response, err error) error {
	if response != nil && response.StatusCode != http.StatusSwitchingProtocols {
		return &HandshakeError{response.StatusCode}
	}
	if wrong, ok := errors.AsType[*url.Error](err); ok {
		return wrong.Err
	}
	return err
}
