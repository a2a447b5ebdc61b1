// When an analysis is asked for again: not with each bar of a fast market, and not while nothing new is known.

/** Between two requests at least. */
export const EVERY_MS = 10_000
const OLD_S = 15 * 60

/** Ask now, and again when `version` has changed, every ten seconds at most. Returns what ends it. */
export function whenChanged(version: () => unknown, ask: () => () => void, everyMs = EVERY_MS): () => void {
  let known = version()
  let end = ask()
  const timer = setInterval(() => {
    const newest = version()
    if (newest === known) return
    known = newest
    end()
    end = ask()
  }, everyMs)
  return () => {
    clearInterval(timer)
    end()
  }
}

/** Whether an analysis is too old to be taken for now: its newest bar ended more than fifteen market minutes ago in an open market.
 * In a market that runs `speed` times as fast as time, more of them pass from one request to the next. */
export function isTooOld(ageS: number | null, isOpen: boolean, speed: number): boolean {
  return isOpen && (ageS === null || ageS > Math.max(OLD_S, (3 * EVERY_MS * speed) / 1000))
}
