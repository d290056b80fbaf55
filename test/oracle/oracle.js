// Builds and reads tokens with Agora's own Node packages: agora-token for 007, agora-access-token for 006.
// Reads one JSON request per line from stdin, and writes one JSON reply per line to stdout, in the same order,
// until stdin ends.
//
//   {op: "build", kind, appId, certificate, channel, uid, account, user, publisher, expire} -> {token}
//     kind    "007 rtc", "007 rtm", "007 rtc rtm", "007 chat", "007 chat app", "006 rtc" or "006 rtm"
//     expire  seconds from now in 007, Unix seconds in 006
//   {op: "read", token, certificate, channel, user} -> the token's fields, and whether it is genuine
//     channel, user  needed for 006, whose signature covers them; a 007 token contains them

'use strict'

const readline = require('node:readline')
const v007 = require('agora-token')
const { AccessToken2 } = require('agora-token/src/AccessToken2')
const v006 = require('agora-access-token')
const { AccessToken } = require('agora-access-token/src/AccessToken')

const builders = {
  '007 rtc': (q) => {
    const role = q.publisher ? v007.RtcRole.PUBLISHER : v007.RtcRole.SUBSCRIBER
    return q.account
      ? v007.RtcTokenBuilder.buildTokenWithUserAccount(q.appId, q.certificate, q.channel, q.account, role, q.expire, q.expire)
      : v007.RtcTokenBuilder.buildTokenWithUid(q.appId, q.certificate, q.channel, q.uid, role, q.expire, q.expire)
  },
  '007 rtm': (q) => v007.RtmTokenBuilder.buildToken(q.appId, q.certificate, q.user, q.expire),
  '007 rtc rtm': (q) => {
    const role = q.publisher ? v007.RtcRole.PUBLISHER : v007.RtcRole.SUBSCRIBER
    const { expire } = q
    return v007.RtcTokenBuilder.buildTokenWithRtm2(q.appId, q.certificate, q.channel, q.account, role, expire, expire, expire, expire, expire, q.user, expire)
  },
  '007 chat': (q) => v007.ChatTokenBuilder.buildUserToken(q.appId, q.certificate, q.user, q.expire),
  '007 chat app': (q) => v007.ChatTokenBuilder.buildAppToken(q.appId, q.certificate, q.expire),
  '006 rtc': (q) => {
    const role = q.publisher ? v006.RtcRole.PUBLISHER : v006.RtcRole.SUBSCRIBER
    return q.account
      ? v006.RtcTokenBuilder.buildTokenWithAccount(q.appId, q.certificate, q.channel, q.account, role, q.expire)
      : v006.RtcTokenBuilder.buildTokenWithUid(q.appId, q.certificate, q.channel, q.uid, role, q.expire)
  },
  '006 rtm': (q) => v006.RtmTokenBuilder.buildToken(q.appId, q.certificate, q.user, v006.RtmRole.Rtm_User, q.expire),
}

function read007({ token, certificate }) {
  const read = new AccessToken2('', '', 0, 0)
  if (!read.from_string(token)) throw new Error('agora-token refuses the token')
  return {
    appId: String(read.appId),
    issuedAt: read.issueTs,
    lifetime: read.expire,
    salt: read.salt,
    services: read.services.map((s) => ({
      type: s.service_type(),
      privileges: s.__privileges,
      channel: String(s.__channel_name ?? ''),
      user: String(s.__uid ?? s.__user_id ?? ''),
    })),
    genuine: read.verifySignature(certificate),
  }
}

// The 006 package does not check signatures. But the package's encoding is deterministic, so a token is genuine
// if the same fields produce the same text.
function read006({ token, certificate, channel, user }) {
  const appId = token.slice(3, 35)
  const read = new AccessToken(appId, certificate, channel, user)
  if (!read.fromString(token)) throw new Error('agora-access-token refuses the token')
  return {
    appId,
    salt: read.salt,
    ts: read.ts,
    privileges: read.messages,
    genuine: read.build() === token,
  }
}

function answer(q) {
  switch (q.op) {
    case 'build':
      return { token: builders[q.kind](q) }
    case 'read':
      return q.token.startsWith('007') ? read007(q) : read006(q)
    default:
      throw new Error(`unknown op ${q.op}`)
  }
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  let reply
  try {
    reply = answer(JSON.parse(line))
  } catch (err) {
    reply = { error: String(err) }
  }
  process.stdout.write(JSON.stringify(reply) + '\n')
})
