import assert from "node:assert/strict";

import { second } from "./time.js";
import { token } from "./tokens.js";

/** How long the service waits for an ack, in milliseconds. */
const ackTimeout = 5 * second;
/** The heartbeat if tokens live for an hour, in milliseconds. */
const longestHeartbeat = 50 * second;

/** A model of the service: its sessions, bundles, keys and deadlines follow docs/build/protocol.md. */
export class FakeService {
  socketsWork = true;
  requestsWork = true;
  /** Whether sockets and requests that do not reach the service wait for ever, instead of failing. */
  silent = false;
  /** Whether the service answers the next join or resume with `reconnect`. */
  overloaded = false;
  sessions = new Map();
  silences = 0;
  latency;
  #sim;
  #lifetime;
  #took;
  #connections = new Set();

  /**
   * @param {Simulation} sim
   * @param {{ttl: number, renewBefore: number, latency: number}} settings seconds, and milliseconds
   * @param {(token: string) => boolean} took whether the page may say that it has applied a token
   */
  constructor(sim, { latency, ...lifetime }, took) {
    this.#sim = sim;
    this.#lifetime = lifetime;
    this.#took = took;
    this.latency = latency;
    sim.service = this;
  }

  connects(socket) {
    const connection = { socket, dead: false, messages: 50, countedAt: this.#sim.time };
    socket.answersPings = false;
    this.#later(() => {
      if (socket.readyState !== 0) return;
      if (!this.socketsWork) return this.silent ? undefined : void socket.closes(1006);
      this.#connections.add(connection);
      this.#watch(connection, this.#sim.time);
      socket.heard = (message) => this.#later(() => this.#onMessage(connection, message), true);
      void socket.opens();
    });
  }

  asks(request) {
    this.#later(() => {
      if (!this.requestsWork) return this.silent ? undefined : void request.fails();
      const [, id, action] = /sessions\/([^/]+)\/(renew|leave)$/.exec(request.url);
      const session = this.sessions.get(id);
      const epoch = Number((request.headers?.authorization ?? request.body.key).split("-").at(-1));
      const answer = (status, body) => this.#later(() => request.pending && void request.answers(status, body));
      if (!session) return answer(404, { error: "join afresh", code: "unknown_session", status: 404 });
      if (epoch < session.proven) return answer(410, { error: "superseded", code: "unknown_session", status: 410, reason: "superseded" });
      if (action === "leave") {
        this.sessions.delete(id);
        return answer(204, "");
      }
      session.proven = epoch;
      this.#confirm(session, request.body.seq);
      if (!this.#isFresh(session)) this.#mint(session, "renew");
      return answer(200, this.#push(session));
    }, true);
  }

  /** Breaks all connections. The page gets the close event only if `noticed` is true. */
  cut({ noticed }) {
    for (const connection of this.#connections) {
      connection.dead = true;
      if (noticed && connection.socket.readyState < 2) void connection.socket.closes(1006);
    }
    this.#connections.clear();
  }

  /**
   * Drains the node: tells its clients to reconnect after afterMs, and closes their connections after
   * goesAfter.
   */
  drain(afterMs, goesAfter) {
    for (const connection of this.#connections) {
      this.#send(connection, { type: "reconnect", afterMs, reason: "drain" });
      this.#sim.at(this.#sim.time + goesAfter, () => this.#close(connection, 1012), true);
    }
  }

  forget() {
    this.sessions.clear();
    for (const connection of this.#connections) this.#close(connection, 1012);
  }

  /**
   * Pings a silent client, whose browser answers unless the device sleeps. Closes the connection after two of
   * the longest heartbeats without a message.
   */
  #watch(connection, heardAt) {
    this.#sim.at(this.#sim.time + longestHeartbeat, () => {
      if (!this.#connections.has(connection)) return;
      if (!connection.dead && !this.#sim.asleep) heardAt = this.#sim.time;
      if (this.#sim.time - heardAt < 2 * longestHeartbeat) return this.#watch(connection, heardAt);
      this.silences++;
      this.#close(connection, 4001);
    }, true);
  }

  #later(run, elsewhere = false) {
    this.#sim.at(this.#sim.time + this.latency, run, elsewhere);
  }

  #send(connection, message) {
    if (!connection.dead) this.#later(() => !connection.dead && connection.socket.readyState === 1 && void connection.socket.says({ ...message, now: message.now }));
  }

  #close(connection, code) {
    if (!this.#connections.delete(connection)) return;
    this.#later(() => connection.socket.readyState < 2 && !connection.dead && void connection.socket.closes(code));
    if (connection.session?.connection === connection) connection.session.connection = null;
  }

  #onMessage(connection, message) {
    if (connection.dead || !this.#connections.has(connection)) return;
    connection.messages = Math.min(50, connection.messages + ((this.#sim.time - connection.countedAt) / second) * 10) - 1;
    connection.countedAt = this.#sim.time;
    assert.ok(connection.messages >= 0, "not too many messages");
    const { session } = connection;
    if (!session) return this.#onFirstMessage(connection, message);
    session.silent = 0;
    switch (message.type) {
      case "ping":
        return this.#send(connection, { type: "pong", now: this.#sim.time });
      case "ack":
        assert.ok(message.seq <= session.seq, "an ack of what was sent");
        assert.ok(this.#took(session.bundles.get(message.seq)), `the SDK took ${message.seq}, which is acked`);
        if (message.seq >= connection.firstSeq) session.proven = connection.epoch;
        if (message.seq === session.seq) this.#settle(session);
        return this.#schedule(session);
      case "nack":
        assert.ok(message.seq <= session.seq, "a nack of what was sent");
        if (message.seq < session.seq || session.pending?.refused) return undefined;
        session.pending = { ...session.pending, refused: true, retryAt: this.#sim.time + (session.nacks++ ? ackTimeout : 0) };
        return this.#schedule(session);
      case "renew":
        if (!this.#isFresh(session)) this.#mint(session, "renew");
        this.#send(connection, this.#push(session));
        return this.#schedule(session);
      case "leave":
        this.sessions.delete(session.id);
        return this.#close(connection, 1000);
      default:
        return assert.fail(`${message.type} is no message for a session`);
    }
  }

  #onFirstMessage(connection, message) {
    assert.ok(message.type === "join" || message.type === "resume", `${message.type} is no first message`);
    if (this.overloaded) {
      this.overloaded = false;
      this.#send(connection, { type: "reconnect", afterMs: 3000, reason: "overload" });
      return this.#close(connection, 1013);
    }
    const resumed = message.type === "resume";
    let session = resumed ? this.sessions.get(message.session) : null;
    if (resumed && !session) {
      this.#send(connection, { type: "error", code: "unknown_session", message: "join afresh" });
      return this.#close(connection, 4404);
    }
    if (!session) {
      session = { id: `s${this.#sim.time}x${this.sessions.size}`, seq: 0, epoch: 0, proven: 0, bundles: new Map(), nacks: 0, silent: 0, held: 0 };
      this.sessions.set(session.id, session);
    } else {
      const epoch = Number(message.key.split("-").at(-1));
      assert.ok(epoch >= session.proven, "it resumes with a key that is good");
      session.proven = epoch;
      this.#confirm(session, message.seq);
      if (session.connection) this.#close(session.connection, 4409);
    }
    Object.assign(connection, { session, epoch: ++session.epoch, firstSeq: session.seq + 1 });
    session.connection = connection;
    this.#mint(session, "resume");
    if (!resumed) this.#settle(session);
    const { type, ...bundle } = this.#push(session);
    const heartbeat = Math.floor(Math.min(longestHeartbeat / second, this.#lifetime.renewBefore / 6));
    this.#send(connection, { type: "joined", session: session.id, key: `key-${session.id}-${session.epoch}`, resumed, heartbeat, ...this.#lifetime, ...bundle });
    return this.#schedule(session);
  }

  /** Records the number of the bundle that the page's SDKs accepted last, from a resume or a request. */
  #confirm(session, seq) {
    if (seq) assert.ok(this.#took(session.bundles.get(seq)), `the SDK took ${seq}, which is said to be applied`);
    if (session.pending && seq >= session.seq) this.#settle(session);
  }

  #settle(session) {
    session.held = session.expiresAt;
    session.pending = null;
    session.nacks = 0;
  }

  #isFresh({ pending }) {
    return pending && !pending.refused && this.#sim.time - pending.sentAt < ackTimeout;
  }

  #mint(session, cause) {
    const expiresAt = Math.max(this.#sim.seconds() + this.#lifetime.ttl, session.expiresAt ?? 0);
    Object.assign(session, { seq: session.seq + 1, expiresAt });
    session.bundles.set(session.seq, token("rtc", 1001, expiresAt, `${session.id}:${session.seq}`));
    session.pending = { cause, rejoin: session.held > 0 && session.held * second <= this.#sim.time, attempt: 0, refused: false };
  }

  #push(session) {
    const { pending } = session;
    if (pending) Object.assign(pending, { attempt: pending.attempt + 1, sentAt: this.#sim.time, retryAt: this.#sim.time + ackTimeout });
    session.silent++;
    const rejoin = pending?.rejoin ?? false;
    return {
      type: `token-privilege-${rejoin ? "did" : "will"}-expire`, seq: session.seq, previousExpiresAt: session.held, action: rejoin ? "rejoin" : "renew",
      tokens: { rtc: { token: session.bundles.get(session.seq), expiresAt: session.expiresAt } },
      attempt: pending?.attempt ?? 1, cause: pending?.cause ?? "join", now: this.#sim.time,
    };
  }

  #schedule(session) {
    const { pending } = session;
    const due = pending ? pending.retryAt : (session.expiresAt - 1.3 * this.#lifetime.renewBefore) * second;
    const turns = pending && !pending.rejoin ? session.held * second : Infinity;
    const turn = (session.turn = {});
    this.#sim.at(Math.max(this.#sim.time, Math.min(due, turns)), () => session.turn === turn && this.#onTime(session), true);
  }

  #onTime(session) {
    const { connection, pending } = session;
    if (!connection || !this.#connections.has(connection)) return;
    if (!pending) this.#mint(session, "schedule");
    else if (pending.refused) this.#mint(session, "nack");
    else if (!pending.rejoin && session.held * second <= this.#sim.time) this.#mint(session, pending.cause);
    else if (session.silent >= 2) return this.#close(connection, 4001);
    this.#send(connection, this.#push(session));
    this.#schedule(session);
  }
}
