// Requests to the service that serves this page. Their errors are texts for the visitor.

/**
 * Resolves with the body of the answer.
 * @param {string} path
 * @param {{method?: string, body?: object}} [options]
 */
export async function request(path, { method = "GET", body } = {}) {
  const headers = body && { "content-type": "application/json" };
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) }).catch(unanswered);
  const answer = await response.json().catch(() => {
    // The JSON parser's error would only name a character, so this error has the status.
    throw new Error(`the service did not answer, but something in between did, with status ${response.status}`);
  });
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

/**
 * Throws the error for a request without an answer. Its text is clearer than that of the browser ("Failed to fetch",
 * "Load failed"). The console shows the browser's text too, as the error's cause.
 * @param {unknown} cause
 * @returns {never}
 */
export function unanswered(cause) {
  throw new Error("the service does not answer", { cause });
}
