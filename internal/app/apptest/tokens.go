package apptest

import (
	"fmt"

	"refresher/internal/agora"
)

// Opens is the content of a token, in a form that tests can compare with ==.
type Opens struct {
	Version  agora.Version
	Services [2]Service // a token is for one or two services
}

// Service is a service in a token, with the numbers of its privileges. In a 006 token, channel and
// user are empty.
type Service struct {
	Type          agora.ServiceType
	Channel, User string
	Privileges    [4]uint16 // unused elements are 0
}

// RTC is the service RTC for a channel and a user.
func RTC(channel, user string, privileges ...uint16) Service {
	return newService(agora.ServiceRTC, channel, user, privileges)
}

// RTM is the service RTM for a user.
func RTM(user string, privileges ...uint16) Service {
	return newService(agora.ServiceRTM, "", user, privileges)
}

// Chat is the service Chat for a user.
func Chat(user string, privileges ...uint16) Service {
	return newService(agora.ServiceChat, "", user, privileges)
}

func newService(kind agora.ServiceType, channel, user string, privileges []uint16) Service {
	s := Service{Type: kind, Channel: channel, User: user}
	if copy(s.Privileges[:], privileges) < len(privileges) {
		panic(fmt.Sprint("more privileges than a token has: ", privileges))
	}
	return s
}

// V007 returns the content of a 007 token with these services.
func V007(services ...Service) Opens { return opens(agora.V007, services) }

// V006 returns the content of a 006 token with these services.
func V006(services ...Service) Opens { return opens(agora.V006, services) }

func opens(v agora.Version, services []Service) Opens {
	o := Opens{Version: v}
	if copy(o.Services[:], services) < len(services) {
		panic(fmt.Sprint("more services than a token opens: ", services))
	}
	return o
}

// ServicesOf parses a token. It returns an error if a privilege does not expire with the token.
func ServicesOf(text string) (Opens, error) {
	token, err := agora.Parse(text)
	if err != nil {
		return Opens{}, err
	}
	var services []Service
	for _, s := range token.Services {
		var privileges []uint16
		for _, p := range s.Privileges {
			privileges = append(privileges, p.ID)
			if p.ExpiresAt != token.ExpiresAt {
				return Opens{}, fmt.Errorf("privilege %d of %s ends at %d, the token at %d", p.ID, s.Type, p.ExpiresAt, token.ExpiresAt)
			}
		}
		channel, user := s.Channel, s.User
		if s.Type != agora.ServiceRTC {
			channel = ""
		}
		if token.Version == agora.V006 {
			channel, user = "", ""
		}
		services = append(services, newService(s.Type, channel, user, privileges))
	}
	return opens(token.Version, services), nil
}
