// What is costly comes when nobody waits for anything else, or is looked at.

/** An element of which less is in sight than this share is not looked at. */
const SHARE = 0.25

/** Call `run` once the element is in sight, now or later. Returns what ends the wait. */
export function whenSeen(element: Element, run: () => void): () => void {
  const observer = new IntersectionObserver(
    (entries) => {
      if ((entries.at(-1)?.intersectionRatio ?? 0) < SHARE) return
      observer.disconnect()
      run()
    },
    { threshold: SHARE },
  )
  observer.observe(element)
  return () => {
    observer.disconnect()
  }
}

/** How long the page goes on without an idle moment before `whenIdle` takes the next one. */
const IDLE_WITHIN_MS = 10_000

/** Call `run` in an idle moment. Returns what ends the wait. */
export function whenIdle(run: () => void): () => void {
  if (typeof requestIdleCallback === "undefined") {
    const timer = setTimeout(run, IDLE_WITHIN_MS)
    return () => {
      clearTimeout(timer)
    }
  }
  const handle = requestIdleCallback(run, { timeout: IDLE_WITHIN_MS })
  return () => {
    cancelIdleCallback(handle)
  }
}
