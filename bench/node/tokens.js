// Mints an RTC and an RTM token of version 007 with Agora's Node.js builder. The credentials are
// the example in Agora's documentation.

'use strict'

const { RtcTokenBuilder, RtcRole, RtmTokenBuilder } = require('agora-token')

const appId = '970CA35de60c44645bbae8a215061b33'
const certificate = '5CFd2fd1755d40ecb72977518be15d3b'

exports.mint = (channel = 'c', uid = 1, expire = 3600) => ({
  rtcToken: RtcTokenBuilder.buildTokenWithUid(appId, certificate, channel, uid, RtcRole.PUBLISHER, expire, expire),
  rtmToken: RtmTokenBuilder.buildToken(appId, certificate, String(uid), expire),
})
