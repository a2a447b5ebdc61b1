// Requests that cost the server much, like series of replays, one after another: it takes four replays of a client at a time, and
// three are needed for the cards.

let before: Promise<unknown> = Promise.resolve()

/** Run a request when those before it have ended. Raises AbortError where it was aborted meanwhile. */
export function inTurn<T>(run: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const mine = before.then(() => {
    if (signal.aborted) throw new DOMException("The request is not needed any more.", "AbortError")
    return run()
  })
  before = mine.catch(() => null)
  return mine
}
