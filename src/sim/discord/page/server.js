// The wire to the local Discord: its control API and its stream of changes, as docs/sim.md tells them.

/** What the server refused, in its own sentence. */
export class Refused extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

const RECONNECT_MS = 1000;

/** The local Discord behind this page's own address. */
export class Server {
  get = (path) => this.#call("GET", path);
  post = (path, body = {}) => this.#call("POST", path, body);
  delete = (path) => this.#call("DELETE", path);

  async #call(method, path, body) {
    let answer;
    try {
      answer = await fetch(path, {
        method,
        headers: body === undefined ? {} : { "content-type": "application/json" },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
    } catch {
      throw new Refused("The local Discord does not answer. Is it still running?", 0);
    }
    const text = await answer.text();
    let data = {};
    try {
      data = text === "" ? {} : JSON.parse(text);
    } catch {
      data = {};
    }
    if (!answer.ok) throw new Refused(typeof data.error === "string" ? data.error : `The local Discord answered ${answer.status}.`, answer.status);
    return data;
  }

  /** Follows the changes. `onOpen` runs at every connection: whatever happened in between must be read anew. */
  follow({ onOpen, onChange, onLost }) {
    const source = new EventSource("/sim/events");
    source.onopen = onOpen;
    source.onmessage = (event) => {
      let change;
      try {
        change = JSON.parse(event.data);
      } catch {
        return; // a change this page cannot read is one it does not know
      }
      onChange(change);
    };
    source.onerror = () => {
      onLost();
      // The browser reconnects by itself, except after an answer it takes for final.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.follow({ onOpen, onChange, onLost }), RECONNECT_MS);
    };
  }
}
