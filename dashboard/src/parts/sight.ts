// When an element first comes into sight: what is costly to load and to draw is so for people who look at it.

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
