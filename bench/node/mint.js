// Mints as many pairs of RTC and RTM tokens as the argument says, and prints the processor time of one pair in
// µs.

'use strict'

const { mint } = require('./tokens')

const count = Number(process.argv[2])
const before = process.cpuUsage()
for (let n = 0; n < count; n++) mint()
const used = process.cpuUsage(before)
console.log('minted in', (used.user + used.system) / count)
