package agora

import (
	"strconv"

	"github.com/AgoraIO/Tools/DynamicKey/AgoraDynamicKey/go/src/accesstoken2"

	"refresher/internal/session"
)

// Token is what a token says, as [Parse] read it. Nothing in it is to be
// believed before [Token.Verify].
type Token struct {
	Version Version `json:"version"`
	AppID   string  `json:"appId"`
	// IssuedAt is taken from ts in 006, which builders set 24 hours later.
	IssuedAt session.UnixSec `json:"issuedAt"`
	// ValidUntil is the token's own end: 24 hours after IssuedAt in 006.
	ValidUntil session.UnixSec `json:"validUntil"`
	// ExpiresAt is when the token stops granting all that it grants: the
	// earliest of ValidUntil and the ends of its privileges.
	ExpiresAt session.UnixSec `json:"expiresAt"`
	Salt      uint32          `json:"salt"`
	Services  []Service       `json:"services"`
	// Checksums is nil in 007. A 006 token has them in place of the names, so
	// that its only service has neither channel nor user.
	Checksums *Checksums `json:"checksums,omitempty"`

	signature []byte
	signed    []byte // 007: the body; 006: the message
}

// Service is one service that a token opens. Names are any bytes: a token may
// come from anyone.
type Service struct {
	Type       ServiceType `json:"type"`
	Privileges []Privilege `json:"privileges"` // by ascending ID
	// Channel of RTC.
	Channel string `json:"channel,omitempty"`
	// User is the uid in decimal or the account of RTC, and the user of RTM,
	// Chat and APaaS. Empty is any RTC user (uid 0), or the Chat application.
	User string `json:"user,omitempty"`
	// Room and Role of APaaS; -1 is no role.
	Room string `json:"room,omitempty"`
	Role int16  `json:"role,omitempty"`
}

// Privilege is one thing that a service lets the holder do.
type Privilege struct {
	ID uint16 `json:"id"`
	// Name is this package's word for it, empty for one that it doesn't know.
	Name string `json:"name,omitempty"`
	// ExpiresAt of 0 means that it ends only with the token.
	ExpiresAt session.UnixSec `json:"expiresAt"`
}

// Checksums are the CRC-32 (IEEE) sums that a 006 token holds. An RTM token
// has its user id's sum as Channel. They are not signed.
type Checksums struct {
	Channel uint32 `json:"channel"`
	User    uint32 `json:"user"`
}

// ServiceType numbers an Agora service.
type ServiceType uint16

// The services that Agora's Go module knows.
const (
	ServiceRTC   ServiceType = accesstoken2.ServiceTypeRtc
	ServiceRTM   ServiceType = accesstoken2.ServiceTypeRtm
	ServiceFPA   ServiceType = accesstoken2.ServiceTypeFpa
	ServiceChat  ServiceType = accesstoken2.ServiceTypeChat
	ServiceAPaaS ServiceType = accesstoken2.ServiceTypeApaas
)

// String returns the service's word, or its number if it has none.
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

// ParseService reads the word of a service that tokens are made for.
func ParseService(word string) (ServiceType, error) {
	for _, t := range []ServiceType{ServiceRTC, ServiceRTM, ServiceChat} {
		if word == t.String() {
			return t, nil
		}
	}
	return 0, badRequest(`service: want "rtc", "rtm" or "chat"`)
}

// MarshalText writes the service's word.
func (t ServiceType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// privilegeName names a privilege of a service. 006 counts RTC's like 007.
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
