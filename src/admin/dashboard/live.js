// The connection: server-sent events read with fetch (an EventSource can't send a token), and
// the slower lists by themselves. Lost connections are tried again, and the past that was missed
// is fetched from the server, which went on recording it.

const TOKEN = 'petiole-token';

class Live {
  /** on: { history, event, state } */
  constructor(on) {
    this.on = on;
    this.wait = 1000;
    this.state = 'starting';
  }

  async json(path) {
    const answer = await this.ask(path);
    return answer.ok ? answer.json() : null;
  }

  async ask(path, signal) {
    for (;;) {
      const token = sessionStorage.getItem(TOKEN);
      const headers = token ? { Authorization: `Bearer ${token}` } : {};
      const answer = await fetch(path, { headers, signal, cache: 'no-store' });
      if (answer.status !== 401) return answer;
      await this.gate(token !== null && token === sessionStorage.getItem(TOKEN));
    }
  }

  /** Asks for the token; several requests that are refused at once ask once. */
  gate(wrong) {
    this.asking ??= new Promise((done) => {
      const dialog = $('gate');
      say($('gate-wrong'), wrong ? 'That wasn’t the token.' : '');
      $('gate-token').value = '';
      dialog.showModal();
      dialog.addEventListener('cancel', (event) => event.preventDefault());
      $('gate-form').onsubmit = () => {
        sessionStorage.setItem(TOKEN, $('gate-token').value);
        this.asking = null;
        done();
      };
    });
    return this.asking;
  }

  async run() {
    for (;;) {
      try {
        const history = await this.json('/api/history');
        if (history) this.on.history(history);
        await this.listen();
      } catch {
        // Refused, reset, or silent: all the same to a viewer.
      }
      this.become('lost');
      await new Promise((done) => { setTimeout(done, this.wait); });
      this.wait = Math.min(this.wait * 1.6, 10000);
    }
  }

  async listen() {
    const abort = new AbortController();
    let timer;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), SILENCE);
    };
    alive();
    try {
      const answer = await this.ask('/api/events', abort.signal);
      if (!answer.ok) throw new Error(await answer.text());
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        alive();
        text += value;
        const events = text.split('\n\n');
        text = events.pop();
        for (const event of events) {
          const data = event.split('\n').filter((l) => l.startsWith('data:')).map((l) => l.slice(5).trimStart()).join('\n');
          if (data) {
            this.wait = 1000;
            this.become('live');
            this.on.event(JSON.parse(data));
          }
        }
      }
    } finally {
      clearTimeout(timer);
      abort.abort();
    }
  }

  become(state) {
    if (this.state === state) return;
    this.state = state;
    this.on.state(state);
  }
}

// A second between events; a few may be late.
const SILENCE = 6000;
