// The channel of this tab.

const storageKey = "refresher demo channel";

/**
 * Resolves with the channel's name. A reload keeps it; a duplicated tab, which has a
 * copy of the storage, gets another, so that the two calls do not meet.
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
 * Locks the name until the tab is closed; resolves with false if another tab has it.
 * @param {string} channel
 */
function lock(channel) {
  return new Promise((resolve) => {
    if (!navigator.locks) return resolve(true); // pages over plain HTTP have no locks: there a duplicated tab joins the same channel
    // A page that is being reloaded releases its lock within that second.
    navigator.locks.request(channel, { signal: AbortSignal.timeout(1000) }, () => {
      resolve(true);
      return new Promise(() => {});
    }).catch(() => resolve(false)); // it took too long, or this page may not use locks: in both cases, take a new name
  });
}

// A browser that blocks storage throws on each access. A reload then begins a new call;
// nothing else is lost.

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
