// Publishes and receives events of a Millrace cluster through a gateway's WebSocket (millrace.v1).
// One file without dependencies, for everything that has `WebSocket`.

/** The first pause before another connection, milliseconds; it doubles. */
const PAUSE_MIN = 250;
/** The longest pause. */
const PAUSE_MAX = 10_000;
/** Frames that wait for a connection, at most: publishing fails beyond it. */
const WAITING_MAX = 10_000;

/** Why something failed: `name` of the problem as the gateway says it, and text for people. */
export class MillraceError extends Error {
  constructor(problem, message) {
    super(message);
    this.name = "MillraceError";
    this.problem = problem;
  }
}

/** A connection to a gateway that is made again whenever it is lost. */
export class Millrace {
  #url;
  #options;
  #socket = null;
  #pause = PAUSE_MIN;
  #timer = null;
  #closed = false;
  #next = 0;
  #subscriptions = new Map();
  #publishing = new Map();
  #waiting = [];

  /**
   * Connects to `url`, as in `ws://127.0.0.1:7480/events`.
   * `options.state(state)` hears "connecting", "open" and "lost"; `options.error(error)` hears problems of subscriptions.
   */
  constructor(url, options = {}) {
    this.#url = url;
    this.#options = options;
    this.#connect();
  }

  /**
   * Receives events that match any of the selectors. `handlers.event(event)` gets `{id, time, tags, payload}`, the payload as
   * text, or as a `Uint8Array` where it is none; `handlers.gap(gap)` hears that events are missing, `handlers.subscribed()` that
   * nothing is missed from here on. Where routers keep history, an event has a `cursor`, and a subscription whose connection was
   * lost gets what it missed. With `options.cursor` it begins behind the event that had it. Returns a function that ends it.
   */
  subscribe(selectors, handlers, options = {}) {
    const sub = String(this.#next++);
    const subscription = { select: [...selectors], handlers, last: options.cursor ?? null, wasThere: false };
    this.#subscriptions.set(sub, subscription);
    if (this.#isOpen()) this.#send(this.#subscribeFrame(sub, subscription));
    return () => {
      if (this.#subscriptions.delete(sub) && this.#isOpen()) this.#send({ op: "unsubscribe", sub });
    };
  }

  /**
   * Publishes an event. The payload is text or bytes; `options.level` is "routed" (default), "delivered" or "none". Resolves with
   * `{id, outcome, receivers, …}`; rejects with `MillraceError` when it was refused, or when the connection was lost before the answer.
   */
  publish(tags, payload = "", options = {}) {
    const ref = String(this.#next++);
    const frame = { op: "publish", ref, tags, ...options };
    if (typeof payload === "string") frame.payload = payload;
    else frame.payload_base64 = toBase64(payload);
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new MillraceError("closed", "this client is closed"));
      if (!this.#isOpen() && this.#waiting.length >= WAITING_MAX) {
        return reject(new MillraceError("busy", "no connection, and too many events wait for one"));
      }
      this.#publishing.set(ref, { resolve, reject });
      if (this.#isOpen()) this.#send(frame);
      else this.#waiting.push(frame);
    });
  }

  /** Ends everything. */
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#subscriptions.clear();
    this.#fail("this client is closed");
  }

  #isOpen() {
    return this.#socket?.readyState === 1;
  }

  #connect() {
    this.#options.state?.("connecting");
    const socket = new WebSocket(this.#url, "millrace.v1");
    this.#socket = socket;
    socket.onopen = () => {
      for (const [sub, subscription] of this.#subscriptions) {
        // Nothing says where one was that has had no event; with a cursor or an id the gateway tells.
        if (subscription.wasThere && subscription.last === null) call(subscription.handlers, "gap", { reason: "session_lost" });
        this.#send(this.#subscribeFrame(sub, subscription));
      }
      for (const frame of this.#waiting.splice(0)) this.#send(frame);
      this.#options.state?.("open");
    };
    socket.onmessage = (message) => {
      // Not when it opens: a gateway that lets nobody stay is not to be asked four times a second.
      this.#pause = PAUSE_MIN;
      for (const line of message.data.split("\n")) if (line) this.#frame(JSON.parse(line));
    };
    socket.onclose = () => {
      if (this.#closed || this.#socket !== socket) return;
      this.#fail("the connection was lost before the answer: the event may have been published");
      this.#options.state?.("lost");
      // At random, because the clients of a dead gateway are not to come back all at once.
      this.#timer = setTimeout(() => this.#connect(), Math.random() * this.#pause);
      this.#pause = Math.min(this.#pause * 2, PAUSE_MAX);
    };
  }

  #subscribeFrame(sub, { select, last }) {
    return last === null ? { op: "subscribe", sub, select } : { op: "subscribe", sub, select, cursor: last };
  }

  #send(frame) {
    this.#socket.send(JSON.stringify(frame));
  }

  /** Publishing that was sent has no answer any more; what still waits for a connection goes on. */
  #fail(message) {
    const waiting = new Set(this.#closed ? [] : this.#waiting.map((frame) => frame.ref));
    for (const [ref, { reject }] of this.#publishing) {
      if (waiting.has(ref)) continue;
      this.#publishing.delete(ref);
      reject(new MillraceError("lost", message));
    }
  }

  #frame(frame) {
    const { op, sub, ref, ...rest } = frame;
    const subscription = this.#subscriptions.get(sub);
    const publishing = this.#publishing.get(ref);
    if (ref !== undefined) this.#publishing.delete(ref);
    switch (op) {
      case "event":
        if (subscription) {
          subscription.last = rest.cursor ?? rest.id;
          call(subscription.handlers, "event", readable(rest));
        }
        break;
      case "gap":
        call(subscription?.handlers, "gap", rest);
        break;
      case "subscribed":
        if (subscription) subscription.wasThere = true;
        call(subscription?.handlers, "subscribed");
        break;
      case "published":
        publishing?.resolve(rest);
        break;
      case "error": {
        const error = new MillraceError(rest.error, rest.message);
        if (publishing) return publishing.reject(error);
        this.#subscriptions.delete(sub);
        call(subscription?.handlers.error ? subscription.handlers : this.#options, "error", error);
      }
    }
  }
}

/** Calls what a program gave. What it throws is an error of its own, as in any event handler, and costs no other event. */
function call(handlers, name, argument) {
  try {
    handlers?.[name]?.(argument);
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}

/** An event whose payload is text or bytes. */
function readable({ payload_base64, ...event }) {
  if (payload_base64 === undefined) return event;
  return { ...event, payload: Uint8Array.from(atob(payload_base64), (character) => character.charCodeAt(0)) };
}

function toBase64(bytes) {
  let text = "";
  for (const byte of new Uint8Array(bytes.buffer ?? bytes, bytes.byteOffset ?? 0, bytes.byteLength)) text += String.fromCharCode(byte);
  return btoa(text);
}
