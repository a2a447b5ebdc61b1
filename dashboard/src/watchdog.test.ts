// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { RenderWatch, watchRendering } from "./watchdog.ts"

/** What each of so many looks says. */
function looks(watch: RenderWatch, count: number, isVisible = true): boolean[] {
  return Array.from({ length: count }, () => watch.look(isVisible))
}

describe("a page", () => {
  it("stands still where six looks in a row find nothing rendered", () => {
    expect(looks(new RenderWatch(), 7)).toEqual([false, false, false, false, false, true, true])
  })

  it("does not where it renders between, however rarely", () => {
    const watch = new RenderWatch()
    for (let turn = 0; turn < 10; turn += 1) {
      expect(looks(watch, 5)).not.toContain(true)
      watch.rendered()
      expect(watch.look(true)).toBe(false)
    }
  })

  it("that is hidden need not render, and has its time anew once it is seen", () => {
    const watch = new RenderWatch()
    looks(watch, 5)
    expect(looks(watch, 100, false)).not.toContain(true)
    expect(looks(watch, 5)).not.toContain(true)
    expect(watch.look(true)).toBe(true)
  })
})

describe("the document", () => {
  const root = document.documentElement
  let hidden: boolean

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date", "performance"] })
    hidden = false
    vi.spyOn(document, "hidden", "get").mockImplementation(() => hidden)
    document.title = "LIVE · Predict"
  })

  afterEach(() => {
    vi.clearAllTimers()
    vi.useRealTimers()
    delete root.dataset["frozen"]
  })

  it("says after 3 s without a rendered tick that it is unavailable, and is as before once there is one", () => {
    const rendered = watchRendering()
    rendered()
    vi.advanceTimersByTime(3_499)
    expect(root.dataset["frozen"]).toBeUndefined()
    vi.advanceTimersByTime(1)
    expect(root.dataset["frozen"]).toBe("UNAVAILABLE: this page has a fault; load it again")
    expect(document.title).toBe("UNAVAILABLE · Predict")
    rendered()
    vi.advanceTimersByTime(500)
    expect(root.dataset["frozen"]).toBeUndefined()
    expect(document.title).toBe("LIVE · Predict")
  })

  it("says so in the tab also where a part of the page goes on writing there", () => {
    const rendered = watchRendering()
    vi.advanceTimersByTime(3_000)
    document.title = "DEMO · Predict"
    vi.advanceTimersByTime(500)
    expect(document.title).toBe("UNAVAILABLE · Predict")
    rendered()
    vi.advanceTimersByTime(500)
    expect(document.title).toBe("DEMO · Predict")
  })

  it("keeps its colour in a tab that slept, where no timer ran for an hour", () => {
    const rendered = watchRendering()
    rendered()
    vi.advanceTimersByTime(500)
    vi.setSystemTime(Date.now() + 3_600_000)
    vi.advanceTimersByTime(500)
    expect(root.dataset["frozen"]).toBeUndefined()
  })

  it("keeps its colour in a hidden tab", () => {
    hidden = true
    watchRendering()
    vi.advanceTimersByTime(60_000)
    expect(root.dataset["frozen"]).toBeUndefined()
  })
})
