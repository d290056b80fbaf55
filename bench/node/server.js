// Answers each request as the Node.js token server of Agora's community does: with express, headers that forbid
// caching, and two tokens. This server's tokens have version 007.

'use strict'

const express = require('express')
const { mint } = require('./tokens')

const noCache = (_request, response, next) => {
  response.header('Cache-Control', 'private, no-cache, no-store, must-revalidate')
  response.header('Expires', '-1')
  response.header('Pragma', 'no-cache')
  next()
}

const app = express()
app.get('/rte/:channel/:role/:tokentype/:uid', noCache, (request, response) => {
  response.json(mint(request.params.channel, Number(request.params.uid), Number(request.query.expiry ?? 3600)))
})
const server = app.listen(0, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`))
