// Requests to the service that serves this page, with errors in plain words.

/**
 * Resolves with the body of the answer.
 * @param {string} path
 * @param {{method?: string, body?: object}} [options]
 */
export async function request(path, { method = "GET", body } = {}) {
  const headers = body && { "content-type": "application/json" };
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) }).catch(unanswered);
  const answer = await response.json().catch(() => {
    // The parser's error would only name a character, so the message has the status instead.
    throw new Error(`the service did not answer, but something in between did, with status ${response.status}`);
  });
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

/**
 * Throws the error of a request without an answer. The browser's own message ("Failed to fetch", "Load failed") says
 * less; the browser's console shows it.
 * @param {unknown} cause
 * @returns {never}
 */
export function unanswered(cause) {
  throw new Error("the service does not answer", { cause });
}
