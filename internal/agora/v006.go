package agora

import (
	"fmt"

	accesstoken "github.com/AgoraIO/Tools/DynamicKey/AgoraDynamicKey/go/src/AccessToken"

	"refresher/internal/session"
)

// rtc006 builds an RTC token in the format 006.
func (b *bundle) rtc006(r session.RTC) (string, error) {
	if r.Channel == session.AnyChannel {
		return "", badRequest(`rtc.channel: is "*", which only tokens of version 007 may contain`)
	}
	if r.Role == session.Publisher {
		return b.build006(r.Channel, r.User(),
			accesstoken.KJoinChannel,
			accesstoken.KPublishAudioStream,
			accesstoken.KPublishVideoStream,
			accesstoken.KPublishDataStream)
	}
	return b.build006(r.Channel, r.User(), accesstoken.KJoinChannel)
}

// rtm006 builds an RTM token in the format 006. The token's channel field has the user id.
func (b *bundle) rtm006(r session.RTM) (string, error) {
	return b.build006(r.UserID, "", accesstoken.KLoginRtm)
}

// build006 uses Agora's builder, but not its constructor, which would set the time and the salt
// itself.
func (b *bundle) build006(channel, user string, privileges ...accesstoken.Privileges) (string, error) {
	token := accesstoken.AccessToken{
		AppID:          b.minter.appID,
		AppCertificate: *b.minter.certificate,
		ChannelName:    channel,
		UidStr:         user,
		Ts:             b.issuedAt + uint32(maxLifetime),
		Salt:           b.salt,
		Message:        make(map[uint16]uint32, len(privileges)),
	}
	for _, p := range privileges {
		token.AddPrivilege(p, b.issuedAt+b.lifetime)
	}
	text, err := token.Build()
	if err != nil {
		return "", fmt.Errorf("build 006 token: %w", err)
	}
	return text, nil
}
