// Work that is done in steps, with a picture between them: the page answers its viewer meanwhile.

/** Call `step` with 1, 2, ... up to `count`, each in a task of its own behind the next picture. Returns what ends it. */
export function stepwise(count: number, step: (done: number) => void): () => void {
  let isEnded = false
  const next = (done: number): void => {
    if (done > count) return
    requestAnimationFrame(() =>
      setTimeout(() => {
        if (isEnded) return
        step(done)
        next(done + 1)
      }),
    )
  }
  next(1)
  return () => {
    isEnded = true
  }
}
