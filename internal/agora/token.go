package agora

import (
	"strconv"

	"github.com/AgoraIO/Tools/DynamicKey/AgoraDynamicKey/go/src/accesstoken2"

	"refresher/internal/session"
)

// Token is a parsed token. Its content is not authenticated before [Token.Verify].
type Token struct {
	Version Version `json:"version"`
	AppID   string  `json:"appId"`
	// IssuedAt is when the token was issued. In a 006 token it is computed as the field ts minus 24
	// hours, since Agora's builders set ts to 24 hours after the issue.
	IssuedAt session.UnixSec `json:"issuedAt"`
	// ValidUntil is the token's own expiry; in a 006 token it is 24 hours after IssuedAt.
	ValidUntil session.UnixSec `json:"validUntil"`
	// ExpiresAt is when the first right of the token expires: the earliest of ValidUntil and
	// the expiries of its privileges.
	ExpiresAt session.UnixSec `json:"expiresAt"`
	Salt      uint32          `json:"salt"`
	Services  []Service       `json:"services"`
	// Checksums is nil in 007. A 006 token has checksums instead of names, so its service has
	// no channel and no user.
	Checksums *Checksums `json:"checksums,omitempty"`

	signature []byte
	signed    []byte // the signed bytes: the body of a 007 token, or the message of a 006 token
}

// Service is one service that a token grants. Names may have any bytes, since a token may come
// from anyone.
type Service struct {
	Type       ServiceType `json:"type"`
	Privileges []Privilege `json:"privileges"` // sorted by ID
	// Channel is set only for RTC.
	Channel string `json:"channel,omitempty"`
	// For RTC, User is the uid in decimal or the account. For RTM, Chat and APaaS, it is the user id. An empty User
	// means any RTC user (uid 0), or Chat's app token.
	User string `json:"user,omitempty"`
	// Room and Role are set only for APaaS. A Role of -1 means no role.
	Room string `json:"room,omitempty"`
	Role int16  `json:"role,omitempty"`
}

// Privilege is one right within a service, such as to join a channel.
type Privilege struct {
	ID uint16 `json:"id"`
	// Name is this package's name for the privilege; empty if this package does not know it.
	Name string `json:"name,omitempty"`
	// ExpiresAt is 0 if the privilege expires only with the token.
	ExpiresAt session.UnixSec `json:"expiresAt"`
}

// Checksums are the CRC-32 (IEEE) checksums in a 006 token. In an RTM token, Channel is the
// checksum of the user id. The checksums are not signed.
type Checksums struct {
	Channel uint32 `json:"channel"`
	User    uint32 `json:"user"`
}

// ServiceType numbers an Agora service.
type ServiceType uint16

// These are the services that Agora's Go module defines.
const (
	ServiceRTC   ServiceType = accesstoken2.ServiceTypeRtc
	ServiceRTM   ServiceType = accesstoken2.ServiceTypeRtm
	ServiceFPA   ServiceType = accesstoken2.ServiceTypeFpa
	ServiceChat  ServiceType = accesstoken2.ServiceTypeChat
	ServiceAPaaS ServiceType = accesstoken2.ServiceTypeApaas
)

// String returns the service's name, or its number if it has no name.
func (t ServiceType) String() string {
	switch t {
	case ServiceRTC:
		return "rtc"
	case ServiceRTM:
		return "rtm"
	case ServiceFPA:
		return "fpa"
	case ServiceChat:
		return "chat"
	case ServiceAPaaS:
		return "apaas"
	}
	return strconv.Itoa(int(t))
}

// ParseService parses the name of a service. It accepts only services for which this package mints tokens.
func ParseService(word string) (ServiceType, error) {
	for _, t := range []ServiceType{ServiceRTC, ServiceRTM, ServiceChat} {
		if word == t.String() {
			return t, nil
		}
	}
	return 0, badRequest(`service: want "rtc", "rtm" or "chat"`)
}

// MarshalText implements encoding.TextMarshaler with the service's name.
func (t ServiceType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// privilegeName returns the name of a privilege. It serves both formats, since RTC's privileges have the same numbers
// in 006 and 007.
func privilegeName(t ServiceType, id uint16) string {
	switch t {
	case ServiceRTC:
		switch id {
		case accesstoken2.PrivilegeJoinChannel:
			return "join"
		case accesstoken2.PrivilegePublishAudioStream:
			return "publish audio"
		case accesstoken2.PrivilegePublishVideoStream:
			return "publish video"
		case accesstoken2.PrivilegePublishDataStream:
			return "publish data"
		}
	case ServiceRTM, ServiceFPA:
		if id == accesstoken2.PrivilegeLogin || t == ServiceRTM && id == login006 {
			return "login"
		}
	case ServiceChat:
		switch id {
		case accesstoken2.PrivilegeChatUser:
			return "user"
		case accesstoken2.PrivilegeChatApp:
			return "app"
		}
	case ServiceAPaaS:
		switch id {
		case accesstoken2.PrivilegeApaasRoomUser:
			return "room user"
		case accesstoken2.PrivilegeApaasUser:
			return "user"
		case accesstoken2.PrivilegeApaasApp:
			return "app"
		}
	}
	return ""
}
