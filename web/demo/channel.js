const storageKey = "refresher demo channel";

/**
 * Resolves with this tab's channel. A reload keeps the channel. A duplicated tab, whose storage is a copy, gets
 * another channel, so that the two calls stay separate.
 */
export async function ownChannel() {
  let channel = stored() ?? newName();
  if (!(await lock(channel))) {
    channel = newName();
    await lock(channel);
  }
  store(channel);
  return channel;
}

const newName = () => `demo-${crypto.getRandomValues(new Uint32Array(1))[0]?.toString(36)}`;

/**
 * Locks the name until the tab is closed. Resolves with false if another tab has locked the name.
 * @param {string} channel
 */
function lock(channel) {
  return new Promise((resolve) => {
    if (!navigator.locks) return resolve(true); // pages over plain HTTP have no locks, so there a duplicated tab joins the same channel
    // The request waits for a second: a page that is being reloaded releases its lock within this time.
    navigator.locks.request(channel, { signal: AbortSignal.timeout(1000) }, () => {
      resolve(true);
      return new Promise(() => {});
    }).catch(() => resolve(false)); // after a time-out, or if this page may not use locks, take a new name
  });
}

// If a browser blocks storage, each access throws. Then a reload begins a new call.

function stored() {
  try {
    return sessionStorage.getItem(storageKey);
  } catch {
    return null;
  }
}

/** @param {string} channel */
function store(channel) {
  try {
    sessionStorage.setItem(storageKey, channel);
  } catch {
    // as above
  }
}
