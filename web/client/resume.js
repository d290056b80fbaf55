// The resume token, with which a client resumes its session. A storage keeps it, so that the
// session survives a reload of the page. Its key is secret: sessionStorage shows it to the same
// origin in the same tab only.

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
  /** The resume token; null while there is no session. @type {ResumeToken | null} */
  token = null;
  /** Whether the token came from the storage and the service has not accepted it yet. */
  unproven = false;

  /**
   * @param {Store | null | undefined} storage where to keep the token: sessionStorage (if there is one) without it, memory only if it is null
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

  /** Writes the token to the storage, for the next page in this tab. */
  save() {
    if (!this.token) return;
    try {
      this.#storage?.setItem(this.#name, JSON.stringify(this.token));
    } catch {
      // The storage is full, so a reload of the page will open a new session.
    }
  }

  /** Removes an exclusive token from the storage while this page uses it. */
  claim() {
    if (this.#exclusive) this.#remove();
  }

  /** Forgets the token, and removes it from the storage. */
  clear() {
    this.#remove();
    this.token = null;
  }

  /** Removes the token from the storage, unless another page has stored a token of another session there. */
  #remove() {
    if (!this.token || this.#read()?.session !== this.token.session) return;
    try {
      this.#storage?.removeItem(this.#name);
    } catch {
      // The page may not use the storage, so no token was saved there.
    }
  }

  /** @returns {any} the stored item, which another page may have written; undefined if it cannot be read */
  #read() {
    try {
      return JSON.parse(this.#storage?.getItem(this.#name) ?? "null");
    } catch {
      return undefined; // the entry is not readable JSON, so this library did not write it: leave it alone
    }
  }
}

function tabStorage() {
  try {
    return globalThis.sessionStorage ?? null;
  } catch {
    return null; // the page may not use the storage
  }
}
