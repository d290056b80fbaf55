/** Makes a token whose user and expiry the fake SDKs can read. */
export function token(service, uid, expiresAt, more = "0123456789") {
  return `007${btoa(JSON.stringify({ service, uid, expiresAt, more }))}`;
}

/** Returns the fields of a token that token() made. */
export function readToken(token) {
  return JSON.parse(atob(token.slice(3)));
}
