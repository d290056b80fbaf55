// The resume token, with which a client resumes its session. It is kept in a storage, so that the session
// survives a reload of the page. Its key is secret: only pages of the same origin in the same tab can read
// sessionStorage.

/**
 * @typedef {object} ResumeToken
 * @property {string} session the session's id
 * @property {string} key the resume key, a secret
 * @property {number} seq number of the newest bundle that was applied; 0 before the first
 * @property {number} expiresAt when the tokens of that bundle expire, in Unix seconds; 0 before the first
 */

/**
 * The part of the browser's Storage interface that the library uses.
 * @typedef {{getItem: (key: string) => string | null, setItem: (key: string, value: string) => void, removeItem: (key: string) => void}} Store
 */

/** Keeps the resume token of one call, in memory and in the storage. */
export class ResumeStore {
  #storage;
  #name;
  #exclusive;
  /** @type {ResumeToken | null} */
  token = null;
  /** Whether the token came from the storage and the service has not accepted it yet. */
  unproven = false;

  /**
   * @param {Store | null | undefined} storage where to keep the token. If it is undefined, the token is kept in sessionStorage, if there is one; if it is null, only in memory
   * @param {string} name the item's name in the storage; each call of a page has its own
   * @param {boolean} exclusive whether the item is removed from the storage while this page uses it. A duplicated tab gets a copy of the storage, and must not find the token there
   */
  constructor(storage, name, exclusive) {
    this.#storage = storage === undefined ? tabStorage() : storage;
    this.#name = name;
    this.#exclusive = exclusive;
    const { session, key, seq, expiresAt } = this.#read() ?? {};
    if (typeof session !== "string" || typeof key !== "string") return;
    this.token = { session, key, seq: Number(seq) || 0, expiresAt: Number(expiresAt) || 0 };
    this.unproven = true;
    this.claim();
  }

  /** @param {ResumeToken} token replaces the one before */
  update(token) {
    this.token = token;
    if (!this.#exclusive) this.save();
  }

  save() {
    if (!this.token) return;
    try {
      this.#storage?.setItem(this.#name, JSON.stringify(this.token));
    } catch {
      // The storage is full, so the next page will open a new session.
    }
  }

  /**
   * Removes an exclusive token from the storage while this page uses it, so that a duplicated tab does not copy
   * it.
   */
  claim() {
    if (this.#exclusive) this.#remove();
  }

  clear() {
    this.#remove();
    this.token = null;
  }

  /** Removes the token from the storage, unless another page has stored another session's token there. */
  #remove() {
    if (!this.token || this.#read()?.session !== this.token.session) return;
    try {
      this.#storage?.removeItem(this.#name);
    } catch {
      // The page may not use the storage, so it has no token.
    }
  }

  /** @returns {any} the stored item, which another page may have written; undefined if it cannot be read */
  #read() {
    try {
      return JSON.parse(this.#storage?.getItem(this.#name) ?? "null");
    } catch {
      return undefined; // The entry is no valid JSON, so the library did not write it, and does not remove it.
    }
  }
}

function tabStorage() {
  try {
    return globalThis.sessionStorage ?? null;
  } catch {
    return null;
  }
}
