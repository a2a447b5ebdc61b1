// Notices that the tab slept: it was hidden for a while, comes out of the browser's back-forward cache, or no timer of it ran.

/** For how long a tab may be hidden, or its timers may rest while it can be seen, before the page asks again. */
const HIDDEN_MS = 10_000
const REST_MS = 5_000
/** The same for a hidden tab, whose timers the browser lets run once a minute. */
const HIDDEN_REST_MS = 90_000

export interface SleepHandlers {
  readonly woke: () => void
  readonly offline: () => void
  readonly online: () => void
}

export class SleepWatch {
  readonly #handlers: SleepHandlers
  #awakeMs = Date.now()
  #hiddenMs: number | null = null

  constructor(handlers: SleepHandlers) {
    this.#handlers = handlers
  }

  /** Begin. Returns what ends it. */
  start(): () => void {
    const end = new AbortController()
    const options = { signal: end.signal }
    document.addEventListener("visibilitychange", this.#turn, options)
    addEventListener("pageshow", this.#show, options)
    addEventListener("offline", this.#handlers.offline, options)
    addEventListener("online", this.#handlers.online, options)
    const timer = setInterval(this.look, 1_000)
    return () => {
      end.abort()
      clearInterval(timer)
    }
  }

  /** Something runs. The wall clock counts, since that of performance.now() stands still while some machines sleep; a change of the wall
   * clock is taken for sleep, which costs one request. */
  readonly look = (): void => {
    const restedMs = Math.abs(Date.now() - this.#awakeMs)
    this.#awakeMs = Date.now()
    if (restedMs > (document.hidden ? HIDDEN_REST_MS : REST_MS)) this.#handlers.woke()
  }

  readonly #turn = (): void => {
    const since = this.#hiddenMs
    this.#hiddenMs = document.hidden ? Date.now() : null
    if (document.hidden || since === null) return
    this.#awakeMs = Date.now()
    if (Math.abs(Date.now() - since) >= HIDDEN_MS) this.#handlers.woke()
  }

  readonly #show = (event: PageTransitionEvent): void => {
    if (event.persisted) this.#handlers.woke()
  }
}
